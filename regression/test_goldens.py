"""Did it move? Every file of the record, and a seeded part of its cases against oracle and reference.

`lossref golden check` asks all of them; here it is every third of an elementary loss, every sixth of one with a model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lossref.losses import own
from lossref.run.golden.checking import Share, check
from lossref.run.golden.files.folder import folder_faults

FOLDER = Path(__file__).parents[1] / "golden"
PART = Share(composite=6, elementary=3)


def test_the_record_is_whole() -> None:
    assert list(folder_faults(FOLDER)) == []


@pytest.mark.parametrize("name", list(own()))
def test_golden(name: str) -> None:
    found = check(own()[name], FOLDER, PART)
    assert found.problems == []
    assert found.cases
