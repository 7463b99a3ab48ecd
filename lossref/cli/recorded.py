"""`lossref golden check`, `refresh`, `export`: whether recorded cases hold, and the same for other languages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import (
    CONFORMS,
    DOES_NOT,
    INCOMPLETE,
    SpecFiles,
    SpecGlob,
    UnreadSpecFiles,
    app,
    globs,
    only,
    plain_errors,
    read_specs,
    stop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossref.core.nouns import Spec

Folder = Annotated[Path, typer.Option("--folder", help="Where the record is.")]
GOLDEN = Path("golden")
golden_app = typer.Typer(
    help="The recorded cases: exact inputs and the certified answer.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(golden_app, name="golden")
WENT = (
    "`golden write` is two commands now: `lossref golden record` computes what would change, and"
    " `lossref golden review` shows it and has it accepted; for scripts `lossref golden accept --all --why TEXT`"
)


@golden_app.command("write", hidden=True, context_settings={"ignore_unknown_options": True})
def golden_write(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Says where it went: `golden record`, then `golden review`."""
    stop(WENT)


@golden_app.command("check")
def golden_check(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]", help="Only specs that match ('*iou'); none: all.")
    ] = None,
    spec: SpecGlob = None,
    specs: UnreadSpecFiles = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where they are [./golden, else those that lossref brings].")
    ] = None,
    files: Annotated[bool, typer.Option("--files", help="Only whether the files are whole: without torch.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the cases of losses that take a model.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which third.")] = 0,
    device: Annotated[str, typer.Option("--device", help="Where the references are asked.")] = "cpu",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 2),
) -> None:
    """Compare the record with its list of files, with the oracle (bit for bit) and the reference (within budget)."""
    from lossref.run.golden.files.places import folder_to_check

    if specs or not files:
        read_specs(context, specs)
    where, asked = folder or folder_to_check(), [*(words or []), *(spec or [])]
    with in_order(where):
        checked, problems = _read(where, asked) if files else _compared(where, asked, (quick, seed), device, jobs)
    for problem in problems:
        typer.echo(problem)
    typer.echo(
        f"golden: {checked} specs {'read in' if files else 'compared with'} {where}, {len(problems)} differences"
    )
    if not files and not problems:
        tell_stale(where, _chosen(asked))
    if not checked and not problems:
        stop(f"nothing was examined, so nothing holds: there is no record in {where}", INCOMPLETE)
    raise typer.Exit(DOES_NOT if problems else CONFORMS)


def _chosen(asked: Sequence[str]) -> list[Spec]:
    from lossref import losses

    return losses.matching(globs(list(asked)))


@contextmanager
def refusals(folder: Path) -> Iterator[None]:
    """The folder is put in order first; what is refused is one sentence, too."""
    from lossref.run.golden.changes.pending import Refused

    try:
        with in_order(folder):
            yield
    except Refused as error:
        stop(str(error))


@contextmanager
def in_order(folder: Path) -> Iterator[None]:
    """What an interrupted change left is completed or undone first; what a user can cause is one sentence."""
    from lossref.run.golden.changes.journal import Unsettled, settled

    try:
        with plain_errors():
            said = settled(folder)
            if said:
                typer.echo(f"lossref: {said}", err=True)
            yield
    except Unsettled as error:
        stop(str(error), INCOMPLETE)


def _read(where: Path, asked: list[str]) -> tuple[int, list[str]]:
    """What is wrong with the files by themselves."""
    from lossref.run.golden.files.folder import folder_faults, matching

    known = matching(where, ["*"])
    unknown = next((word for word in asked if known and not matching(where, [word])), "")
    if unknown:
        stop(f"the record in {where} has no spec {unknown!r}; it has {', '.join(known)}")
    specs = matching(where, asked) if asked else None
    problems = list(folder_faults(where, specs))
    return len(known if specs is None else specs), problems


def _compared(where: Path, asked: list[str], part: tuple[bool, int], device: str, jobs: int) -> tuple[int, list[str]]:
    from lossref.report import terminal
    from lossref.run.about import progress
    from lossref.run.golden.checking import THIRD, Share, check
    from lossref.run.golden.files.folder import general_faults
    from lossref.run.jobs import each_spec

    quick, seed = part
    chosen = _chosen(asked)
    problems = list(general_faults(where, None if asked else [one.name for one in chosen]))
    work = partial(check, folder=where, share=Share(THIRD if quick else 1, 1, seed), device=device)
    running = each_spec(chosen, work, jobs)
    with progress("comparing", len(chosen), terminal.console(stderr=True)) as advance:
        found = {name: advance(1) or one for name, one in running}
    examined = [name for name, one in found.items() if one.cases or one.problems]
    return len(examined), problems + [problem for name in sorted(found) for problem in found[name].problems]


def option_of(folder: Path) -> str:
    """The option that names a folder, where it is not the usual one."""
    return "" if folder == GOLDEN else f" --folder {folder}"


def tell_stale(folder: Path, specs: Sequence[Spec]) -> None:
    """Say of which specs a run takes no answer from the record, and what to do."""
    from lossref.run.findings.words import listed
    from lossref.run.golden.changes.refreshing import stale

    found = [one.name for one in stale(folder, specs)]
    if found:
        typer.echo(
            f"no run takes recorded answers of {listed(found)}: other code computed them."
            f" lossref golden refresh{option_of(folder)} proves that they are those of the code as it is, and notes it"
        )


@golden_app.command("refresh")
def golden_refresh(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]", help="Which specs ('*iou'); none: all.")
    ] = None,
    folder: Folder = GOLDEN,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 2),
) -> None:
    """After a change of code that moved no answer: prove it, and have runs take recorded answers again."""
    from lossref.report import terminal
    from lossref.run.about import progress
    from lossref.run.findings.words import count
    from lossref.run.golden.changes.refreshing import refreshed, stale

    with refusals(folder):
        chosen = stale(folder, _chosen(words or []))
        with progress("comparing", len(chosen), terminal.console(stderr=True)) as advance:
            problems = refreshed(folder, chosen, jobs, advance) if chosen else []
    for problem in problems:
        typer.echo(problem)
    left = len({problem.partition(".json:")[0] for problem in problems})
    same = sum(one.composite for one in chosen) - left  # of an elementary loss no run takes answers
    typer.echo(
        f"golden: {count(same, 'spec')} computed anew, to the bit what {folder} has: runs take its answers again"
    )
    if problems:
        stop(
            f"the answers of {count(left, 'spec')} have moved: lossref golden record, then lossref golden review",
            DOES_NOT,
        )


@golden_app.command("export")
def golden_export(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]", help="Only specs that match ('*iou'); none: all.")
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="npz or json.")] = "npz",
    out: Annotated[Path, typer.Option("--out", help="Where the files go, one a spec.")] = Path("exported"),
    specs: SpecFiles = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the record is [./golden, else the one that lossref brings].")
    ] = None,
) -> None:
    """Write recorded cases for other languages: inputs, expected answers, and budgets of every dtype."""
    from lossref import losses
    from lossref.run.golden.export import FORMATS, exported
    from lossref.run.golden.files.places import folder_to_check
    from lossref.run.golden.files.strict import Damaged

    only(" ".join(FORMATS), form)
    where = folder or folder_to_check()
    with in_order(where):
        try:
            written = [exported(one, where, form, out) for one in losses.matching(globs(words))]
        except Damaged as error:
            stop(f"{where}: {error}")
    for path, count in written:
        typer.echo(f"{path}: {count} cases, {path.stat().st_size} bytes")
