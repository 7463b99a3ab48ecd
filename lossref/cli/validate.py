"""`lossref validate`, and `lossref replay` of what it saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossref.cli.common import (
    CONFORMS,
    DOES_NOT,
    INCOMPLETE,
    USAGE,
    NoCache,
    SpecFiles,
    SpecGlob,
    app,
    globs,
    listed,
    only,
    plain_errors,
    sentence,
    stop,
)
from lossref.cli.report import FORMATS, Format, say

if TYPE_CHECKING:
    from rich.console import Console

    from lossref.hosts.process import Lodging
    from lossref.run.plan import Job
    from lossref.run.session import Expected, Session

    Follow = Callable[[Session, int, Console], None]

NOWHERE_ELSE = "", 0  # no cluster


@app.command()
def validate(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET...]", help="ultralytics, torch, reference, a module, ...")
    ] = None,
    spec: SpecGlob = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only checks that match; may be repeated.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="quick (a minute) or full (ten times the cases).")] = "quick",
    dtype: Annotated[list[str] | None, typer.Option("--dtype", help="float64 or float32, or both: a,b.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where the report goes [reports/TARGET].")] = None,
    as_spec: Annotated[
        str | None, typer.Option("--as", metavar="SPEC", help="The loss that module:function is.")
    ] = None,
    as_package: Annotated[
        str, typer.Option("--as-package", metavar="NAME", help="The package that TARGET is a fork of: ultralytics.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawn cases.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 8),
    executor: Annotated[
        str, typer.Option("--executor", metavar="dask://HOST:PORT", help="In place of them, the workers of a cluster.")
    ] = "",
    specs: SpecFiles = None,
    python: Annotated[str, typer.Option("--python", help="The Python that targets live in [this one].")] = "",
    command: Annotated[str, typer.Option("--command", help="An implementation in another language.")] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one question may take.")] = 20.0,
    memory: Annotated[float, typer.Option("--memory", min=0, help="GiB that a target may use [half of all].")] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same run was killed.")] = False,
    no_cache: NoCache = False,
    device: Annotated[list[str] | None, typer.Option("--device", help="cpu or cuda, or both: a,b.")] = None,
    dialect: Annotated[
        str, typer.Option("--dialect", help="Hold the target to the settings of this file, or shipped name.")
    ] = "",
    write_dialect: Annotated[
        Path | None, typer.Option("--write-dialect", help="Write the settings that were found into this file.")
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only part I of N; lossref report merge puts them together.")
    ] = "",
    allow_tf32: Annotated[bool, typer.Option("--allow-tf32", help="On a GPU, let matrices be rounded.")] = False,
    form: Format = "text",
) -> None:
    """Check implementations against the specs, and write a report."""
    only(FORMATS, form)
    only("quick full", tier)
    dtypes, devices = listed(dtype, "float64", "float32"), listed(device, "cpu")
    only("float64 float32", *dtypes)
    only("cpu cuda", *devices)
    if bool(targets) == bool(command):
        stop("say what is to be checked: TARGET, or --command for another language")
    from lossref.hosts import keeper
    from lossref.hosts.endings import memory_for
    from lossref.hosts.process import Lodging
    from lossref.run import plan as planning
    from lossref.run.causes import dialect_files as dialects
    from lossref.run.saved import file_name
    from lossref.targets.resolve import fork_of

    where = _where(executor, int(memory * 2**30))
    with plain_errors():
        words = [fork_of(word, as_package) for word in targets or [command]]
    folder = out or Path("reports") / file_name(*words)
    most = int(memory * 2**30) or memory_for(jobs)
    lodging = Lodging(python, command, timeout=timeout, memory=most, tf32=allow_tf32)
    with plain_errors(), keeper.kept():
        held = dialects.read(dialect, _release(words, lodging)) if dialect else planning.AT_DEFAULTS
        plan = planning.plan(
            words, globs(spec), globs(check), dtypes, tier, seed, folder, as_spec, lodging, devices, held
        )
        if not plan:
            stop(f"{', '.join(words)} has no implementation of {globs(spec)}")
        if not planning.planned(plan):
            stop(f"no check that matches {globs(check)!r} runs in {', '.join(dtypes)}")
        due = () if check or dtype or shard else held.expected({job.spec for job in plan}, every_spec=not spec)
        known = tuple((one.finding, one.reason, one in due) for one in held.known)
        plan, more = _part(plan, shard) if shard else (plan, {})
        status = _carry_out(words, plan, folder, jobs, tier, seed, resume, write_dialect, form, known, more, where)
    raise typer.Exit(status)


def _where(executor: str, memory: int) -> tuple[str, int]:
    """The cluster, if a run is carried out on one, and the bytes that a host may use there. Stops at a bad address."""
    from lossref.run.cluster.client import BadAddress, address

    try:
        return (executor, memory) if executor and address(executor) else NOWHERE_ELSE
    except BadAddress as error:
        stop(str(error))


def _release(words: list[str], lodging: Lodging) -> str:
    """The release of the one package that is asked; nothing where there are more, or none."""
    from lossref.targets.lodged import version

    return version(words[0], lodging) if len(words) == 1 else ""


def _part(plan: list[Job], which: str) -> tuple[list[Job], dict[str, Any]]:
    """The jobs of one part of a plan, and what run.json says of it. Stops where nothing is left for it."""
    from lossref.run.about import digest_of
    from lossref.run.saved.shards import facts, part, shard

    one = shard(which)
    jobs = [plan[at] for at in part(plan, one)]
    if not jobs:
        stop(f"there is nothing to do for part {which}: the run has {len(plan)} jobs")
    return jobs, facts(plan, one, digest_of(plan))


def _carry_out(
    words: list[str],
    plan: list[Job],
    folder: Path,
    jobs: int,
    tier: str,
    seed: int,
    resume: bool,
    write_dialect: Path | None,
    form: str,
    known: Expected,
    more: Mapping[str, Any],
    where: tuple[str, int],
) -> int:
    """Run the plan, keep every verdict as it comes, write the report, say what came out."""
    from lossref.hosts.interrupts import deaf
    from lossref.report import page as report
    from lossref.report import terminal
    from lossref.report.terminal import console
    from lossref.run import session
    from lossref.run.about import check_docs
    from lossref.run.atomic import InUse, write_text
    from lossref.run.causes import dialect_files as dialects
    from lossref.run.cluster.client import ClusterError

    kept, interrupted = session.Session(folder, words, plan, tier, seed, resume, known, more), False
    try:
        with _joined(where, kept) as follow, kept:
            try:
                follow(kept, jobs, console(stderr=True))
            except KeyboardInterrupt:
                deaf()
                interrupted = True
        page = report.write(folder, check_docs())
    except (InUse, session.SessionError) as error:
        stop(str(error))
    except ClusterError as error:
        stop(f"{error}; {_so_far(kept)}", INCOMPLETE)
    except OSError as error:
        stop(f"{sentence(error)}; {_so_far(kept)}", USAGE if isinstance(error, FileExistsError) else INCOMPLETE)
    if write_dialect:
        write_text(write_dialect, dialects.written(kept.verdicts, f"{', '.join(words)}, found by lossref validate"))
    if form == "text":
        terminal.summary(kept.verdicts, report.read(folder)[1], folder, kept.exit_status())
    say(folder, form)
    console(stderr=form != "text").print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    if interrupted:
        stop(f"interrupted: {_so_far(kept)}", INCOMPLETE)
    return kept.exit_status()


@contextmanager
def _joined(where: tuple[str, int], kept: Session) -> Iterator[Follow]:
    """What carries a plan out: processes here, or a cluster that has at least one worker which is fit for it."""
    from lossref.run import session
    from lossref.run.cluster import cluster
    from lossref.run.cluster.order import Order, facts_of

    if where == NOWHERE_ELSE:
        yield session.follow
        return

    def tell(sentence: str) -> None:
        typer.echo(f"lossref: {sentence}", err=True)

    order = Order(tuple(kept.plan), facts_of(kept.plan), memory=where[1])
    with cluster.joined(where[0], order, tell) as afar:
        yield lambda kept, jobs, console: cluster.follow(kept, afar, console)


def _so_far(kept: Session) -> str:
    """What of a run that came to no good end is on disk."""
    if not kept.verdicts:
        return "no verdicts were made"
    return f"{len(kept.verdicts)} of {kept.expected} verdicts are kept in {kept.folder}; --resume goes on from there"


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A case that a failing run saved.")],
    specs: SpecFiles = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import what the file names, also from outside of this directory.")
    ] = False,
    no_cache: NoCache = False,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda [where it failed].")] = None,
    python: Annotated[str, typer.Option("--python", help="The Python that it is asked in [where it failed].")] = "",
    command: Annotated[str, typer.Option("--command", help="The peer that is asked [the one that failed].")] = "",
) -> None:
    """Run one saved case again: exit 0 if it passes now, 1 if it still fails."""
    only("cpu cuda", *filter(None, [device]))
    with plain_errors():
        from lossref.hosts.worker.words import printable
        from lossref.run.saved import replay as replaying

        lines, passes = replaying.replay(file, trust, device, python, command)
    for line in lines:
        typer.echo(printable(line))
    raise typer.Exit(CONFORMS if passes else DOES_NOT)
