"""Classification loss: cross entropy, averaged over the images.

L = mean over images of logsumexp(z_i) - z_i[cls_i]; an image of class -100 is ignored and not counted. With
class probabilities c instead of an index: mean of -sum_k c_ik log softmax(z_i)_k. Where sources differ:
times the batch size, or divided by 64. Source: spec/30-elementary.md section 10, QE7, D8, D9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs, not_negative, permutation
from lossref.core.nouns import Array, Domain, Spec
from lossref.core.picking import Pick
from lossref.core.precision import beside, compute_dtype, require_floating
from lossref.losses.assignment.static.strategy import looked_at

IGNORED = -100


def classification(logits: Tensor, cls: Tensor) -> Tensor:
    """Cross entropy of logits (b, c) with classes (b,) int64, or with probabilities (b, c); 0-d.

    Returned in the dtype of the logits; half precision is computed in float32. No image, or every image
    ignored (class -100): NaN. Raises IndexError for a class outside 0..c-1 (on a GPU that costs NaN, see
    `lossref.checked`), RuntimeError for labels of another shape or dtype.
    """
    require_floating(logits=logits)
    compute, _ = compute_dtype(logits, cls)
    cls = beside(cls, logits)
    log_p = logits.to(compute).log_softmax(-1)
    if cls.shape == logits.shape and cls.is_floating_point():
        return -(cls.to(compute) * log_p).sum(-1).mean().to(logits.dtype)
    outside = _outside(cls, logits)
    if looked_at(cls):
        if bool(outside.any()):
            raise IndexError(f"cls: expected classes 0 to {logits.shape[-1] - 1}, got {int(cls[outside][0])}")
        return nll_loss(log_p, cls, ignore_index=IGNORED).to(logits.dtype)
    known = nll_loss(log_p, cls.masked_fill(outside, IGNORED), ignore_index=IGNORED)
    return known.masked_fill(outside.any(), torch.nan).to(logits.dtype)


def _outside(cls: Tensor, logits: Tensor) -> Tensor:
    """Which labels (b,) are no class."""
    if cls.dtype != torch.int64 or cls.shape != logits.shape[:1]:
        raise RuntimeError(
            f"cls: expected int64 of shape {tuple(logits.shape[:1])}, got {cls.dtype} {tuple(cls.shape)}"
        )
    return (cls.clamp(0, logits.shape[-1] - 1) != cls) & (cls != IGNORED)


def oracle(m: Arithmetic, logits: Any, cls: Any) -> Any:
    """The loss in scalars."""
    costs = [
        m.logsumexp([other - row[label] for other in row])
        for row, label in zip(logits, cls, strict=True)
        if label != IGNORED
    ]
    return m.sum(costs) / len(costs)


def shifted_logits(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding a constant to all logits changes nothing."""
    return differs(f({**x, "logits": x["logits"] + 3}), f(x), 4 * tol, "adding 3 to the logits")


