"""`lossref history`: runs in one SQLite file, to be drawn by `lossref report history`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossref.cli.common import CONFORMS, app, plain_errors, stop

if TYPE_CHECKING:
    import sqlite3

    from lossref.report.between.kept import Timing

FILE = Path("reports") / "history.sqlite"


@app.command()
def history(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[add DIR...]", help="Folders of validate and of bench. Nothing: list."),
    ] = None,
    file: Annotated[Path, typer.Option("--file", help="The history, a SQLite file.")] = FILE,
) -> None:
    """Keep verdicts, errors and ratios of runs in one SQLite file; `lossref report history FILE` draws them."""
    verb, folders = (words or ["list"])[0], [Path(word) for word in (words or [])[1:]]
    if verb not in ("add", "list") or (verb == "add") != bool(folders):
        stop("say which runs: lossref history add DIR...; without words it lists them")
    with plain_errors():
        from lossref.report.between.kept import opened, runs

        if verb == "list" and not file.is_file():
            stop(f"there is no {file}; lossref history add DIR --file {file} makes it")
        file.parent.mkdir(parents=True, exist_ok=True)
        with opened(file) as base:
            lines = list(_added(base, folders)) if folders else [_line(one) for one in runs(base)]
    for line in lines:
        typer.echo(line)
    raise typer.Exit(CONFORMS)


def _line(one: Any) -> str:
    said = ", ".join(f"{count} {word}" for word, count in one.statuses.items()) or one.kind
    return f"{one.started}  {one.target} {one.version}  {said}"


def _added(base: sqlite3.Connection, folders: list[Path]) -> Iterator[str]:
    """Every folder, or none: what cannot be read stops before anything is kept."""
    from lossref.report.between.kept import add_checks, add_timings
    from lossref.report.stored import read

    for folder in folders:
        if (folder / "bench.csv").is_file():
            run, rows = _timings(folder)
            new, what = add_timings(base, run, rows), f"{len(rows)} timings"
        else:
            verdicts, run = read(folder)
            if not verdicts:
                stop(f"{folder} has no verdict: nothing was examined there")
            new, what = add_checks(base, run, verdicts), f"{len(verdicts)} verdicts"
        yield f"{folder}: {what} added" if new else f"{folder}: is there already"


def _timings(folder: Path) -> tuple[dict[str, Any], list[Timing]]:
    import json
    import math

    from lossref.bench.rows import read
    from lossref.report.between.kept import Timing

    def number(x: float) -> float | None:
        return None if math.isnan(x) else x

    try:
        run = json.loads((folder / "run.json").read_bytes())
        rows = [row for row in read(folder / "bench.csv") if row.is_comparison]
    except (ValueError, TypeError, KeyError) as error:
        stop(f"{folder} is no folder of lossref bench ({error})")
    versions = ", ".join(dict.fromkeys(row.version for row in rows if row.version))
    run |= {"target": ", ".join(run.get("targets", ())), "version": versions}
    return run, [
        Timing(
            row.spec,
            row.target,
            row.size,
            row.mode,
            number(row.ratio),
            number(row.ci_low),
            number(row.ci_high),
            row.verdict,
        )
        for row in rows
    ]
