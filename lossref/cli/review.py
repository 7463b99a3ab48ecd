"""`lossref golden record`, `review`, `accept`, `reject`, `history`: the record, changed on purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import CONFORMS, INCOMPLETE, SpecFiles, globs, stop
from lossref.cli.recorded import GOLDEN, Folder, golden_app, option_of, refusals, tell_stale

if TYPE_CHECKING:
    from lossref.core.nouns import Spec
    from lossref.run.golden.changes.comparing import Change
    from lossref.run.golden.changes.pending import Pending

Words = Annotated[list[str] | None, typer.Argument(metavar="[SPEC]", help="Which specs ('*iou'); none: all.")]
Cases = Annotated[
    list[str] | None, typer.Option("--case", metavar="ID", help="This case: its id, or SPEC/ID; may be repeated.")
]
Specs = Annotated[list[str] | None, typer.Option("--spec", metavar="SPEC", help="Every open case of this spec.")]
All = Annotated[bool, typer.Option("--all", help="Every open case.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, one line: it goes into HISTORY.md.")]
Even = Annotated[bool, typer.Option("--even-if-they-disagree", help="Also what oracle and reference disagree about.")]
ANSWERS = "a accept, r reject, A accept all of {0}, R reject all of {0}, s skip, q stop"


@golden_app.command("record")
def golden_record(
    words: Words = None,
    specs: SpecFiles = None,
    folder: Folder = GOLDEN,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")] = min(os.cpu_count() or 1, 2),
) -> None:
    """Compute what recording anew would change, into FOLDER/.pending; nothing else is touched."""
    from lossref import losses
    from lossref.report import terminal
    from lossref.report.reviewed.terminal import overview, show
    from lossref.run.about import progress
    from lossref.run.findings.words import count
    from lossref.run.golden.changes.proposing import forbid_in_ci, missing, proposed
    from lossref.run.golden.recording import Unrecordable, compute

    with refusals(folder):
        forbid_in_ci()
        chosen = losses.matching(globs(words))
        gone = missing(folder, losses.specs()) if not words else ()
        try:
            with progress("recording", len(chosen), terminal.console(stderr=True)) as advance:
                pending = proposed(folder, chosen, compute, gone, jobs, advance)
        except Unrecordable as error:
            stop(str(error), INCOMPLETE)
    if not pending.changes:
        typer.echo(f"{count(len(chosen), 'spec')} recorded: nothing would change in {folder}")
        tell_stale(folder, chosen)
        raise typer.Exit(CONFORMS)
    show(terminal.console(), overview(pending.changes))
    typer.echo(f"nothing has changed yet: lossref golden review{option_of(folder)}")


def _asked_of(pending: Pending) -> list[Spec]:
    """The specs that were recorded, as far as there are any of these names."""
    from lossref import losses

    return [losses.specs()[name] for name in pending.specs if name in losses.specs()]


@golden_app.command("review")
def golden_review(
    specs: SpecFiles = None,
    folder: Folder = GOLDEN,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what is open for a program, and decide nothing.")
    ] = False,
    page: Annotated[Path | None, typer.Option("--page", help="Write a page of it, and decide nothing.")] = None,
    even_if_they_disagree: Even = False,
) -> None:
    """Show each changed case, and accept or reject it, or its whole spec, with a reason."""
    from lossref.report.reviewed import cards, terminal
    from lossref.report.reviewed import page as pages
    from lossref.report.terminal import console
    from lossref.run.golden.changes.comparing import weightiest_first
    from lossref.run.golden.changes.pending import read, unchanged

    with refusals(folder):
        pending = read(folder)
        unchanged(folder, pending, _asked_of(pending))
        if as_json:
            typer.echo(json.dumps(cards.as_data(pending, pending.open), indent=1))
        if page:
            typer.echo(f"review: {pages.write(folder, pending, page)}", err=as_json)
        if as_json or page:
            return
        screen = console()
        terminal.show(screen, [*terminal.overview(pending.changes), ""])
        if _is_terminal():
            _decide_one_by_one(folder, pending, even_if_they_disagree)
            return
        for number, card in enumerate(cards.cards(folder, pending, weightiest_first(pending.open)), 1):
            terminal.show(screen, terminal.card(card, number, len(pending.open)))
    typer.echo("decide: lossref golden accept (or reject) --case ID, --spec SPEC or --all, --why TEXT")


def _is_terminal() -> bool:
    import sys

    return sys.stdin.isatty() and sys.stdout.isatty()


def _decide_one_by_one(folder: Path, pending: Pending, even: bool) -> None:
    """Each open case in turn, until all are decided or skipped, or somebody has enough."""
    from lossref.report.reviewed import cards, terminal
    from lossref.report.terminal import console
    from lossref.run.golden.changes.comparing import weightiest_first

    seen: set[tuple[str, str]] = set()
    total, why = len(pending.open), ""
    while waiting := [one for one in weightiest_first(pending.open) if (one.spec, one.id) not in seen]:
        one = waiting[0]
        seen.add((one.spec, one.id))
        (card,) = cards.cards(folder, pending, [one])
        terminal.show(console(), terminal.card(card, total - len(waiting) + 1, total))
        key = _key(one.spec)
        if key == "q":
            break
        if key != "s":
            why = typer.prompt("why", default=why or None)
            pending = _carried_out(folder, pending, one, key, why, even)
    typer.echo(_left(pending))


def _key(spec: str) -> str:
    while True:
        key: str = typer.prompt(ANSWERS.format(spec), default="s", show_default=False)
        if key in ("a", "r", "A", "R", "s", "q"):
            return key


def _carried_out(folder: Path, pending: Pending, one: Change, key: str, why: str, even: bool) -> Pending:
    """What a key says; a refusal is said, and the review goes on."""
    from lossref.run.golden.changes.deciding import accepted, rejected
    from lossref.run.golden.changes.pending import Refused

    these = [other for other in pending.open if other.spec == one.spec] if key in "AR" else [one]
    try:
        if key in "aA":
            return accepted(folder, pending, these, why, _asked_of(pending), even)
        return rejected(folder, pending, these, why)
    except Refused as error:
        typer.echo(f"lossref: {error}", err=True)
        return pending


def _named(
    folder: Path, cases: list[str] | None, specs: list[str] | None, everything: bool
) -> tuple[Pending, tuple[Change, ...]]:
    """What is pending, and those of it that the options of a command name."""
    from lossref.run.golden.changes.deciding import chosen
    from lossref.run.golden.changes.pending import read

    pending = read(folder)
    return pending, chosen(pending, cases or (), specs or (), everything)


def _left(pending: Pending) -> str:
    left = len(pending.open)
    return f"{left} of {len(pending.changes)} still open" if left else "all is decided"


@golden_app.command("accept")
def golden_accept(
    case: Cases = None,
    spec: Specs = None,
    everything: All = False,
    why: Why = "",
    even_if_they_disagree: Even = False,
    specs: SpecFiles = None,
    folder: Folder = GOLDEN,
) -> None:
    """Put pending cases into the record, all files in one step, with a reason."""
    from lossref.run.golden.changes.deciding import accepted

    with refusals(folder):
        pending, these = _named(folder, case, spec, everything)
        pending = accepted(folder, pending, these, why, _asked_of(pending), even_if_they_disagree)
    typer.echo(f"accepted {len(these)}; {_left(pending)}")


@golden_app.command("reject")
def golden_reject(
    case: Cases = None,
    spec: Specs = None,
    everything: All = False,
    why: Why = "",
    specs: SpecFiles = None,
    folder: Folder = GOLDEN,
) -> None:
    """Leave the record of pending cases as it is, with a reason."""
    from lossref.run.golden.changes.deciding import rejected

    with refusals(folder):
        pending, these = _named(folder, case, spec, everything)
        pending = rejected(folder, pending, these, why)
    typer.echo(f"rejected {len(these)}; {_left(pending)}")


@golden_app.command("history")
def golden_history(
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help="Only after this version or day.")] = "",
    folder: Folder = GOLDEN,
) -> None:
    """The release note of every accepted change, made of HISTORY.md."""
    from lossref.run.golden.changes.history import NAME, decisions, release_note

    if since and not any(letter.isdigit() for letter in since):
        stop(f"--since: expected a version or a day (0.1.0, 2026-11-28), got {since!r}")
    with refusals(folder):
        path = folder / NAME
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        typer.echo(release_note(list(decisions(text)), since) or f"{path}: no change of a recorded answer was accepted")
