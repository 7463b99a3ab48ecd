"""`lossref report`: the page of a run again, a run for programs, and what is different between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, app, only, plain_errors, stop

if TYPE_CHECKING:
    from lossref.core.nouns import Verdict

Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="What is printed: text, json, junit or github annotations.")
]
FORMATS = "text json junit github"


@app.command("report")
def report(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR | diff A B | merge A B ... | history FILE | cost DIR ...", help="Where verdicts.jsonl is."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where merge puts the whole, and history its page [beside FILE].")
    ] = None,
    over: Annotated[str, typer.Option("--over", help="What a history is drawn over: date or release.")] = "date",
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Of diff: exit with 1 only where a finding is new.")
    ] = False,
    form: Format = "text",
    specs: SpecFiles = None,
) -> None:
    """Write page, CSV and badge again from verdicts.jsonl; compare runs, merge parts, draw a history, tell costs."""
    only(FORMATS, form)
    only("date release", over)
    with plain_errors():
        if len(words) == 3 and words[0] == "diff":
            _difference(Path(words[1]), Path(words[2]), new_only)
        if words[0] == "merge" and len(words) > 1:
            _merged([Path(word) for word in words[1:]], out, form)
        if words[0] == "cost" and len(words) > 1:
            _priced([Path(word) for word in words[1:]])
        if words[0] == "history" and len(words) == 2:
            _drawn(Path(words[1]), out, over)
        if len(words) != 1:
            stop("say which run: lossref report DIR, or which two: lossref report diff A B")
        _again(Path(words[0]), form)


def _difference(before: Path, after: Path, new_only: bool) -> None:
    from lossref.hosts.worker.words import printable
    from lossref.report.between.difference import difference, told

    found = difference(*(_verdicts(one) for one in (before, after)))
    for line in told(found):
        typer.echo(printable(line))
    moved = found.new or (not new_only and (found.gone or found.changed))
    raise typer.Exit(DOES_NOT if moved else CONFORMS)


def _verdicts(directory: Path) -> list[Verdict]:
    """Those of a run; stops where there is none, for then nothing was examined."""
    from lossref.report.stored import read

    verdicts, _ = read(directory)
    if not verdicts:
        stop(f"{directory} has no verdict: nothing was examined there; run the checks again", INCOMPLETE)
    return verdicts


def _merged(parts: list[Path], out: Path | None, form: str) -> None:
    from lossref.run.saved.shards import merge

    if out is None:
        stop("say where the whole is to be: lossref report merge A B --out DIR")
    merge(parts, out)
    _again(out, form)


def _drawn(file: Path, out: Path | None, over: str) -> None:
    from lossref.report.between.history import write

    typer.echo(f"report: {write(file, out or file.parent, over)}")
    raise typer.Exit(CONFORMS)


def _priced(folders: list[Path]) -> None:
    from lossref.hosts.worker.words import printable
    from lossref.report.between.cost import cost, told

    for line in told([cost(folder) for folder in folders]):
        typer.echo(printable(line))
    raise typer.Exit(CONFORMS)


def _again(directory: Path, form: str) -> None:
    from lossref.report import page, terminal
    from lossref.run import session
    from lossref.run.about import check_docs

    verdicts, (_, run) = _verdicts(directory), page.read(directory)
    written = page.write(directory, check_docs())
    status = session.exit_status(verdicts, int(run["planned"]))
    typer.echo(f"report: {written}", err=form != "text")
    typer.echo(terminal.ending(verdicts, run, status), err=form != "text")
    say(directory, form)
    raise typer.Exit(status)


def say(directory: Path, form: str) -> None:
    """Print a run for programs; text is said elsewhere."""
    from lossref.report import machine
    from lossref.report.stored import read
    from lossref.run.session import exit_status

    if form == "text":
        return
    verdicts, run = read(directory)
    typer.echo(machine.written(form, directory, verdicts, run, exit_status(verdicts, int(run["planned"]))))
