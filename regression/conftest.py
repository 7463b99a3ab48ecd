"""One torch thread, so that two processes do not fight for two cores; every answer of the oracle is computed."""

from __future__ import annotations

import gc
import os

import pytest
import torch

from lossref.run.jobs import SELDOM

torch.set_num_threads(1)
gc.set_threshold(*SELDOM)
os.environ["LOSSREF_CACHE"] = "off"


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of this run: make test SEED=7."""
    return int(os.environ.get("LOSSREF_SEED", "0"))
