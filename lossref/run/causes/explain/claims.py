"""The first claim that has the target's numbers on every case it is held against, as one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Params, Spec, Target
from lossref.run.causes.explain.quantity import Quantity, Shown, Told, deciding, quantity_of, told
from lossref.run.causes.explain.search import AT_LEAST, Search

MOST = 0.6  # of the cases that are wrong, that have one value of a parameter
FEW = 3  # cases that a claim about some cases alone is held against at least


def explain(
    spec: Spec,
    target: Target,
    kind: str,
    shown: Sequence[Shown],
    known: Attempts,
    settings: Mapping[str, Any],
    dtype: str = "float64",
) -> str:
    """One true sentence about the failures of a kind; nothing where no claim reproduces them on every case.

    The failing cases come first; `settings` are what has been adopted, and the truth of `shown` is that at them.
    """
    if kind.startswith("raises"):
        return ""
    apart = _no_numbers(quantity_of(spec, kind), shown, settings, dtype)
    if apart:
        rest = [one for one in shown if one not in apart]
        here, there = (explain(spec, target, kind, them, known, settings, dtype) for them in (rest, apart))
        return f"{here}; where no finite number is given, {there}" if here and there else ""
    search = Search(quantity_of(spec, kind), target, shown, known, settings, dtype)
    wrong, others = [one for one in search.told if one.apart], [one for one in search.told if not one.apart]
    if not wrong:
        return ""
    only = list(deciding(wrong, others)) if len(wrong) >= (AT_LEAST if spec.composite else FEW) else []

    def at(name: str, value: Any) -> str:
        there = [one for one in shown if one.case.params.get(name) == value]
        return explain(spec, target, kind, there, known, settings, dtype)

    alone = (f"{said}, at {name} = {value!r} only" for name, value in only if (said := at(name, value)))
    of_notation = any(spec.params[name].convention for name, _ in only)  # then it is cheaper to look there first
    plain, costly = search.plain(), search.costly()
    looks = chain(alone, plain, costly) if of_notation else chain(plain, alone, costly)
    return next(chain(looks, _usually(search, shown, wrong)), "")


def _no_numbers(what: Quantity, shown: Sequence[Shown], settings: Params, dtype: str) -> list[Shown]:
    """Cases on which NaN or infinity is given where a number is right, if other numbers are wrong elsewhere.

    They have a cause of their own: a step that overflows, or a value that it is not defined for.
    """
    wrong = [one for one in told(what, shown, settings, dtype) if one.apart]
    without = [one.shown for one in wrong if not np.isfinite(one.got).all() and np.isfinite(one.want).all()]
    return without if len(without) < len(wrong) else []


def _usually(search: Search, shown: Sequence[Shown], wrong: Sequence[Told]) -> Iterator[str]:
    """What explains the cases at the value of a parameter that most of those have which are wrong."""
    spec = search.what.spec
    for name in spec.params if spec.composite and len(wrong) > FEW else ():
        value, count = Counter(one.shown.case.params[name] for one in wrong).most_common(1)[0]
        if MOST * len(wrong) <= count < len(wrong):
            there = [one for one in shown if one.case.params[name] == value]
            found = Search(search.what, search.target, there, search.known, search.settings, search.dtype).plain()
            yield from (f"{said}, at {name} = {value!r}; elsewhere something else is wrong, too" for said in found)
