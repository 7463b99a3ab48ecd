"""`lossref golden`: the recorded cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, SpecGlob, app, globs, plain_errors, stop

golden_app = typer.Typer(
    help="The recorded cases: exact inputs and the certified answer.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(golden_app, name="golden")


@golden_app.command("write")
def golden_write(
    spec: SpecGlob = None,
    specs: SpecFiles = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where they go.")] = Path("golden"),
) -> None:
    """Record the certified answers anew; both files of a spec are replaced at once."""
    from lossref import losses as catalog
    from lossref.report import terminal
    from lossref.run.golden import recording as golden

    with plain_errors():
        try:
            for one in terminal.track(catalog.matching(globs(spec)), "recording"):
                typer.echo(f"{one.name}: {golden.write(one, folder)} cases recorded in {folder}")
        except golden.Unrecordable as error:
            stop(str(error), INCOMPLETE)


@golden_app.command("check")
def golden_check(
    spec: SpecGlob = None,
    specs: SpecFiles = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where they are [./golden, else those that lossref brings].")
    ] = None,
) -> None:
    """Compare the record with the oracle (bit for bit) and the reference (within budget)."""
    from lossref import losses as catalog
    from lossref.report import terminal
    from lossref.run.golden import recording as golden

    where = folder or golden.folder_to_check()
    with plain_errors():
        chosen = catalog.matching(globs(spec))
        problems = [problem for one in terminal.track(chosen, "comparing") for problem in golden.check(one, where)]
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"golden: {len(chosen)} specs compared with {where}, {len(problems)} differences")
    raise typer.Exit(DOES_NOT if problems else CONFORMS)
