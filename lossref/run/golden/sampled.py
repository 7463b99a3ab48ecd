"""What is kept of an answer at full size: the terms, the norm of each gradient, and some of its numbers. No oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossref.checks.material import draw_case
from lossref.core.nouns import Array, Case, Spec
from lossref.hosts.probe import Result, by_term
from lossref.run.golden.files.packing import digests, narrow


def drawn_again(spec: Spec, name: str, drawn: Mapping[str, Any]) -> Case:
    """The case that a seed and sizes stand for."""
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in drawn["sizes"].items()}
    case = draw_case(spec, np.random.default_rng(drawn["seed"]), sizes, {})
    return replace(case, id=name, flags=("full size",), why="drawn")


def inputs_digest(case: Case) -> str:
    """The digest that the inputs would have if they were kept."""
    return digests({f"input/{name}": narrow(array) for name, array in case.inputs.items()})["inputs"]


def picked(spec: Spec, found: Result, at: Mapping[str, Array]) -> dict[str, Array]:
    """The part of an answer that is kept: the terms, the norm of each gradient, and its numbers at these places."""
    answers = {f"value/{term}": array for term, array in zip(spec.terms, by_term(found), strict=True)}
    for name, places in at.items():
        slopes = numbers(found, name)
        answers |= {f"at/{name}": places, f"gradient/{name}": slopes[places], f"norm/{name}": norm(slopes)}
    return answers


def numbers(found: Result, name: str) -> Array:
    """A gradient in a row."""
    slopes = found.gradient[name]
    assert slopes is not None
    return np.asarray(slopes, dtype=np.float64).ravel()


def norm(slopes: Array) -> Array:
    """The root of the sum of squares of what is finite; at an eps of 0 the formula has no number for some."""
    return np.asarray(np.sqrt(np.sum(np.square(np.where(np.isfinite(slopes), slopes, 0.0)))))
