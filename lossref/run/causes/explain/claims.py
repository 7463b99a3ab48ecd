"""The first claim that has the target's numbers on every case it is held against, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Spec, Target
from lossref.run.causes.explain.quantity import Shown, deciding, quantity_of
from lossref.run.causes.explain.search import AT_LEAST, Search

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
    search = Search(quantity_of(spec, kind), target, shown, known, settings, dtype)
    wrong, others = [one for one in search.told if one.apart], [one for one in search.told if not one.apart]
    if not wrong:
        return ""
    only = list(deciding(wrong, others)) if len(wrong) >= (AT_LEAST if spec.composite else FEW) else []

    def at_one() -> Iterator[str]:
        for name, value in only:
            there = [one for one in shown if one.case.params.get(name) == value]
            said = explain(spec, target, kind, there, known, settings, dtype)
            yield from [f"{said}, at {name} = {value!r} only"] if said else []

    of_notation = any(spec.params[name].convention for name, _ in only)  # then it is cheaper to look there first
    there_first = of_notation or (spec.composite and only)  # or the purse is spent on what cannot be
    looks = (at_one(), search.sentences()) if there_first else (search.sentences(), at_one())
    return next(chain(*looks), "")
