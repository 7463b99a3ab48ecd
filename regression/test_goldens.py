"""Did it move? The recorded cases against the oracle (bit for bit) and the reference (within budget)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossref.losses import own
from lossref.run.golden import recording as golden

FOLDER = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", list(own()))
def test_golden(name: str) -> None:
    assert golden.check(own()[name], FOLDER) == []
