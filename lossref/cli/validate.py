"""`lossref validate`, and what is done with its results: `report`, `replay`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, SpecGlob, app, globs, only, plain_errors, stop

if TYPE_CHECKING:
    from lossref.run.plan import Job


@app.command()
def validate(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="ultralytics, torch, reference, a module, ...")
    ],
    spec: SpecGlob = None,
    specs: SpecFiles = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only checks that match; may be repeated.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="quick (a minute) or full (ten times the cases).")] = "quick",
    dtype: Annotated[list[str] | None, typer.Option("--dtype", help="float64 or float32; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where the report goes [reports/TARGET].")] = None,
    as_spec: Annotated[
        str | None, typer.Option("--as", metavar="SPEC", help="The loss that module:function is.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawn cases.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 8),
) -> None:
    """Check implementations against the specs, and write a report."""
    only("quick full", tier)
    only("float64 float32", *(dtype or ()))
    from lossref.run import plan as planning
    from lossref.run.session import file_name

    folder = out or Path("reports") / file_name(targets)
    with plain_errors():
        dtypes = tuple(dtype or ("float64", "float32"))
        plan = planning.plan(targets, globs(spec), globs(check), dtypes, tier, seed, folder, as_spec)
        if not plan:
            stop(f"{', '.join(targets)} has no implementation of {globs(spec)}")
        if not planning.planned(plan):
            stop(f"no check that matches {globs(check)!r} runs in {', '.join(dtypes)}")
        status = _carry_out(plan, targets, folder, jobs, tier, seed)
    raise typer.Exit(status)


def _carry_out(plan: list[Job], words: list[str], folder: Path, jobs: int, tier: str, seed: int) -> int:
    """Run the plan, keep every verdict as it comes, write the report, say what came out."""
    from lossref.report import page as report
    from lossref.report import terminal
    from lossref.report.terminal import console
    from lossref.run import session

    with session.Session(folder, words, plan, tier, seed) as kept:
        finished = session.follow(kept, plan, jobs, console(stderr=True))
    page = report.write(folder, session.check_docs())
    terminal.summary(kept.verdicts, kept.expected, folder, kept.exit_status())
    console().print(f"report: {page}", highlight=False, soft_wrap=True)
    if not finished:
        stop(f"interrupted: {len(kept.verdicts)} of {kept.expected} verdicts are kept in {folder}", INCOMPLETE)
    return kept.exit_status()


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A case that a failing run saved.")],
    specs: SpecFiles = None,
) -> None:
    """Run one saved case again: exit 0 if it passes now, 1 if it still fails."""
    with plain_errors():
        from lossref.run import replay as replaying

        lines, passes = replaying.replay(file)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(CONFORMS if passes else DOES_NOT)


@app.command("report")
def write_report(directory: Annotated[Path, typer.Argument(help="Where verdicts.jsonl is.")]) -> None:
    """Write summary.csv and index.html again from verdicts.jsonl."""
    with plain_errors():
        from lossref.report import page as report
        from lossref.run import session

        typer.echo(f"report: {report.write(directory, session.check_docs())}")
