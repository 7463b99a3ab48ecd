"""What a review looks like on a terminal: what has moved in which spec, then case by case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from lossref.hosts.worker.words import printable
from lossref.losses import specs
from lossref.report.reviewed.cards import Card, Row
from lossref.report.reviewed.sketch import sketch
from lossref.report.terminal import table
from lossref.run.findings.words import count
from lossref.run.golden.changes.comparing import Change
from lossref.run.golden.changes.moves import JUDGED
from lossref.run.golden.changes.words import DISAGREE, budgets_of, number

INDENT, NAMES = "    ", 11  # before each line of a case; letters of the name of a line


def overview(changes: Sequence[Change]) -> Iterator[RenderableType]:
    """One line for each spec: how many cases of which kind, and how far they moved."""
    named = dict.fromkeys(one.spec for one in changes)
    rows = [_line(name, [one for one in changes if one.spec == name]) for name in named]
    yield Text(f"{count(len(changes), 'case')} of {count(len(named), 'spec')} would change")
    yield table("spec cases kinds value gradient f64_budgets f32_budgets decided disagree", rows)


def _line(name: str, mine: Sequence[Change]) -> tuple[str, ...]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in mine).items())
    moves = [move for one in mine for move in one.moves]
    budgets = (_most(move.budgets[place] for move in moves if move.budgets) for place in range(len(JUDGED)))
    sizes = (_most(move.relative for move in moves if move.name.startswith(kind)) for kind in ("value", "gradient"))
    decided = sum(bool(one.decided) for one in mine)
    return name, str(len(mine)), kinds, *sizes, *budgets, str(decided), str(sum(one.disagrees for one in mine))


def _most(found: Iterable[float]) -> str:
    most = max(found, default=0.0)
    return number(most) if most else "-"


def card(one: Card, at: int, of: int) -> Iterator[RenderableType]:
    """One changed case, a line each."""
    change = one.change
    kind = f"  {change.kind}: {one.meaning}"
    yield Text.assemble((f"{at} of {of}  ", "dim"), (printable(one.name), "bold"), kind)
    lines = [*_facts(one), *sketch(specs().get(change.spec), one.inputs, one.params, one.at)]
    lines += [*_numbers(one.rows), *_verdict(one)]
    yield from (Text.assemble(INDENT, line) for line in lines)
    yield ""


def _facts(one: Card) -> Iterator[Text]:
    change = one.change
    yield Text(printable(" · ".join(filter(None, (change.why, ", ".join(change.flags), change.origin)))), "dim")
    if change.fields:
        yield Text(printable("; ".join(change.fields)))
    if one.size:
        yield Text(printable(one.size), "dim")


def _numbers(rows: Sequence[Row]) -> Iterator[Text]:
    """Value and gradient apart: old and new, and how far they are from each other."""
    for row in rows:
        if row.shape:
            yield _named(row.kind, f"{row.name}: {row.shape}")
            continue
        yield _named(row.kind, f"{row.name}  {row.old:.17g} -> {row.new:.17g}")
        far = f"{number(row.relative)} relative, {number(row.ulp)} ULP, {row.moved} numbers"
        yield _named("", ", ".join([far, *budgets_of(row.budgets)]))


def _verdict(one: Card) -> Iterator[Text]:
    """Who is nearer to the truth, and what the change does to the reference."""
    yield _named("truth", one.nearer)
    if one.reference:
        yield _named("reference", f"{'; '.join(one.reference)} (error over budget)")
    if one.change.disagrees:
        yield Text(f"{'but':{NAMES}}{DISAGREE}", "bold red")


def _named(name: str, said: str) -> Text:
    return Text.assemble((f"{name:{NAMES}}", "dim"), printable(said))


def show(screen: Console, parts: Iterable[RenderableType]) -> None:
    """Print parts, one after the other."""
    for part in parts:
        screen.print(part, highlight=False, soft_wrap=isinstance(part, Text))
