"""The findings of a run with their smallest cases: what page, JSON, JUnit and annotations have in common."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lossref.core.nouns import Finding, Verdict
from lossref.report.pictures import Picture, picture
from lossref.report.shapes import Arrays
from lossref.report.stored import read_case
from lossref.run.findings import owner, where_of, words
from lossref.run.saved.arrays import BESIDE, restored
from lossref.run.saved.schema import Fault

SHOWN = 96  # numbers of one array on the page


class Card:
    """One finding, the row that its smallest case is of, and that case as it was saved."""

    def __init__(self, directory: Path, finding: Finding) -> None:
        self.finding, self.directory = finding, directory
        self.row = owner(finding)
        self.case_path = finding.smallest.case if finding.smallest else ""

    @property
    def anchor(self) -> str:
        """The name of its place on a page."""
        return f"finding-{self.finding.id}"

    @cached_property
    def case(self) -> Mapping[str, Any]:
        """The smallest case, or nothing."""
        return read_case(self.directory / self.case_path) if self.case_path else {}

    @property
    def replay(self) -> str:
        """The command that shows the failure again."""
        return f"lossref replay {shlex.quote((self.directory / self.case_path).as_posix())}" if self.case_path else ""

    @cached_property
    def picture(self) -> Picture:
        """The picture of the smallest case, and what its colours are."""
        return picture(self.case, self._beside())

    def _beside(self) -> Arrays:
        """The numbers of a large case, which stand in the file beside it; nothing for a small one, or a lost file."""
        if BESIDE not in (self.case.get("inputs") or {}):
            return {}
        try:
            return restored(self.directory / self.case_path, self.case["inputs"])
        except Fault:
            return {}

    @property
    def numbers(self) -> dict[str, Any]:
        """What, got, want, error and budget, as far as they are known; the case's own detail first."""
        smallest, detail = self.finding.smallest, self.case.get("detail") or {}
        stated = {name: getattr(smallest, name, None) for name in ("got", "want", "error", "budget")}
        found = {name: detail.get(name, value) for name, value in stated.items()}
        index = detail.get("index") or ()
        what = f"{detail.get('what', '')}{list(index) if index else ''}"
        return {"what": what, **found} if any(value is not None for value in found.values()) else {}

    @property
    def problem(self) -> str:
        """One sentence about the smallest case, where the sentence of the finding is another."""
        problem = self.finding.smallest.problem if self.finding.smallest else ""
        return "" if problem in self.finding.sentence else problem

    @property
    def accounts(self) -> str:
        """The specs, and the number of rows."""
        return words.accounts(self.finding, 6)

    @property
    def place(self) -> tuple[str, int, str]:
        """File, line and function of the target."""
        return where_of(self.finding.where)

    @property
    def evidence(self) -> list[tuple[str, list[Verdict]]]:
        """The rows by spec."""
        found: dict[str, list[Verdict]] = {}
        for row in self.finding.rows:
            found.setdefault(row.spec, []).append(row)
        return list(found.items())


def cards(directory: Path, found: Sequence[Finding]) -> list[Card]:
    """A card for each finding."""
    return [Card(directory, one) for one in found]


def array_text(values: Any) -> str:
    """An array, one line per row of its last axis, cut short where it is long."""
    array = np.asarray(values, dtype=object)
    numbers = [number_text(x) for x in array.ravel()]
    step, wide = max((1, *array.shape[-1:])), max(map(len, numbers[:SHOWN]), default=0)
    padded = [x.rjust(wide) for x in numbers[:SHOWN]]
    lines = ["  ".join(padded[i : i + step]) for i in range(0, len(padded), step)]
    hidden = [f"… {len(numbers) - SHOWN} more numbers, see the file"] if len(numbers) > SHOWN else []
    return "\n".join(lines + hidden) or "(empty)"


def number_text(x: Any) -> str:
    """A number as it can be typed back, without a trailing .0."""
    return repr(x).removesuffix(".0") if isinstance(x, float) else str(x)
