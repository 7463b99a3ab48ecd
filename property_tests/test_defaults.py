"""What stands in a signature: called without keywords, a target stands at the defaults of the specification."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Verdict
from lossref.losses import spec
from lossref.targets.declaring import declared
from lossref.targets.marks import Mark

FOCAL, CIOU, DFL, DICE = (spec(name).reference for name in ("focal", "ciou", "dfl", "dice"))
TASK = spec("task_aligned").reference


def focal(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    return FOCAL(pred, label, gamma, alpha)


def gamma_2(pred: Tensor, label: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    return FOCAL(pred, label, gamma, alpha)


def none_is_half(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float | None = None) -> Tensor:
    return FOCAL(pred, label, gamma, 0.5 if alpha is None else alpha)


def odd_gamma(pred: Tensor, label: Tensor, gamma: float | None = None, alpha: float = 0.25) -> Tensor:
    return FOCAL(pred, label, 1.37 if gamma is None else gamma, alpha)


def gamma_given(pred: Tensor, label: Tensor, gamma: float, alpha: float = 0.25) -> Tensor:
    return FOCAL(pred, label, gamma, alpha)


def all_given(pred: Tensor, label: Tensor, gamma: float, alpha: float) -> Tensor:
    return FOCAL(pred, label, gamma, alpha)


def wrong_throughout(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    return 2 * FOCAL(pred, label, gamma, alpha)


class Built:
    def __init__(self, gamma: float = 2.0, alpha: float = 0.25) -> None:
        self.params = gamma, alpha

    def __call__(self, pred: Tensor, label: Tensor) -> Tensor:
        return FOCAL(pred, label, *self.params)


def corners(box1: Tensor, box2: Tensor, xywh: bool = False, eps: float = 1e-7) -> Tensor:
    return CIOU(box1, box2, xywh=xywh, eps=eps)


def eps_1e_9(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-9) -> Tensor:
    return CIOU(box1, box2, xywh=xywh, eps=eps)


def attached(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7, alpha: str = "attached") -> Tensor:
    return CIOU(box1, box2, xywh=xywh, eps=eps, alpha=alpha)


def eight_bins(pred_dist: Tensor, target: Tensor, reg_max: int = 8) -> Tensor:
    return DFL(pred_dist, target, reg_max)


def summed(pred: Tensor, target: Tensor, smooth: float = 1e-6, reduction: str = "sum") -> Tensor:
    return DICE(pred, target, smooth, reduction)


def assigned(*inputs: Tensor, topk: int = 13, num_classes: int = 80, alpha: float = 1.0, beta: float = 6.0) -> Any:
    return TASK(*inputs, topk=topk, num_classes=num_classes, alpha=alpha, beta=beta)


SAID = "called without keywords it"
ROWS: dict[str, tuple[str, Callable[..., Any], str, str]] = {
    "as specified": ("focal", focal, "pass", ""),
    "a number": ("focal", gamma_2, "fail", f"{SAID} answers as with gamma = 2.0; the specification's default is 1.5"),
    "of a class": ("focal", Built, "fail", f"{SAID} answers as with gamma = 2.0; the specification's default is 1.5"),
    "bound": ("focal", partial(focal, alpha=0.5), "fail", "answers as with alpha = 0.5"),
    "None, by a known value": ("focal", none_is_half, "fail", "as with alpha = 0.5; the specification's default is"),
    "None, by another one": ("focal", odd_gamma, "fail", "answers as with another gamma"),
    "a notation": ("ciou", corners, "fail", "answers as with xywh = False; the specification's default is True"),
    "an eps": ("ciou", eps_1e_9, "fail", "answers as with eps = 1e-09"),
    "a gradient alone": ("ciou", attached, "fail", "answers as with alpha = 'attached'"),
    "a shape": ("dfl", eight_bins, "fail", "answers as with reg_max = 8; the specification's default is 16"),
    "a word": ("dice", summed, "fail", "answers as with reduction = 'sum'"),
    "one that has to be given": ("focal", gamma_given, "pass", ""),
    "all have to be given": ("focal", all_given, "unsupported", "it is always given gamma, alpha"),
    "wrong with every keyword": ("focal", wrong_throughout, "pass", ""),
    "what no specification states": ("task_aligned", assigned, "pass", ""),
}


def _verdict(name: str, thing: Any, **mark: Any) -> Verdict:
    one, made = spec(name), declared(thing, Mark(name, **mark), "")
    return check(named("defaults"), one, made, cases_for(named("defaults"), one, made, "quick", 0), "float64")[0]


@pytest.mark.parametrize(("name", "thing", "status", "said"), ROWS.values(), ids=list(ROWS))
def test_called_without_keywords(name: str, thing: Callable[..., Any], status: str, said: str) -> None:
    verdict = _verdict(name, thing)
    assert (verdict.status, said in verdict.note) == (status, True), verdict.note


def test_another_default_can_be_declared() -> None:
    verdict = _verdict("focal", gamma_2, known={"defaults": "as published"})
    assert verdict.status == "known"
    assert "as published" in verdict.note
