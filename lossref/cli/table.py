"""`lossref table`: the specs as a table in Markdown, printed or put into a README."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossref.cli.common import SpecFiles, SpecGlob, app, globs, plain_errors, stop

BEGIN, END = "<!-- lossref table -->", "<!-- end of lossref table -->"


@app.command("table")
def markdown_table(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help=f"Replace what stands between {BEGIN} and {END} in it.")
    ] = None,
    spec: SpecGlob = None,
    specs: SpecFiles = None,
) -> None:
    """Print the table of specs for a README, or put it there: lossref's own specs, or those that --spec names."""
    from lossref import losses as catalog
    from lossref.run.atomic import write_text

    with plain_errors():
        table = catalog.markdown(catalog.matching(globs(spec)) if spec else None)
        if file is None:
            typer.echo(table)
            return
        write_text(file, _replaced(file, table))
    typer.echo(f"{file}: {len(table.splitlines()) - 2} specs")


def _replaced(file: Path, table: str) -> str:
    """The text of the file with another table."""
    text = file.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        stop(f"{file} has no place for the table; write two lines where it belongs: {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"