def classes_in_any_order(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the classes, in logits and labels, changes nothing."""
    last = x["logits"].shape[1] - 1
    turned = {"logits": x["logits"][:, ::-1].copy(), "cls": np.where(x["cls"] == IGNORED, IGNORED, last - x["cls"])}
    return differs(f(turned), f(x), 2 * tol, "reversing the classes")


def twice_the_batch(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Every image twice: the same mean."""
    twice = {name: np.concatenate([array] * 2) for name, array in x.items()}
    return differs(f(twice), f(x), 2 * tol, "repeating the batch")


def ignored_images_do_not_count(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding an image of class -100 changes nothing."""
    more = {"logits": np.concatenate([x["logits"], x["logits"][:1] + 1]), "cls": np.append(x["cls"], IGNORED)}
    return differs(f(more), f(x), 2 * tol, "adding an ignored image")


def probabilities_as_labels(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Probabilities of a quarter and three quarters for two classes cost a quarter and three quarters of each."""
    if (x["cls"] == IGNORED).any():
        return None
    classes = x["logits"].shape[1]
    one, other = x["cls"].astype(int), (x["cls"].astype(int) + 1) % classes
    mixed = f({**x, "cls": 0.25 * np.eye(classes)[one] + 0.75 * np.eye(classes)[other]}, cls="float64")
    if mixed is None:
        return None
    apart = 0.25 * f(x) + 0.75 * f({**x, "cls": other.astype(np.float64)})
    return differs(mixed, apart, 4 * tol, "class probabilities in place of labels")


def labels_of(cls: Tensor) -> Tensor:
    return torch.where(cls == IGNORED, 0, cls)


def cost_of(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1)[torch.arange(len(labels)), labels]


def sum_of_counted(cost: Tensor, cls: Tensor) -> Tensor:
    return torch.where(cls == IGNORED, 0, cost).sum()


def times_the_batch(logits: Tensor, cls: Tensor) -> Tensor:
    return sum_of_counted(cost_of(logits, labels_of(cls)), cls) / (cls != IGNORED).sum() * len(cls)


def divided_by_64(logits: Tensor, cls: Tensor) -> Tensor:
    return sum_of_counted(cost_of(logits, labels_of(cls)), cls) / 64


def ignored_counted(logits: Tensor, cls: Tensor) -> Tensor:
    return sum_of_counted(cost_of(logits, labels_of(cls)), cls) / len(cls)


def ignored_as_class_0(logits: Tensor, cls: Tensor) -> Tensor:
    return cost_of(logits, labels_of(cls)).mean()


def softmax_twice(logits: Tensor, cls: Tensor) -> Tensor:
    return sum_of_counted(cost_of(logits.softmax(-1), labels_of(cls)), cls) / (cls != IGNORED).sum()


def background_first(logits: Tensor, cls: Tensor) -> Tensor:
    shifted = (labels_of(cls) + 1) % logits.shape[1]
    return sum_of_counted(cost_of(logits, shifted), cls) / (cls != IGNORED).sum()


class v8ClassificationLoss:
    """Drop-in for the class of that name. See `classification`."""

    def __call__(self, preds: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(loss, detached loss), without the factor of the batch size; `preds` logits or (anything, logits)."""
        logits = preds[1] if isinstance(preds, (list, tuple)) else preds
        loss = classification(logits, batch["cls"])
        return loss, loss.detach()


def _any_class(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return pick(0, dims["c"] - 1, rows * dims["row"]).reshape(rows, dims["row"])


def _last_class(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return np.full((rows, dims["row"]), dims["c"] - 1)


def _some_ignored(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """All but the first may be ignored."""
    labels = _any_class(pick, rows, given, dims)
    skipped = pick(0, 1, labels.size).reshape(labels.shape)
    skipped[:, :1] = 0
    return np.where(skipped, IGNORED, labels)


def _integers(x: Array, params: Mapping[str, Any]) -> str | None:
    whole = ((x == np.floor(x)) & ((x >= 0) | (x == IGNORED))).all()
    return None if whole else "expected whole numbers from 0, or -100"


_Z = [(1, -0.5, 0.25), (0, 2, -1)]

SPEC = Spec(
    name="classification",
    summary="Cross entropy of an image classifier",
    cite="spec/30-elementary.md section 10",
    inputs={
        "logits": Domain("b c", "logits", LOGIT_FAMILIES),
        "cls": Domain(
            "b",
            "class of each image, or -100: ignored",
            {"any": _any_class, "last": _last_class, "some ignored": _some_ignored},
            dtype="int64",
            unit=None,
            legal=_integers,
        ),
    },
    wrt=("logits",),
    params={},
    terms=("loss",),
    reference=classification,
    oracle=oracle,
    sizes={
        "single": ({"b": 1, "c": 3},),
        "small": ({"b": 4, "c": 3}, {"b": 3, "c": 5}),
        "bulk": ({"b": 256, "c": 1000},),
        "empty": ({"b": 0, "c": 3},),
    },
    laws=(
        not_negative,
        shifted_logits,
        classes_in_any_order,
        twice_the_batch,
        ignored_images_do_not_count,
        probabilities_as_labels,
        permutation(0, "logits", "cls"),
    ),
    corners=(
        corner("two images", "the worked example", logits=_Z, cls=(2, 1)),
        corner("one ignored", "class -100 is not counted", logits=_Z, cls=(-100, 1)),
        corner("uniform", "ln c", logits=[(0, 0, 0, 0)], cls=(3,)),
        corner("one class", "always 0", logits=[(7,), (-2,)], cls=(0, 0)),
        corner("sure and wrong", "the loss is the margin", logits=[(1e4, 0, -1e4)], cls=(2,)),
        corner("sure and right", "0", logits=[(1e4, 0, -1e4)], cls=(0,)),
        corner("equal logits", "two classes share the maximum", logits=[(88, 88, -88)], cls=(1,)),
    ),
    impostors=(
        impostor("times the batch", "multiplied by the number of images", "value", times_the_batch),
        impostor("divided by 64", "a constant in place of the batch size", "value", divided_by_64),
        impostor("ignored counted", "an ignored image stays in the divisor", "value", ignored_counted),
        impostor("ignored as class 0", "-100 read as class 0", "value", ignored_as_class_0),
        impostor("softmax twice", "probabilities taken for logits", "value", softmax_twice),
        impostor("background first", "labels shifted by one", "value", background_first),
    ),
    api="v8ClassificationLoss()(logits, {'cls': cls})",
    returns="0-d",
)
