"""A loss of several terms: one that is another one, their sum, or has no gradient, or one of the wrong size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from lossref.checks.attempts import Attempts
from lossref.core.nouns import Array, Params, Spec, Target
from lossref.run.causes.explain.quantity import Quantity, Told, cut, reproduces
from lossref.run.causes.explain.variants.mistakes import Variant, given_back
from lossref.run.causes.explain.whole.factors import LARGEST, in_words, rounded

MOST_TERMS = 8
NEAR = 1e-9


def of_values(what: Quantity, told: Sequence[Told]) -> Iterator[str]:
    """A term that is another term, or a sum of some: ends of sentences."""
    spec = what.spec
    if not what.term or len(spec.terms) == 1 or any(one.got.size != 1 for one in told):
        return
    for count in range(1, min(len(spec.terms), MOST_TERMS) + 1):
        for chosen in itertools.combinations(spec.terms, count):
            if chosen != (what.term,) and reproduces(partial(_summed, spec, chosen), told):
                yield f"is that of {chosen[0]}" if count == 1 else f"is the sum {' + '.join(chosen)}"


def in_another_order(spec: Spec, told: Sequence[Told], settings: Params) -> Iterator[Variant]:
    """The reference that returns its terms in the order in which the target does, if that is another one."""
    pairs = [(one.shown.got, one.shown.want) for one in told]
    if len(spec.terms) < 2 or any(got is None or want is None for got, want in pairs):
        return
    cases = [(cut(got, got.value), cut(want, want.value)) for got, want in pairs if got and want]
    if any(len(part) != len(spec.terms) for both in cases for part in both):
        return
    order = list[int]()
    for place in range(len(spec.terms)):
        like = (at for at in (place, *range(len(spec.terms))) if at not in order and _is_that(cases, place, at))
        order.append(next(like, -1))
    if -1 not in order and order != sorted(order):
        words = ", ".join(spec.terms[at] for at in order)
        yield Variant(f"agrees when the terms come in the order {words}", ordered(spec, tuple(order)), settings)


def _is_that(cases: Sequence[tuple[list[Array], list[Array]]], place: int, at: int) -> bool:
    """Whether a term of the target is one of the truth on every case."""
    pairs = [(got[place], want[at]) for got, want in cases]
    return all(a.size == b.size and np.allclose(a.ravel(), b.ravel(), rtol=NEAR, atol=NEAR) for a, b in pairs)


@lru_cache(maxsize=64)
def ordered(spec: Spec, order: tuple[int, ...]) -> Target:
    """The reference with its terms in another order."""
    return given_back(spec, "another order", lambda terms: tuple(terms[at] for at in order))


def _summed(spec: Spec, chosen: Sequence[str], one: Told) -> Array | None:
    want = one.shown.want
    parts = dict(zip(spec.terms, cut(want, want.value), strict=True)) if want else {}
    chosen_parts = [parts[name] for name in chosen if name in parts]
    fit = len(chosen_parts) == len(chosen) and all(part.size == 1 for part in chosen_parts)
    return np.sum([part.ravel() for part in chosen_parts], axis=0) if fit else None


def of_gradients(what: Quantity, told: Sequence[Told], known: Attempts, settings: Params) -> Iterator[str]:
    """A gradient as a sum of those of the terms, each with a factor: ends of sentences."""
    spec = what.spec
    if not what.wrt or not 1 < len(spec.terms) <= MOST_TERMS:
        return
    alone = [_alone(what, one, known, settings) for one in told]
    parts = [one for one in alone if one is not None]
    if len(parts) < len(told):
        return
    rows, got = np.concatenate(parts, axis=1), np.concatenate([one.got.ravel() for one in told])
    counts = [place for place in range(len(spec.terms)) if np.any(rows[place])]
    if not np.isfinite(rows).all() or not np.isfinite(got).all() or not counts:
        return
    factors = np.linalg.lstsq(rows[counts].T, got, rcond=None)[0]
    simple = [rounded(factor) for factor in factors]
    off = [(spec.terms[place], factor) for place, factor in zip(counts, simple, strict=True) if factor != 1]
    mixed = {id(one): np.tensordot(simple, part[counts], 1) for one, part in zip(told, parts, strict=True)}
    if off and max(map(abs, simple)) <= LARGEST and reproduces(lambda one: mixed[id(one)], told):
        yield " and ".join(_of_term(term, factor) for term, factor in off)


def _of_term(term: str, factor: float) -> str:
    return f"of {term} is missing" if factor == 0 else f"of {term} {in_words(factor)}"


def _alone(what: Quantity, one: Told, known: Attempts, settings: Params) -> Array | None:
    found = [known.of(only(what.spec, place), one.shown.case, settings) for place in range(len(what.spec.terms))]
    if any(attempt is None for attempt in found):
        return None
    gradients = [what.of(attempt) if attempt else None for attempt in found]
    return np.stack([np.zeros(one.want.size) if gradient is None else gradient.ravel() for gradient in gradients])


@lru_cache(maxsize=64)
def only(spec: Spec, place: int) -> Target:
    """The reference with the gradient of one of its terms alone."""

    def alone(terms: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(term if at == place else term.detach() for at, term in enumerate(terms))

    return given_back(spec, f"reference, term {place}", alone)
