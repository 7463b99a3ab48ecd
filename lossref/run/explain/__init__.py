"""Why an implementation fails: claims that reproduce its numbers, and what is known where none does."""

from lossref.run.explain.claims import explain
from lossref.run.explain.quantity import Shown
from lossref.run.explain.unknown import unexplained

__all__ = ["Shown", "explain", "unexplained"]
