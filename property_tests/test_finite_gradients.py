"""A finite loss has finite gradients, also where a power, a root or a division meets 0 (spec/05-decisions.md, D15)."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import lossref
from lossref.losses import spec

DTYPES = [torch.float64, torch.float32]
SATURATED = (-2000.0, -150.0, -104.0, -90.0, 0.0, 90.0, 104.0, 150.0, 2000.0)


def gradients(cost: Tensor, *leaves: Tensor) -> list[Tensor]:
    """The gradients of the sum of what is finite."""
    assert cost.isfinite().any()
    return list(torch.autograd.grad(cost[cost.isfinite()].sum(), leaves))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.99, 1.0, 1.5])
@pytest.mark.parametrize("name", ["focal", "varifocal", *(f"focal, {how}" for how in ("two sides", "exp(-bce)"))])
def test_focus_at_saturated_logits(name: str, gamma: float, dtype: torch.dtype) -> None:
    x, y = (torch.tensor(c, dtype=dtype) for c in zip(*itertools.product(SATURATED, (0.0, 0.25, 1.0)), strict=True))
    x = x.reshape(-1, 1, 1).requires_grad_()
    kind, _, how = name.partition(", ")
    if kind == "focal":
        cost = lambda x, y: spec("focal").reference(x, y, gamma, 0.25, how or "interpolated")  # noqa: E731
    else:
        cost = lambda x, y: spec("varifocal").reference(x, y, (y > 0).to(dtype), gamma, 0.75)  # noqa: E731
    each = torch.stack([cost(a[None], b.reshape(1, 1, 1)) for a, b in zip(x, y, strict=True)])
    assert each.isfinite().all()
    assert gradients(each, x)[0].isfinite().all()


def test_the_slope_of_the_focus_is_its_limit() -> None:
    """Where float32 has no p any more, the slope is that of float64 to all digits that count: 0."""
    slopes = []
    for dtype in DTYPES:
        x = torch.tensor([[[-110.0]]], dtype=dtype, requires_grad=True)
        slopes.append(gradients(lossref.FocalLoss(0.5)(x, torch.zeros_like(x)), x)[0].item())
    assert slopes[1] == 0
    assert 0 <= slopes[0] < 1e-45


SIDES = (0.0, 1e-30, 1e-6, 2.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("turn", [0.0, 0.3])
@pytest.mark.parametrize("params", [{}, {"cov_floor": 0.01}, {"CIoU": False, "eps": 1e-3}], ids=str)
def test_rotated_boxes_without_area(params: dict[str, float], turn: float, dtype: torch.dtype) -> None:
    rows = [
        (5, 5, w, h, turn, 5 + d, 5, W, H, 2 * turn)
        for w, h, W, H in itertools.product(SIDES, repeat=4)
        for d in (0, 0.5)
    ]
    one, two = (part.clone().requires_grad_() for part in torch.tensor(rows, dtype=dtype).split(5, 1))
    cost = spec("probiou").reference(one, two, **params)
    for found in gradients(cost, one, two):
        assert found[cost[:, 0].isfinite()].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("given", [0.0, 1e-20], ids=["sides of 0", "sides that vanish when squared"])
def test_a_head_that_predicts_no_extent(given: float, dtype: torch.dtype) -> None:
    """The whole loss of rotated boxes with one bin, whose distances are all 0."""
    head = SimpleNamespace(stride=torch.tensor([8.0, 16.0]), nc=2, reg_max=1)
    args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, angle=1.0)
    model = SimpleNamespace(args=args, model=[head], parameters=lambda: iter([torch.zeros(1)]))
    boxes = torch.full((1, 4, 80), given, dtype=dtype, requires_grad=True)
    preds: dict[str, Any] = {
        "boxes": boxes,
        "scores": torch.zeros(1, 2, 80, dtype=dtype),
        "angle": torch.zeros(1, 1, 80, dtype=dtype, requires_grad=True),
        "feats": [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)],
    }
    batch = {
        "batch_idx": torch.zeros(1),
        "cls": torch.zeros(1, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.25]]),
    }
    loss, items = lossref.v8OBBLoss(model)(preds, batch)
    assert items[0] > 0, "there are positives"
    assert loss.isfinite().all()
    for found in gradients(loss, boxes, preds["angle"]):
        assert found.isfinite().all()
