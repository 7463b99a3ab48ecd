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
        list[str] | None, typer.Argument(metavar="[TARGET...]", help="ultralytics, torch, reference, a module, ...")
    ] = None,
    spec: SpecGlob = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only checks that match; may be repeated.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="quick (a minute) or full (ten times the cases).")] = "quick",
    dtype: Annotated[list[str] | None, typer.Option("--dtype", help="float64 or float32; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where the report goes [reports/TARGET].")] = None,
    as_spec: Annotated[
        str | None, typer.Option("--as", metavar="SPEC", help="The loss that module:function is.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawn cases.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 8),
    specs: SpecFiles = None,
    python: Annotated[str, typer.Option("--python", help="The Python that targets live in [this one].")] = "",
    command: Annotated[str, typer.Option("--command", help="An implementation in another language.")] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one question may take.")] = 20.0,
    memory: Annotated[float, typer.Option("--memory", min=0, help="GiB that a target may use [half of all].")] = 0.0,
    device: Annotated[list[str] | None, typer.Option("--device", help="cpu or cuda; may be repeated.")] = None,
    allow_tf32: Annotated[bool, typer.Option("--allow-tf32", help="On a GPU, let matrices be rounded.")] = False,
) -> None:
    """Check implementations against the specs, and write a report."""
    only("quick full", tier)
    only("float64 float32", *(dtype or ()))
    devices = tuple(dict.fromkeys(device or ("cpu",)))
    only("cpu cuda", *devices)
    if bool(targets) == bool(command):
        stop("say what is to be checked: TARGET, or --command for another language")
    from lossref.hosts.endings import memory_for
    from lossref.hosts.process import Lodging
    from lossref.run import plan as planning
    from lossref.run.saved import file_name

    words = targets or [command]
    folder = out or Path("reports") / file_name(*words)
    lodging = Lodging(python, command, timeout=timeout, memory=int(memory * 2**30) or memory_for(jobs), tf32=allow_tf32)
    with plain_errors():
        dtypes = tuple(dtype or ("float64", "float32"))
        plan = planning.plan(words, globs(spec), globs(check), dtypes, tier, seed, folder, as_spec, lodging, devices)
        if not plan:
            stop(f"{', '.join(words)} has no implementation of {globs(spec)}")
        if not planning.planned(plan):
            stop(f"no check that matches {globs(check)!r} runs in {', '.join(dtypes)}")
        status = _carry_out(plan, words, folder, jobs, tier, seed)
    raise typer.Exit(status)


def _carry_out(plan: list[Job], words: list[str], folder: Path, jobs: int, tier: str, seed: int) -> int:
    """Run the plan, keep every verdict as it comes, write the report, say what came out."""
    from lossref.hosts import keeper
    from lossref.report import page as report
    from lossref.report import terminal
    from lossref.report.terminal import console
    from lossref.run import session

    with keeper.kept(), session.Session(folder, words, plan, tier, seed) as kept:
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
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda [where it failed].")] = None,
) -> None:
    """Run one saved case again: exit 0 if it passes now, 1 if it still fails."""
    only("cpu cuda", *filter(None, [device]))
    with plain_errors():
        from lossref.run import replay as replaying

        lines, passes = replaying.replay(file, device)
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
