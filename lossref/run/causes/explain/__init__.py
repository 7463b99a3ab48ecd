"""Why an implementation fails: claims that reproduce its numbers, and what is known where none does."""

from lossref.run.causes.explain.claims import explain
from lossref.run.causes.explain.quantity import Shown
from lossref.run.causes.explain.unknown import unexplained

__all__ = ["Shown", "explain", "unexplained"]
