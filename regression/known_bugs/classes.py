"""Public bugs of class losses: spec/30-elementary.md sections 1, 2 and 10 with one step as the thread describes it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from known_bugs.bug import Bug, require

FOCAL = ("gamma", "alpha")
IGNORED = -100


def missed(x: Tensor, y: Tensor) -> Tensor:
    """1 - p_t."""
    return y * (-x).sigmoid() + (1 - y) * x.sigmoid()


def elements(x: Tensor, y: Tensor) -> Tensor:
    return bce(x, y, reduction="none")


def focal(
    pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25, *, one: float = 1, zero: float = -1
) -> Tensor:
    """Positives weigh alpha, negatives 1 - alpha; `one` and `zero` are the signs of alpha in them, 0 without a 1."""
    cost = elements(pred, label) * missed(pred, label) ** gamma
    positive, negative = (alpha if sign > 0 else 1 - alpha for sign in (one, zero))
    weight = label * positive + (1 - label) * negative if alpha > 0 else torch.ones_like(label)
    return (cost * weight).mean(1).sum()


def alpha_for_gamma(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    """The two are handed on by position, in the wrong order."""
    return focal(pred, label, alpha, gamma)


def times_gamma(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    weight = label * alpha + (1 - label) * (1 - alpha) if alpha > 0 else torch.ones_like(label)
    return (elements(pred, label) * missed(pred, label) * gamma * weight).mean(1).sum()


def value_without_gamma(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    """The gradient is that of the focal loss, the number that of cross entropy."""
    right, plain = focal(pred, label, gamma, alpha), focal(pred, label, 0.0, alpha)
    return plain.detach() + (right - right.detach())


def probabilities_for_logits(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    return focal(pred.sigmoid(), label, gamma, alpha)


def varifocal(
    pred_score: Tensor,
    gt_score: Tensor,
    label: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.75,
    *,
    first: str = "weight",
) -> Tensor:
    """What comes first, the weight of each element or the mean of the cross entropies."""
    weight = alpha * pred_score.sigmoid() ** gamma * (1 - label) + gt_score * label
    cost = elements(pred_score, gt_score)
    return (weight * (cost.mean(1, keepdim=True) if first == "mean" else cost)).mean(1).sum()


def classification(logits: Tensor, cls: Tensor, *, softmax: bool = False, counted: str = "labelled") -> Tensor:
    """`softmax` before the cross entropy, which takes one itself; `counted` in the divisor: "labelled" or "all"."""
    require(cls, len(logits))
    log_p = (logits.softmax(-1) if softmax else logits).log_softmax(-1)
    kept = cls != IGNORED
    cost = -log_p.gather(1, torch.where(kept, cls, 0)[:, None])[:, 0]
    return (cost * kept).sum() / (kept.sum() if counted == "labelled" else len(cls))


BUGS = (
    Bug(
        "alpha on both sides",
        "qubvel/segmentation_models#187",
        "issues",
        "focal",
        "positives and negatives are both weighed by alpha, so that it balances nothing",
        partial(focal, zero=1),
        focal,
        FOCAL,
        says="alpha on both sides",
    ),
    Bug(
        "alpha and gamma exchanged",
        "qubvel/segmentation_models#258",
        "issues",
        "focal",
        "a wrapper hands alpha and gamma on by position, in the wrong order",
        alpha_for_gamma,
        focal,
        FOCAL,
    ),
    Bug(
        "alpha on the negatives",
        "clcarwin/focal_loss_pytorch#10",
        "issues",
        "focal",
        "alpha weighs the negatives and 1 - alpha the positives",
        partial(focal, one=-1, zero=1),
        focal,
        FOCAL,
        says="alpha swapped",
    ),
    Bug(
        "times gamma",
        "fudannlp16/focal-loss#6",
        "issues",
        "focal",
        "the focus is multiplied by gamma where it should be raised to it",
        times_gamma,
        focal,
        FOCAL,
        says="times gamma",
    ),
    Bug(
        "value without gamma",
        "davisking/dlib#2552",
        "pull",
        "focal",
        "the gradient is right, and the loss that is shown is plain cross entropy",
        value_without_gamma,
        focal,
        FOCAL,
        says="gamma)` (classification/focal.py",
    ),
    Bug(
        "sigmoid twice",
        "itakurah/focal-loss-pytorch#5",
        "pull",
        "focal",
        "probabilities go into a cross entropy that takes logits",
        probabilities_for_logits,
        focal,
        FOCAL,
        says="put through a sigmoid",
    ),
    Bug(
        "mean before the weight",
        "hyz-xmaster/VarifocalNet#18",
        "issues",
        "varifocal",
        "the cross entropies are averaged first, and the mean is weighed by every element",
        partial(varifocal, first="mean"),
        varifocal,
        FOCAL,
        says="mean before the weight",
    ),
    Bug(
        "softmax twice",
        "Lightning-Universe/lightning-bolts#654",
        "issues",
        "classification",
        "probabilities go into a cross entropy that takes logits",
        partial(classification, softmax=True),
        classification,
        says="softmax twice",
    ),
    Bug(
        "ignored in the mean",
        "open-mmlab/mmsegmentation#886",
        "issues",
        "classification",
        "ignored labels cost nothing, but are counted in the mean",
        partial(classification, counted="all"),
        classification,
        says="ignored counted",
    ),
)
