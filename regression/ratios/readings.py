"""What is read of one loss in one form, and the CSV that holds a row for each: written whole at every change.

A row with neither a ratio nor a reason is yet to do, so that the same command goes on where another ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.table import Table

from lossref.run.atomic import write_text

FORMS = ("eager", "compiled", "captured", "compiled and captured")
NAN = math.nan


class Key(NamedTuple):
    """One row: a loss, with `@80` where an image has 80 objects, in one form."""

    loss: str
    form: str


class Reading(NamedTuple):
    """Ours in this form against theirs, eager; NaN: not read, `reason` says why where the ratio is missing.

    how: how the form was made      off: largest relative difference from ours in eager form, value and gradients
    kernels, kernel_ms: on the device for one call, and their time      syncs: times the host waits for the device
    copies: between host and device      moved_mib: what operators read and write      peak_mib: at the worst moment
    counts: "counted", or why these were not
    """

    loss: str
    form: str
    reason: str = ""
    how: str = ""
    ratio: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    ours_ms: float = NAN
    theirs_ms: float = NAN
    ours_value: float = NAN
    theirs_value: float = NAN
    off: float = NAN
    made_in_s: float = NAN
    ours_operators: float = NAN
    theirs_operators: float = NAN
    ours_kernels: float = NAN
    theirs_kernels: float = NAN
    ours_kernel_ms: float = NAN
    theirs_kernel_ms: float = NAN
    ours_syncs: float = NAN
    theirs_syncs: float = NAN
    ours_copies: float = NAN
    theirs_copies: float = NAN
    ours_moved_mib: float = NAN
    theirs_moved_mib: float = NAN
    ours_peak_mib: float = NAN
    theirs_peak_mib: float = NAN
    counts: str = ""
    device: str = ""
    torch: str = ""
    ultralytics: str = ""
    commit: str = ""

    @property
    def key(self) -> Key:
        """What it is a reading of."""
        return Key(self.loss, self.form)

    @property
    def timed(self) -> bool:
        """Whether there is nothing left to time."""
        return bool(self.reason) or not math.isnan(self.ratio)

    @property
    def counted(self) -> bool:
        """Whether there is nothing left to count."""
        return bool(self.reason or self.counts)


WORDS = tuple(name for name in Reading._fields if isinstance(Reading._field_defaults.get(name, ""), str))


def read(path: Path) -> dict[Key, Reading]:
    """The rows of a file, none where there is no file."""
    if not path.exists():
        return {}
    kinds = {name: str if name in WORDS else float for name in Reading._fields}
    found = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={n: [""] for n in kinds if n not in WORDS})
    rows = [Reading(**row) for row in found.to_dict("records")]
    return {one.key: one for one in rows}


def put(path: Path, one: Reading) -> None:
    """The file with this row in place of the one of its loss and form."""
    write(path, {**read(path), one.key: one}.values())


def write(path: Path, rows: Iterable[Reading]) -> None:
    """All rows, in one step."""
    table = pd.DataFrame(list(rows), columns=Reading._fields)
    write_text(path, str(table.to_csv(index=False, float_format="%.6g")))


def shown(rows: Iterable[Reading]) -> Table:
    """The table that a person reads."""
    table = Table("loss", "form", "ratio", "99 % interval", "ours / theirs ms", "kernels", "syncs", "peak MiB", "note")
    for one in rows:
        if one.reason:
            table.add_row(one.loss, one.form, "-", "", "", "", "", "", one.reason[:100])
            continue
        table.add_row(
            one.loss,
            one.form,
            f"{one.ratio:.2f}",
            f"{one.ci_low:.2f} to {one.ci_high:.2f}",
            f"{one.ours_ms:.3g} / {one.theirs_ms:.3g}",
            *(
                f"{getattr(one, f'ours_{what}'):.4g} / {getattr(one, f'theirs_{what}'):.4g}"
                for what in ("kernels", "syncs", "peak_mib")
            ),
            (one.how if one.counts in ("", "counted") else one.counts)[:60],
        )
    return table
