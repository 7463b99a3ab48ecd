"""`lossref report`: the page of a run again, a run for programs, and what is different between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, SpecFiles, app, only, plain_errors, stop

Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="What is printed: text, json, junit or github annotations.")
]
FORMATS = "text json junit github"


@app.command("report")
def report(
    words: Annotated[list[str], typer.Argument(metavar="DIR | diff A B", help="Where verdicts.jsonl is.")],
    form: Format = "text",
    specs: SpecFiles = None,
) -> None:
    """Write page, CSV and badge again from verdicts.jsonl, or say what is different between two runs."""
    only(FORMATS, form)
    with plain_errors():
        if len(words) == 3 and words[0] == "diff":
            _difference(Path(words[1]), Path(words[2]))
        if len(words) != 1:
            stop("say which run: lossref report DIR, or which two: lossref report diff A B")
        _again(Path(words[0]), form)


def _difference(before: Path, after: Path) -> None:
    from lossref.hosts.worker.words import printable
    from lossref.report.difference import difference, told
    from lossref.report.stored import read

    found = difference(read(before)[0], read(after)[0])
    for line in told(found):
        typer.echo(printable(line))
    raise typer.Exit(DOES_NOT if found.new or found.gone or found.changed else CONFORMS)


def _again(directory: Path, form: str) -> None:
    from lossref.report import page
    from lossref.run import session

    written = page.write(directory, session.check_docs())
    typer.echo(f"report: {written}", err=form != "text")
    say(directory, form)


def say(directory: Path, form: str) -> None:
    """Print a run for programs; text is said elsewhere."""
    from lossref.report import machine
    from lossref.report.stored import read
    from lossref.run.session import exit_status

    if form == "text":
        return
    verdicts, run = read(directory)
    typer.echo(machine.written(form, directory, verdicts, run, exit_status(verdicts, int(run["planned"]))))
