"""What a composite decided, read from its gradients: which anchors are positive, with which targets, over which norm.

The gradient of a binary cross entropy is K (sigmoid(x) - t): where nothing is positive it tells K, and where something
is it tells the target t. So a decision can be told from the arithmetic that follows it, of the target and of the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lossref.checks.attempts import Attempt
from lossref.core.axes import name_of
from lossref.core.nouns import Array, Spec
from lossref.run.causes.explain.quantity import Shown
from lossref.run.causes.explain.whole.factors import named, same
from lossref.run.causes.explain.whole.sizes import positives

LOGITS = ["b", "c", "A"]
NEAR = 1e-6


class Scored(NamedTuple):
    """The targets of the classes (b, c, A), and K."""

    targets: Array
    over: float


class Decided(NamedTuple):
    """Of one branch on one case: what is positive, and how the classes are scored if that can be read."""

    what: str
    positive: Array
    scored: Scored | None


def decisions(spec: Spec, wrong: Sequence[Shown]) -> Iterator[str]:
    """What is decided otherwise than in truth on cases that fail, and what is decided alike, branch by branch."""
    if not spec.composite:
        return
    for boxes in (name for name in spec.wrt if "box" in name):
        scores = boxes.replace("boxes", "scores")
        pairs = [(_read(spec, one, one.got, boxes, scores), _read(spec, one, one.want, boxes, scores)) for one in wrong]
        read = [(mine, truth) for mine, truth in pairs if mine is not None and truth is not None]
        if len(read) == len(wrong):
            yield from _compared(boxes, read)


def _compared(boxes: str, read: Sequence[tuple[Decided, Decided]]) -> Iterator[str]:
    what, of = read[0][0].what, f" of {boxes}" if boxes.startswith("one_") else ""
    other = [(mine, truth) for mine, truth in read if not np.array_equal(mine.positive, truth.positive)]
    if other:
        mine, truth = other[0]
        counts = f"{int(mine.positive.sum())} where {int(truth.positive.sum())} are right"
        yield f"the assignment{of} differs: other {what} have a gradient ({counts}, in {len(other)} of {len(read)})"
        return
    if not any(mine.positive.any() for mine, _ in read):
        return
    yield f"the right {what}{of} are assigned"
    scored = [(mine.scored, truth.scored) for mine, truth in read if mine.scored and truth.scored]
    if scored:
        yield from _of_targets(of, scored)


def _of_targets(of: str, read: Sequence[tuple[Scored, Scored]]) -> Iterator[str]:
    pairs = [(mine.targets, truth.targets) for mine, truth in read]
    moved = [(mine, truth) for mine, truth in pairs if not np.allclose(mine, truth, rtol=NEAR, atol=NEAR)]
    if not moved:
        yield f"with the right target scores{of}"
    else:
        got = np.concatenate([mine[truth > NEAR] for mine, truth in moved])
        want = np.concatenate([truth[truth > NEAR] for _, truth in moved])
        factor = float(np.median(got / want)) if got.size else 0.0
        if np.allclose(got, 1, atol=NEAR):
            yield f"with target scores{of} of 1"
        elif factor > 0 and same((got / want).tolist(), factor):
            yield f"with target scores{of} that are {named(factor)} times the right ones"
        else:
            yield f"with other target scores{of}"
    ratios = [mine.over / truth.over for mine, truth in read]
    if not same(ratios, 1.0):
        steady = same(ratios, float(np.median(ratios)))
        by = named(abs(float(np.median(ratios)))) if steady else f"{min(ratios):.3g} to {max(ratios):.3g}"
        yield f"the class term{of} is over all taken {by} times"


def _read(spec: Spec, one: Shown, attempt: Attempt | None, boxes: str, scores: str) -> Decided | None:
    gradients = dict(zip(spec.wrt, attempt.gradients if attempt else (), strict=False))
    if boxes not in gradients or not np.isfinite(gradients[boxes]).all():
        return None
    found = positives(spec.inputs[boxes].axes, gradients[boxes])
    if found is None:
        return None
    what, positive = found
    axes = [name_of(axis) for axis in spec.inputs[scores].axes.split()] if scores in gradients else []
    if axes != LOGITS or gradients[scores].shape[2] != positive.shape[-1]:
        return Decided(what, positive, None)
    return Decided(what, positive, _scored(positive, one.case.inputs[scores], gradients[scores]))


def _scored(positive: Array, logits: Array, gradient: Array) -> Scored | None:
    """The targets and K, if K is the same wherever nothing is positive."""
    sure = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    quiet = ~np.broadcast_to(positive[:, None, :], logits.shape) & (sure > NEAR)
    if not quiet.any():
        return None
    with np.errstate(all="ignore"):
        over = gradient[quiet] / sure[quiet]
    steady = float(np.median(over))
    if not steady or not np.isfinite(over).all() or not np.allclose(over, steady, rtol=NEAR, atol=0):
        return None
    return Scored(sure - gradient / steady, steady)
