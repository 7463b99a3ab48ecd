"""`lossref explain`: what a check asserts, what a setting means, or all that is known about a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lossref.cli.common import SpecFiles, app, plain_errors, stop

REPORTS = Path("reports")


@app.command()
def explain(
    word: Annotated[str, typer.Argument(metavar="CHECK|SETTING|FINDING", help="refuses, small_boxes, or an id.")],
    where: Annotated[
        Path | None, typer.Option("--in", metavar="DIR", help="The run that a finding is of [all in reports].")
    ] = None,
    specs: SpecFiles = None,
) -> None:
    """Say what a check asserts, what a setting means, or what is known about a finding of a run."""
    from lossref.hosts.worker.words import printable

    with plain_errors():
        lines = [*_check(word), *_setting(word.partition("=")[0]), *_finding(word, where)]
    if not lines:
        stop(f"{word!r} is no check, no setting of a spec and no finding of {where or f'a run in {REPORTS}'}")
    for line in lines:
        typer.echo(printable(line))


def _check(word: str) -> Iterator[str]:
    from lossref.checks.table import CHECKS
    from lossref.run.findings.words import MANNERS

    for one in (check for check in CHECKS if check.name == word):
        yield f"{one.name}: a check, in {' and '.join(one.dtypes)}"
        yield f"  {one.doc}"
        yield f"  It is given cases of the kinds {', '.join(one.kinds)}."
        if word in MANNERS:
            yield f"  Where it fails, look for {MANNERS[word][1]}."


def _setting(word: str) -> Iterator[str]:
    from lossref import losses

    seen: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for spec in losses.specs().values():
        if word in spec.params:
            param = spec.params[word]
            values = (param.default, *sorted(param.others, key=str))
            lines = tuple(
                f"{value!r}: {param.meaning(value)}" if param.meaning(value) else repr(value) for value in values
            )
            seen.setdefault((param.doc, lines), []).append(spec.name)
    for (doc, (default, *others)), names in seen.items():
        yield f"{word}: a setting of {', '.join(names)}"
        yield f"  {doc}"
        yield f"  The specification has {default}"
        yield from (f"  also known: {one}" for one in others)


def _finding(word: str, where: Path | None) -> Iterator[str]:
    from lossref.report.cards import cards
    from lossref.report.stored import ReportError, read
    from lossref.run.findings import findings

    folders = [where] if where else sorted(path.parent for path in REPORTS.glob("*/verdicts.jsonl"))
    for folder in folders:
        try:
            verdicts, run = read(folder)
        except ReportError:
            if where:
                raise
            continue
        for card in cards(folder, [one for one in findings(verdicts) if one.id == word]):
            one = card.finding
            yield f"{one.id}: {one.kind} of {run['target']} {run['version']} ({folder})".replace("  ", " ")
            numbers = ", ".join(f"{name} {value}" for name, value in card.numbers.items() if value not in (None, ""))
            look_for = f"look for {one.look_for}" if one.look_for else ""
            said = (one.sentence, one.size, card.problem, numbers, one.where, look_for)
            yield from (f"  {line}" for line in said if line)
            for spec, rows in card.evidence:
                yield f"  {spec}: {', '.join(f'{row.check} {row.dtype}' for row in rows)}"
            if card.replay:
                yield f"  {card.replay}"
