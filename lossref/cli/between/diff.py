"""`lossref diff A B`: what is different between two releases, files, functions or environments."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossref.cli.common import CONFORMS, DOES_NOT, INCOMPLETE, SpecFiles, SpecGlob, app, globs, plain_errors, stop

if TYPE_CHECKING:
    from lossref.run.causes.beside.bisecting import Change
    from lossref.run.causes.beside.differences import Compared
    from lossref.run.causes.beside.sides import Pair, Side


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
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Of two releases: find those between them at which a loss changed.")
    ] = False,
    picture: Annotated[
        bool, typer.Option("--picture", help="Draw the smallest case that tells the two apart, of each loss.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a program's way to read it.")] = False,
    specs: SpecFiles = None,
) -> None:
    """Put every case to two implementations and say what differs, whatever the specification says of either."""
    from lossref import losses as catalog
    from lossref.run.causes.beside.bisecting import between
    from lossref.run.causes.beside.sides import pairs, side

    pythons = [*(python or ()), "", ""]
    with plain_errors():
        releases = between(one, other) if bisect else []  # what pip knows, or a sentence before anything is asked
        wanted = catalog.matching(globs(spec))
        sides = [side(word, as_spec, where, timeout) for word, where in zip((one, other), pythons, strict=False)]
        found = list(_rows(list(pairs(wanted, *sides)), seed, one, other, as_json))
        began = _began(releases, sides, found, seed, timeout, as_json) if bisect else []
    alone = [one.name for one in wanted if sum(one.name in side for side in sides) == 1]
    if as_json:
        typer.echo(json.dumps(_plain(one, other, found, alone, began), indent=1))
    else:
        for line in _told(found, alone, began):
            typer.echo(line)
        for row in found if picture else ():
            _draw(row)
    if not any(not row.reason for row in found):
        stop(f"nothing was compared: {one} and {other} have no loss in common that both can be asked", INCOMPLETE)
    raise typer.Exit(DOES_NOT if any(row.differences for row in found) else CONFORMS)


def _rows(pairs: Sequence[Pair], seed: int, one: str, other: str, quiet: bool) -> Iterator[Compared]:
    from lossref.report.terminal import track
    from lossref.run.causes.beside.sides import beside

    asked: Iterable[Pair] = pairs if quiet else track(pairs, f"{one} | {other}")
    for pair in asked:
        yield beside(pair, seed)


def _began(
    releases: Sequence[str], sides: Sequence[Side], rows: Sequence[Compared], seed: int, timeout: float, quiet: bool
) -> list[Change]:
    """Where each of these losses changed on the way between two sides, the first release first."""
    from lossref.losses import spec as find
    from lossref.report.terminal import track
    from lossref.run.causes.beside.bisecting import Change, changes
    from lossref.run.causes.beside.differences import compared, differing
    from lossref.run.causes.beside.sides import asking, first, loading

    ends = releases[0], releases[-1]
    loaded = loading(timeout, dict(zip(ends, sides, strict=True)))
    by_spec = {row.spec: first([x for x in rows if x.spec == row.spec]) for row in rows if row.differences}
    asked: Iterable[str] = by_spec if quiet else track(list(by_spec), f"{len(releases)} releases")
    found = list[Change]()
    for name in asked:
        known = {ends: by_spec[name]}
        quick, whole = (asking(find(name), seed, loaded, how, known) for how in (differing, compared))
        found += [Change(x.before, x.after, whole(x.before, x.after)) for x in changes(releases, quick)]
    return sorted(found, key=lambda change: releases.index(change.after))


def _told(found: Sequence[Compared], alone: Sequence[str], began: Sequence[Change]) -> Iterator[str]:
    """One block for each loss that differs, then what does not, and what could not be seen; then where it began."""
    from lossref.run.findings.words import listed

    for row in found:
        yield from _block(row) if row.differences else ()
    unchanged = [row.spec for row in found if row.alike]
    yield f"unchanged: {len(unchanged)}{f' ({listed(unchanged, MOST)})' if unchanged else ''}"
    lost = [f"{row.spec} ({row.reason})" for row in found if row.reason]
    if lost:
        yield f"not comparable: {len(lost)}: {listed(lost, MOST)}"
    if alone:
        yield f"only one of them has: {listed(alone, MOST)}"
    last = ""
    for change in began:
        if change.after != last:
            yield f"changed with {change.after}; {change.before} is as before:"
        last = change.after
        yield from (f"    {line}" for line in _block(change.compared))


def _block(row: Compared) -> Iterator[str]:
    """What is different in one loss: the quantities, the settings that are behind it, and one number."""
    from lossref.losses import spec as find

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


def _draw(row: Compared) -> None:
    """The smallest case of what differs, in letters; what cannot be drawn is named."""
    from lossref.losses import spec as find
    from lossref.report.reviewed.sketch import sketch
    from lossref.report.terminal import console

    case = row.smallest
    if case is None:
        return
    count = sum(array.size for array in case.inputs.values())
    typer.echo(f"{row.spec}, the smallest case of those that differ: {case.id or case.why} ({count} numbers)")
    for line in sketch(find(row.spec), case.inputs, case.params, ()):
        console().print("   ", line, soft_wrap=True)


def _far(apart: float) -> str:
    if apart == float("inf"):
        return "one has no number where the other has"
    if apart >= 1e-3:
        return f"{100 * apart:.{0 if apart > 0.1 else 1}f} % of the largest number"
    return f"{apart:.1e} of the largest number"


def _plain(a: str, b: str, found: Sequence[Compared], alone: Sequence[str], began: Sequence[Change]) -> dict[str, Any]:
    changes = [{"before": one.before, "after": one.after, **_plain_row(one.compared)} for one in began]
    return {"a": a, "b": b, "compared": list(map(_plain_row, found)), "only_one_has": list(alone), "began": changes}


def _plain_row(row: Compared) -> dict[str, Any]:
    return {
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
