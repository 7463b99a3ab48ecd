"""`lossref matrix`: releases of a package, or several packages, beside each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import (
    CONFORMS,
    INCOMPLETE,
    NoCache,
    SpecFiles,
    SpecGlob,
    app,
    globs,
    listed,
    only,
    plain_errors,
    stop,
)

if TYPE_CHECKING:
    from lossref.core.nouns import Spec
    from lossref.hosts.process import Lodging
    from lossref.run.causes.beside.matrix.agreement import Agreement
    from lossref.run.causes.beside.matrix.asked import Cell, Column, How


@app.command()
def matrix(
    package: Annotated[str, typer.Argument(metavar="[PACKAGE]", help="Whose releases: ultralytics.")] = "",
    releases: Annotated[
        str, typer.Option("--releases", help="8.3.0,8.4.0..latest:15: versions, and every 15th with the last one.")
    ] = "",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="A TARGET, or PACKAGE==VERSION; two or more, in place of PACKAGE."),
    ] = None,
    spec: SpecGlob = None,
    specs: SpecFiles = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 8),
    out: Annotated[Path | None, typer.Option("--out", help="Where page, CSV and JSON go [reports/matrix].")] = None,
    python: Annotated[
        list[str] | None, typer.Option("--python", help="The Python that they live in; or one for each --target.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawn cases.")] = 0,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="float64 or float32, or both: a,b [float64; for dialects both].")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one question may take.")] = 20.0,
    write_dialects: Annotated[
        Path | None, typer.Option("--write-dialects", help="Write what each follows into this folder, for --dialect.")
    ] = None,
    no_cache: NoCache = False,
) -> None:
    """Set releases of a package, or several packages, side by side: what each follows, and what is new or gone."""
    if bool(package) == bool(target) or bool(package) != bool(releases):
        stop(
            "say which releases, lossref matrix ultralytics --releases 8.3.0,8.4.0..latest:15, or two or more --target"
        )
    # What computes a part in float32 misleads a search in float64 alone: small_boxes was taken for zero_metric
    dtypes = listed(dtype, "float64", *(["float32"] if write_dialects else []))
    only("float64 float32", *dtypes)
    from lossref import losses as catalog
    from lossref.hosts import keeper
    from lossref.hosts.endings import memory_for
    from lossref.hosts.interrupts import deaf
    from lossref.hosts.process import Lodging
    from lossref.report.between import matrix as page
    from lossref.report.terminal import track
    from lossref.run.causes.beside.matrix import agreement, columns, told
    from lossref.run.causes.beside.matrix.asked import NOT_ASKED, How
    from lossref.run.causes.beside.matrix.carried import barred

    folder = out or Path("reports") / "matrix"
    if python and package and len(python) > 1:
        stop("--python is given once for all releases")
    with plain_errors(), keeper.kept():
        wanted = catalog.matching(globs(spec))
        lodging = Lodging(timeout=timeout, memory=memory_for(jobs))
        if package:
            here = Lodging((python or [""])[0], timeout=timeout, memory=lodging.memory)
            words = [(name, word, here) for name, word in columns.of_releases(package, releases, here)]
        else:
            words = columns.of_words(target or [], python or [], lodging)
        folder.mkdir(parents=True, exist_ok=True)
        there = _columns(words)
        cells: list[Cell] = []
        agree: list[Agreement] = []
        interrupted = False
        try:
            for cell in _asked(there, wanted, How(seed, dtypes), jobs):
                cells.append(cell)
            agree = [] if package else agreement.of(track(agreement.pairs(there), "pairs"), wanted, cells, seed)
        except KeyboardInterrupt:
            deaf()
            interrupted = True
        there, cells = barred(there, cells)
        rows = told.told(there, cells, in_a_row=bool(package))
        written = page.write(folder, package, there, rows, agree, seed)
    for line in page.lines(there, rows, agree):
        typer.echo(line)
    if write_dialects:
        for line in _dialects(write_dialects, package, there, wanted, cells):
            typer.echo(line)
    typer.echo(f"report: {written}")
    if interrupted:
        stop(f"interrupted: {len(cells)} cells are known, and kept; the same command goes on from there", INCOMPLETE)
    if not any(cell.verdicts for cell in cells):
        stop("nothing could be asked", INCOMPLETE)
    raise typer.Exit(INCOMPLETE if any(cell.reason.startswith(NOT_ASKED) for cell in cells) else CONFORMS)


def _columns(words: Sequence[tuple[str, str, Lodging]]) -> list[Column]:
    from lossref.report.terminal import track
    from lossref.run.causes.beside.matrix.columns import column

    return [column(*one) for one in track(words, "releases")]


def _dialects(
    folder: Path, package: str, columns: Sequence[Column], wanted: Sequence[Spec], cells: Sequence[Cell]
) -> Iterator[str]:
    """Write the dialects, and say of each where it is, or why it is not."""
    import shlex
    import sys

    from lossref.hosts.worker.words import printable
    from lossref.run.atomic import write_text
    from lossref.run.causes.beside.matrix.dialects import dialects

    with plain_errors():
        folder.mkdir(parents=True, exist_ok=True)
        for one in dialects(package, columns, wanted, cells, shlex.join(["lossref", *sys.argv[1:]])):
            if one.content:
                write_text(folder / one.name, one.content)
            yield printable(f"dialect of {one.column}: {folder / one.name if one.content else f'none, {one.why}'}")


def _asked(columns: Sequence[Column], wanted: Sequence[Spec], how: How, jobs: int) -> Iterator[Cell]:
    """Every cell: those that are kept, then those that are asked, with a progress bar."""
    from lossref.report.terminal import console
    from lossref.run.about import progress
    from lossref.run.causes.beside.matrix.carried import carried_out, planned

    known, tasks = planned(columns, wanted, how)
    yield from known
    left = [(task.column.name, task.spec) for task in tasks]
    with progress("cells", len(tasks), console(stderr=True), lambda: _first(left)) as advance:
        for cell in carried_out(tasks, jobs):
            yield cell
            left.remove((cell.column, cell.spec))
            advance(1)


def _first(left: Sequence[tuple[str, str]]) -> str:
    """What is waited for."""
    return f"asking {left[0][1]} of {left[0][0]}" if left else ""
