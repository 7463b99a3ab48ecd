"""What is drawn for a target that declares what it can take: `only={"label": "hard"}`.

Its cases are drawn from a spec that has no other families, and of the corners those stay whose numbers such a family
could have given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from lossref.core.nouns import Array, Domain, Spec, Target
from lossref.core.picking import rng_pick

ROWS, ROW = 256, 16  # of a sample that shows which numbers a family can give
FEW = 300  # different numbers, of a family whose numbers are told by it


def families(domain: Domain, word: str) -> tuple[str, ...]:
    """The family of that name; else those whose names contain the word."""
    listed = tuple(domain.families)
    return (word,) if word in listed else tuple(name for name in listed if word.lower() in name.lower())


def not_there(spec: Spec, only: Mapping[str, str]) -> str:
    """A sentence about the first input that the spec lacks, or word that none of its families is called."""
    for name, word in only.items():
        if name not in spec.inputs:
            return f"{spec.name} has no input {name!r} for only=; it has {', '.join(spec.inputs)}"
        if not families(spec.inputs[name], word):
            has = ", ".join(spec.inputs[name].families)
            return f"{name} of {spec.name} has no family {word!r} for only=; it has {has}"
    return ""


def said_of(only: Mapping[str, str]) -> str:
    """What is noted of a target that takes only some of the input."""
    return f"asked only where {' and '.join(f'{name} is {word}' for name, word in only.items())}" if only else ""


def limited(spec: Spec, target: Target) -> Spec:
    """The spec as it is drawn for a target: one object for all that declare the same, so that cases are found again."""
    return _limited(spec, tuple(sorted(target.only.items()))) if target.only else spec


@lru_cache(maxsize=16)
def _limited(spec: Spec, only: tuple[tuple[str, str], ...]) -> Spec:
    words = dict(only)
    inputs = {name: _with_only(one, words[name]) if name in words else one for name, one in spec.inputs.items()}
    numbers = {name: _numbers(inputs[name]) for name in words}
    fitting = tuple(case for case in spec.corners if all(_among(numbers[name], case.inputs[name]) for name in words))
    return replace(spec, inputs=inputs, corners=fitting)


def _with_only(domain: Domain, word: str) -> Domain:
    kept: Mapping[str, object] = dict.fromkeys(families(domain, word))
    return replace(domain, families={name: draw for name, draw in domain.families.items() if name in kept})


def _among(numbers: Array | None, given: Array) -> bool:
    """Whether every number of a corner is one that a family gives; no where the families give any number."""
    return numbers is not None and bool(np.isin(given, numbers).all())


def _numbers(domain: Domain) -> Array | None:
    """The few numbers that the families of an input give; None where they are many, or depend on another input."""
    sample = []
    try:
        for draw in domain.families.values():
            sample.append(draw(rng_pick(np.random.default_rng(0)), ROWS, None, {"row": ROW}))
    except (AssertionError, KeyError, TypeError, ValueError):
        return None
    found = np.unique(np.concatenate([array.ravel() for array in sample]))
    return found if len(found) <= FEW else None
