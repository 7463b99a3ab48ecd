"""The command line. Torch, pandas and the rest are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from lossref.core import Spec
    from lossref.run import Job

CONFORMS, DOES_NOT, USAGE, INCOMPLETE = 0, 1, 2, 3

app = typer.Typer(
    name="lossref",
    help="Is this loss implementation right, where is it not, and how far off is it?",
    epilog="Exit status: 0 conforms, 1 does not, 2 usage, 3 incomplete.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
golden_app = typer.Typer(help="The recorded cases in golden/.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(golden_app, name="golden")

SpecGlob = Annotated[list[str] | None, typer.Option("--spec", help="Only specs that match ('*iou'); may be repeated.")]
Folder = Annotated[Path, typer.Option("--folder", help="Where the recorded cases are.")]


def _stop(message: str, status: int = USAGE) -> NoReturn:
    """One sentence on stderr, and the exit status."""
    typer.echo(f"lossref: {message}", err=True)
    raise typer.Exit(status)


def _globs(words: list[str] | None) -> str:
    return ",".join(words or ["*"])


def _only(allowed: str, *words: str) -> None:
    for word in words:
        if word not in allowed.split():
            _stop(f"{word!r} is not one of {', '.join(allowed.split())}")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What a user can cause becomes one sentence; a package that cannot be imported is incomplete."""
    from lossref.catalog import UnknownSpec
    from lossref.checks import UnknownCheck
    from lossref.report import ReportError
    from lossref.resolve import Unavailable, UnknownTarget
    from lossref.saved import SavedCaseError

    try:
        yield
    except Unavailable as error:
        _stop(f"{error} (nothing was checked; this is {sys.executable})", INCOMPLETE)
    except (UnknownSpec, UnknownCheck, UnknownTarget, ReportError, SavedCaseError) as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"{error.filename or 'a file'}: {error.strerror or error}")


@app.command("list")
def list_specs() -> None:
    """List the specs, the public names, the checks and the built-in targets."""
    from lossref.api import rows
    from lossref.catalog import specs
    from lossref.checks import CHECKS
    from lossref.resolve import adapters
    from lossref.terminal import console, table

    screen = console()
    for head, lines in (
        ("spec what_it_is source", [(one.name, one.summary, one.cite) for one in specs().values()]),
        ("public_name method signature checked_by", list(rows())),
        ("check what_it_asserts dtypes", [(one.name, one.doc, " ".join(one.dtypes)) for one in CHECKS]),
    ):
        screen.print(table(head, lines), "", sep="\n")
    screen.print(f"Targets: {', '.join(adapters())}, a module, a file.py, or module:function with --as SPEC")


@app.command()
def show(spec: Annotated[str, typer.Argument(help="Name of a spec, see `lossref list`.")]) -> None:
    """Show one spec: formula, inputs, parameters, laws, corners, known mistakes."""
    from lossref import catalog

    with _plain_errors():
        one = catalog.spec(spec)
    for line in _described(one):
        typer.echo(line)


def _described(one: Spec) -> Iterator[str]:
    from lossref import catalog

    yield f"{one.name}: {one.summary}"
    arguments = [*one.inputs, *(f"{name}={param.default!r}" for name, param in one.params.items())]
    yield f"source: {one.cite}\ncall:   {one.api}\nyours:  def my_{one.name}({', '.join(arguments)})"
    yield f"        returns {one.returns}\n"
    yield catalog.doc(one).strip() + "\n\ninputs:"
    for name, domain in one.inputs.items():
        yield f"  {name} ({', '.join(domain.axes.split())})  {domain.units}; families: {', '.join(domain.families)}"
    yield "parameters:"
    for name, param in one.params.items():
        yield f"  {name}={param.default!r}  {param.doc}; also tried: {', '.join(map(repr, param.others))}"
    yield f"gradient to: {', '.join(one.wrt)}"
    yield f"laws: {', '.join(law.__name__.replace('_', ' ') for law in one.laws)}"
    yield "corners:" + "".join(f"\n  {case.id}: {case.why}" for case in one.corners)
    yield "known mistakes (each must be rejected):"
    for wrong in one.impostors:
        yield f"  {wrong.label}: {wrong.note} [{', '.join(wrong.known)}]"


