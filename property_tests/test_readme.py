"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossref.checks.table import CHECKS
from lossref.losses import markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_table_of_specs_is_fresh() -> None:
    assert markdown() in README, "write it anew with `make readme`"


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_every_check_is_described_as_it_is(name: str) -> None:
    doc = next(check.doc for check in CHECKS if check.name == name)
    assert f"| `{name}` | {doc} |" in README


LINKS = sorted(set(re.findall(r"\]\((?!#)([^)]+)\)", README)))


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


COMMANDS = sorted(set(re.findall(r"make ([a-z]+)", README)))


@pytest.mark.parametrize("target", COMMANDS)
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
