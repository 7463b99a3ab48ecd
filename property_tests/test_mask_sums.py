"""The one pass over masks that dice and bce_dice share, against the same written in plain operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.checks.material import material
from lossref.losses import spec
from lossref.losses.classification.bce import bce
from lossref.losses.masks import sums as module
from lossref.losses.masks.bce_dice import bce_dice
from lossref.losses.masks.dice import dice
from lossref.losses.masks.sums import MaskSums, mask_sums, pays

WEIGHTS = torch.tensor([0.75, -1.25, 0.5], dtype=torch.float64)


def plain(pred: Tensor, target: Tensor) -> MaskSums:
    p = pred.sigmoid()
    return MaskSums((p * target).sum((2, 3)), p.sum((2, 3)), bce(pred, target).sum())


def weighted(sums: MaskSums) -> Tensor:
    channel = torch.linspace(-1, 2, sums.both.numel(), dtype=torch.float64).reshape(sums.both.shape)
    parts = ((sums.both * channel).sum(), (sums.total * channel.flip(0)).sum(), sums.entropy)
    return torch.stack(parts) @ WEIGHTS


def example(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    pred = torch.randn(shape, generator=generator, dtype=torch.float64) * 4
    return pred, torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)], ids=str)
def test_value_and_gradient(shape: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    (pred, target), found = example(*shape), []
    for sums in (plain, lambda x, t: mask_sums(x, t, torch.float64, entropy=True)):
        leaf = pred.clone().requires_grad_()
        loss = weighted(sums(leaf, target))
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


def test_entropy_keeps_what_is_small() -> None:
    """A right and sure prediction costs e^-|x|, also beside large logits."""
    pred = torch.tensor([[[[30.0, -30.0, 25.0]]]])
    target = torch.tensor([[[[1.0, 0.0, 1.0]]]])
    want = torch.tensor([-30.0, -30.0, -25.0], dtype=torch.float64).exp().log1p().sum()
    assert mask_sums(pred, target, torch.float32, entropy=True).entropy.double() == pytest.approx(float(want), rel=1e-6)


@pytest.mark.parametrize("loss", [dice, bce_dice], ids=lambda loss: loss.__name__)
def test_both_ways_agree(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pred, target = example(2, 3, 4, 5)
    found = []
    for block in (1, 1 << 18):
        monkeypatch.setattr(module, "BLOCK", block)
        assert pays(pred, target) == (block == 1)
        leaf = pred.clone().requires_grad_()
        value = loss(leaf, target)
        value.backward()
        found.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [dice, bce_dice], ids=lambda loss: loss.__name__)
def test_differentiable_twice(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    pred, target = example(1, 2, 2, 3)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), pred.requires_grad_())


@pytest.mark.parametrize("loss", [dice, bce_dice], ids=lambda loss: loss.__name__)
def test_a_target_that_wants_a_gradient_gets_it(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    pred, target = example(1, 2, 2, 3)
    value = loss(pred, target)
    wanted = target.clone().requires_grad_()
    again = loss(pred, wanted)
    (gradient,) = torch.autograd.grad(again, wanted)
    torch.testing.assert_close(again, value, rtol=1e-12, atol=0)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["dice", "bce_dice"])
def test_both_ways_are_asked(name: str) -> None:
    cases = [case for kind in ("small", "bulk") for case in material(spec(name), kind, "quick", 0)]
    pairs = [[torch.from_numpy(case.inputs[key]) for key in ("pred", "target")] for case in cases]
    assert {pays(*pair) for pair in pairs} == {True, False}
