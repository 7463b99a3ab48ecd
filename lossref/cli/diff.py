"""`lossref diff A B`: what is different between two releases, files, functions or environments."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, SpecGlob, app, globs, plain_errors, stop

if TYPE_CHECKING:
    from lossref.core.nouns import Spec, Target
    from lossref.run.causes.beside.differences import Compared


MOST = 8  # names in one line


@app.command()
def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="ultralytics==8.4.83, or a TARGET as for validate.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The same, to be compared with it.")],
    spec: SpecGlob = None,
    as_spec: Annotated[
        str | None, typer.Option("--as", metavar="SPEC", help="The loss that both functions are.")
    ] = None,
    python: Annotated[
        list[str] | None, typer.Option("--python", help="The Python that A lives in, and a second time that of B.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the drawn cases.")] = 0,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one question may take.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a program's way to read it.")] = False,
    specs: SpecFiles = None,
) -> None:
    """Put every case to two implementations and say what differs, whatever the specification says of either."""
    from lossref import losses as catalog

    pythons = [*(python or ()), "", ""]
    with plain_errors():
        wanted = catalog.matching(globs(spec))
        sides = [_side(word, as_spec, where, timeout) for word, where in zip((one, other), pythons, strict=False)]
        pairs = list(_pairs(wanted, *sides))
        found = list(_compared(pairs, seed, one, other, as_json))
    alone = [one.name for one in wanted if sum(one.name in side for side in sides) == 1]
    if as_json:
        typer.echo(json.dumps(_plain(one, other, found, alone), indent=1))
    else:
        for line in _told(found, alone):
            typer.echo(line)
    if not any(not row.reason for row in found):
        stop(f"nothing was compared: {one} and {other} have no loss in common that both can be asked", INCOMPLETE)
    raise typer.Exit(DOES_NOT if any(row.differences for row in found) else CONFORMS)


def _side(word: str, as_spec: str | None, python: str, timeout: float) -> dict[str, list[Target]]:
    """The targets of a word, by spec."""
    from lossref.hosts.endings import memory_for
    from lossref.hosts.process import Lodging
    from lossref.run.causes.beside.releases import is_release, release
    from lossref.targets.lodged import lodged

    if is_release(word):
        word, python = release(word)
    found: dict[str, list[Target]] = {}
    for target in lodged(word, as_spec, Lodging(python=python, timeout=timeout, memory=memory_for(2))):
        found.setdefault(target.spec, []).append(target)
    return found


def _pairs(
    wanted: Sequence[Spec], one: dict[str, list[Target]], other: dict[str, list[Target]]
) -> Iterator[tuple[Spec, Target, Target]]:
    """The targets of both that are the same loss: those of one label, or the only one of each."""
    for spec in wanted:
        mine, theirs = one.get(spec.name, []), {target.label: target for target in other.get(spec.name, ())}
        for target in mine if theirs else ():
            if target.label in theirs:
                yield spec, target, theirs[target.label]
            elif len(mine) == len(theirs) == 1:
                yield spec, target, next(iter(theirs.values()))


def _compared(
    pairs: Sequence[tuple[Spec, Target, Target]], seed: int, one: str, other: str, quiet: bool
) -> Iterator[Compared]:
    from lossref.report.terminal import track
    from lossref.run.causes.beside.differences import compared
    from lossref.targets.lodged import settled

    asked: Iterable[tuple[Spec, Target, Target]] = pairs if quiet else track(pairs, f"{one} | {other}")
    for spec, mine, theirs in asked:
        yield compared(spec, settled(mine), settled(theirs), seed)


def _told(found: Sequence[Compared], alone: Sequence[str]) -> Iterator[str]:
    """One block for each loss that differs, then what does not, and what could not be seen."""
    from lossref.losses import spec as find
    from lossref.run.findings.words import listed

    for row in (row for row in found if row.differences):
        first = row.differences[0]
        names = ", ".join(one.quantity for one in row.differences)
        most = max(one.apart for one in row.differences)
        yield f"{row.spec}  {names}: on {max(one.cases for one in row.differences)} of {row.cases} cases, {_far(most)}"
        for name, before, after in row.settings:
            meaning = find(row.spec).params[name].meaning(after)
            yield f"    {name} {before!r} -> {after!r}{f': {meaning}' if meaning else ''}"
        if not row.settings:
            yield "    no named setting tells them apart"
        yield f"    {first.quantity}: {first.one} -> {first.other}, on {first.first.id or first.first.why}"
    unchanged = [row.spec for row in found if row.alike]
    yield f"unchanged: {len(unchanged)}{f' ({listed(unchanged, MOST)})' if unchanged else ''}"
    lost = [f"{row.spec} ({row.reason})" for row in found if row.reason]
    if lost:
        yield f"not comparable: {len(lost)}: {listed(lost, MOST)}"
    if alone:
        yield f"only one of them has: {listed(alone, MOST)}"


def _far(apart: float) -> str:
    if apart == float("inf"):
        return "one has no number where the other has"
    if apart >= 1e-3:
        return f"{100 * apart:.{0 if apart > 0.1 else 1}f} % of the largest number"
    return f"{apart:.1e} of the largest number"


def _plain(a: str, b: str, found: Sequence[Compared], alone: Sequence[str]) -> dict[str, Any]:
    rows = [
        {
            "spec": row.spec,
            "cases": row.cases,
            "reason": row.reason,
            "settings": [{"name": name, "a": before, "b": after} for name, before, after in row.settings],
            "differences": [
                {
                    **{name: getattr(one, name) for name in ("quantity", "cases", "of", "one", "other")},
                    "apart": one.apart if math.isfinite(one.apart) else None,
                    "case": one.first.id or one.first.why,
                }
                for one in row.differences
            ],
        }
        for row in found
    ]
    return {"a": a, "b": b, "compared": rows, "only_one_has": list(alone)}
