"""`lossref impostors`: whether the cases of a spec are good enough to tell wrong from right."""

from __future__ import annotations

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, SpecGlob, app, globs, plain_errors, stop


@app.command()
def impostors(spec: SpecGlob = None, specs: SpecFiles = None) -> None:
    """Ask every impostor of the specs: each must be rejected by the checks that it names."""
    from lossref import losses as catalog
    from lossref.checks.suite import rejections
    from lossref.report.terminal import console, table, track

    with plain_errors():
        found = [(one.name, row) for one in track(catalog.matching(globs(spec)), "asking") for row in rejections(one)]
    rows = [(name, row.impostor, row.check, "rejected" if row.rejected else "PASSES") for name, row in found]
    console().print(table("spec impostor check result", rows))
    passing = sum(not row.rejected for _, row in found)
    typer.echo(f"{len(found)} questions, {passing} not rejected{_advice(passing)}")
    if not found:
        stop("nothing was examined: no impostor is known of these specs", INCOMPLETE)
    raise typer.Exit(DOES_NOT if passing else CONFORMS)


def _advice(passing: int) -> str:
    return ": no case tells these from the truth; add a corner, or name another check" if passing else ""