@app.command()
def validate(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="ultralytics, torch, reference, a module, ...")
    ],
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
) -> None:
    """Check implementations against the specs, and write a report."""
    _only("quick full", tier)
    _only("float64 float32", *(dtype or ()))
    from lossref import run as running
    from lossref.session import file_name

    folder = out or Path("reports") / file_name(targets)
    with _plain_errors():
        dtypes = tuple(dtype or ("float64", "float32"))
        plan = running.plan(targets, _globs(spec), _globs(check), dtypes, tier, seed, folder, as_spec)
        if not plan:
            _stop(f"{', '.join(targets)} has no implementation of {_globs(spec)}")
        if not running.planned(plan):
            _stop(f"no check that matches {_globs(check)!r} runs in {', '.join(dtypes)}")
        status = _carry_out(plan, targets, folder, jobs, tier, seed)
    raise typer.Exit(status)


def _carry_out(plan: list[Job], words: list[str], folder: Path, jobs: int, tier: str, seed: int) -> int:
    """Run the plan, keep every verdict as it comes, write the report, say what came out."""
    from lossref import report, session, terminal
    from lossref.terminal import console

    with session.Session(folder, words, plan, tier, seed) as kept:
        finished = session.follow(kept, plan, jobs, console(stderr=True))
    page = report.write(folder, session.check_docs())
    terminal.summary(kept.verdicts, kept.expected, folder, kept.exit_status())
    console().print(f"report: {page}", highlight=False, soft_wrap=True)
    if not finished:
        _stop(f"interrupted: {len(kept.verdicts)} of {kept.expected} verdicts are kept in {folder}", INCOMPLETE)
    return kept.exit_status()


@app.command()
def bench(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="As for validate.")],
    spec: SpecGlob = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    size: Annotated[list[str] | None, typer.Option("--size", help="small or train [both].")] = None,
    vs: Annotated[str, typer.Option("--vs", metavar="TARGET", help="The baseline.")] = "reference",
    out: Annotated[Path, typer.Option("--out", help="Where CSV and page go.")] = Path("reports") / "bench",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the inputs.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time for everything, about.")] = 450,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Torch threads [torch's choice].")] = None,
) -> None:
    """Time implementations against a baseline; only those whose answers are right."""
    _only("cpu cuda", device)
    _only("small train", *(size or ()))
    with _plain_errors():
        from lossref import bench as benching
        from lossref.bench_rows import Settings

        settings = Settings(tuple(targets), _globs(spec), device, tuple(size or ("small", "train")), vs, seed, seconds)
        contests = benching.plan(settings)
        if not contests:
            _stop(f"{', '.join(targets)} has no implementation of {_globs(spec)}")
        complete = benching.main(contests, settings, out, threads)
    raise typer.Exit(CONFORMS if complete else INCOMPLETE)


@app.command()
def replay(file: Annotated[Path, typer.Argument(help="A case that a failing run saved.")]) -> None:
    """Run one saved case again: exit 0 if it passes now, 1 if it still fails."""
    with _plain_errors():
        from lossref import replay as replaying

        lines, passes = replaying.replay(file)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(CONFORMS if passes else DOES_NOT)


@golden_app.command("write")
def golden_write(spec: SpecGlob = None, folder: Folder = Path("golden")) -> None:
    """Record the certified answers anew; both files of a spec are replaced at once."""
    from lossref import catalog, golden, terminal

    with _plain_errors():
        for one in terminal.track(catalog.matching(_globs(spec)), "recording"):
            typer.echo(f"{one.name}: {golden.write(one, folder)} cases recorded in {folder}")


@golden_app.command("check")
def golden_check(spec: SpecGlob = None, folder: Folder = Path("golden")) -> None:
    """Compare the record with the oracle (bit for bit) and the reference (within budget)."""
    from lossref import catalog, golden, terminal

    with _plain_errors():
        chosen = catalog.matching(_globs(spec))
        problems = [problem for one in terminal.track(chosen, "comparing") for problem in golden.check(one, folder)]
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"golden: {len(chosen)} specs, {len(problems)} differences")
    raise typer.Exit(DOES_NOT if problems else CONFORMS)


@app.command("report")
def write_report(directory: Annotated[Path, typer.Argument(help="Where verdicts.jsonl is.")]) -> None:
    """Write summary.csv and index.html again from verdicts.jsonl."""
    with _plain_errors():
        from lossref import report, session

        typer.echo(f"report: {report.write(directory, session.check_docs())}")


def main() -> None:
    """Entry point; Ctrl-C anywhere is one line, not a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("lossref: interrupted", err=True)
        sys.exit(INCOMPLETE)
