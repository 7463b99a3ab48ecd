"""Shared by all tests: the seed of drawn cases, one torch thread, quiet Hypothesis."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from lossref.hosts import nursery
from lossref.hosts.process import WORKER
from lossref.run.jobs import SELDOM

pytest.register_assert_rewrite("shared")  # a failure there is told like one in a test
settings.register_profile("lossref", deadline=None, print_blob=True)
settings.load_profile("lossref")
torch.set_num_threads(1)
gc.set_threshold(*SELDOM)
os.environ["LOSSREF_CACHE"] = "off"  # a test of the oracle is none if the answer was there before


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of this run: make test SEED=7."""
    return int(os.environ.get("LOSSREF_SEED", "0"))


@pytest.fixture(scope="session", autouse=True)
def forked() -> Iterator[None]:
    """Hosts of all tests, and of the commands that they start, are forked from one process that has torch."""
    nursery.ready([sys.executable, str(WORKER)])
    yield
    nursery.close_all()
