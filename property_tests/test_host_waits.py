"""Elementary losses on a GPU: the host never waits, nothing is copied to or from it, and the numbers are the same.

Asked without a GPU, in two ways: on a CPU in the form that a GPU takes, where forbidden operators are counted, and on
torch's device without memory ("meta"), where whatever reads a value raises.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lossref
from lossref.checks.evidence import Evidence
from lossref.checks.material import material
from lossref.checks.table import CHECKS, examine
from lossref.core.nouns import Spec, Target
from lossref.hosts.probe import call_of
from lossref.hosts.worker.tensors import given
from lossref.losses import spec as spec_named
from lossref.losses import specs
from lossref.losses.assignment.static.constants import constant
from lossref.losses.assignment.static.strategy import checked, forced
from lossref.losses.box_terms.dfl import dfl
from lossref.losses.classification.classification import classification
from lossref.losses.detr import matching
from lossref.losses.keypoints.realnvp import realnvp
from shared.host_waits import waits

sys.path.insert(0, str(Path(__file__).parents[1] / "regression" / "ratios"))
import workloads

BLOCKS = ("rotated_bbox", "realnvp")  # declared as composites, and elementary in what they do
NAMES = [name for name, spec in specs().items() if not spec.composite or name in BLOCKS]
TWO_FORMS = ("dfl", "varifocal", "bbox", "rotated_bbox", "rle_keypoints", "classification")


def run(spec: Spec, device: str) -> list[Tensor]:
    """Terms and gradients of the first small case, on a device."""
    case = material(spec, "small", "quick", 0)[0]
    inputs = given(call_of(spec, case.inputs, "float32", spec.wrt), "cpu")
    inputs = {name: x.detach().to(device).requires_grad_(name in spec.wrt) for name, x in inputs.items()}
    spec.reference(*inputs.values(), **case.params)  # tables are made once for each device
    with waits() as found:
        out = spec.reference(*inputs.values(), **case.params)
        outs = [x for x in ((out,) if len(spec.terms) == 1 else tuple(out)) if x.requires_grad]
        leaves = [inputs[name] for name in spec.wrt]
        slopes = torch.autograd.grad(sum(x.sum() for x in outs), leaves, allow_unused=True) if outs else ()
    assert not found
    return [*outs, *(x for x in slopes if x is not None)]


@pytest.mark.parametrize("name", NAMES)
def test_the_host_does_not_wait(name: str) -> None:
    with forced("static"), checked(False):
        run(spec_named(name), "cpu")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_or_copied_on_another_device(name: str) -> None:
    assert all(x.device.type == "meta" for x in run(spec_named(name), "meta"))


@pytest.mark.parametrize("name", TWO_FORMS)
def test_the_form_of_a_gpu_passes_the_same_checks(name: str) -> None:
    spec = spec_named(name)
    target = Target(spec.name, partial(partial, spec.reference), "reference", tuple(spec.params))
    checks = [check for check in CHECKS if check.name in ("value", "gradient", "reduced", "empty")]
    for check in checks:
        cases = [case for kind in check.kinds for case in material(spec, kind, "quick", 0)]
        with forced("static"):
            found = sum((examine(check, spec, target, case, "float64") for case in cases), Evidence())
        assert not found.problem, f"{check.name}: {found.problem}"


def _logits(*shape: int) -> Tensor:
    return torch.linspace(-2, 2, int(torch.tensor(shape).prod())).reshape(shape)


HALF = torch.full((2, 3, 4), 0.5)
DROPINS: dict[str, tuple[Callable[[], Any], tuple[Tensor, ...]]] = {
    "VarifocalLoss": (lossref.VarifocalLoss, (_logits(2, 3, 4), HALF, HALF.round())),
    "FocalLoss": (lossref.FocalLoss, (_logits(2, 3, 4), HALF)),
    "FocalLoss, alpha by class": (lambda: lossref.FocalLoss(alpha=[0.25, 0.5, 0.75, 1]), (_logits(2, 3, 4), HALF)),
    "DFLoss": (lossref.DFLoss, (_logits(12, 16), 7 * torch.ones(3, 4))),
    "MultiChannelDiceLoss": (lossref.MultiChannelDiceLoss, (_logits(1, 2, 3, 4), HALF[:1].round().expand(1, 2, 3, 4))),
    "BCEDiceLoss": (lossref.BCEDiceLoss, (_logits(1, 2, 3, 4), HALF[None, :, :, :])),
    "KeypointLoss": (
        lambda: lossref.KeypointLoss(torch.full((2,), 0.05)),
        (_logits(3, 2, 3), HALF.reshape(3, 2, 4)[..., :3], torch.ones(3, 2, dtype=torch.bool), torch.ones(3, 1)),
    ),
    "RLELoss": (lossref.RLELoss, (_logits(3, 2).exp(), _logits(3), _logits(3, 2), torch.ones(3))),
}


@pytest.mark.parametrize("name", DROPINS)
def test_the_host_does_not_wait_for_a_drop_in(name: str) -> None:
    build, (pred, *rest) = DROPINS[name]
    loss, leaf = build(), pred.clone().requires_grad_()
    with forced("static"), checked(False):
        loss(leaf, *rest).sum()  # tables are made once
        with waits() as found:
            loss(leaf, *rest).sum().backward()
    assert not found


MOVED = {"KeypointLoss": 4}  # its sigmas are moved, too


@pytest.mark.parametrize("name", DROPINS)
def test_targets_beside_predictions_on_another_device_are_moved_once(name: str) -> None:
    build, (pred, *rest) = DROPINS[name]
    loss, leaf = build(), pred.to("meta").requires_grad_()
    loss(leaf, *rest)  # tables are made once
    with waits() as found:
        assert loss(leaf, *rest).device.type == "meta"
    assert found == {"_to_copy to another device": MOVED.get(name, len(rest))}


WITH_MODEL = {  # how many of its targets are floating tables: each is moved once, those of a box in one
    **dict.fromkeys(("v8DetectionLoss", "v8OBBLoss"), 1),
    **dict.fromkeys(("v8PoseLoss", "PoseLoss26", "v8SegmentationLoss"), 2),
    **dict.fromkeys(("E2EDetectLoss", "E2ELoss"), 2),  # of two losses
}


@pytest.mark.parametrize("where", ["meta", "cpu"])
@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_loss_with_a_model_reads_and_copies_nothing(name: str, where: str) -> None:
    """Strides are read when it is made, and nothing later; a batch on the CPU goes to the predictions, once."""
    sizes, one = workloads.SMALL, workloads.workload(name, workloads.SMALL)
    there = one.on("meta")
    model = workloads.model(sizes, "cpu")
    model.parameters = lambda: iter([torch.zeros(1, device="meta")])
    loss = getattr(lossref, name)(model)
    work = workloads.full(there if where == "meta" else there._replace(arguments=one.arguments), loss)
    work()  # tables are made once
    with waits() as found:
        work()
    crossing = found.pop("_to_copy to another device", 0)
    assert crossing == (0 if where == "meta" else WITH_MODEL[name])
    assert where == "cpu" or not found  # what is on the CPU may be looked at there


# What is looked at on a CPU, and on a GPU where it is asked for ----------------------------------------------

NAN = torch.nan
LOOKED_AT = {
    "class outside": (lambda: classification(_logits(2, 3), torch.tensor([0, 3])), IndexError),
    "NaN distance": (lambda: dfl(_logits(4, 16), torch.tensor([[1, 2, 3, NAN]])), IndexError),
    "NaN error": (lambda: realnvp(torch.tensor([[0.0, NAN]])), ValueError),
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_value_that_is_no_value_costs_nan_unless_it_is_looked_at(name: str) -> None:
    call, error = LOOKED_AT[name]
    with forced("static"):
        with checked(False):
            assert call().isnan().all()
        with checked(), pytest.raises(error):
            call()


def test_a_table_that_was_made_in_inference_mode_serves_training() -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        constant((3.0, 4.0), torch.ones(2))
    (x * constant((3.0, 4.0), torch.ones(2))).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 4]


WAITING: dict[str, Callable[[Tensor], object]] = {
    "_local_scalar_dense": lambda x: float(x.sum()),
    "nonzero": lambda x: x.nonzero(),
    "index with a mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "repeat_interleave without output_size": lambda x: x.repeat_interleave(torch.tensor([1, 2])),
    "_to_copy to another device": lambda x: x.to("meta"),
    "a tensor made of numbers": lambda x: x + torch.tensor([1.0, 2.0]),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_seen(name: str) -> None:
    with waits() as found:
        WAITING[name](torch.tensor([1.0, -1.0]))
    assert name in found


# DETR: the matching is solved on the host, so the costs of all layers are copied there, once --------------------


@pytest.mark.parametrize(("where", "there"), [("meta", 3), ("cpu", 5)], ids=["objects there", "objects here"])
def test_rtdetr_copies_to_the_host_once(monkeypatch: pytest.MonkeyPatch, where: str, there: int) -> None:
    """Every other value that was read would raise: the device has no memory.

    There go images of the objects, what was matched, what stands for what in the denoising queries; and, where they
    are here, boxes and classes of the objects, each once.
    """
    copies = []

    def on_host(price: Tensor, cls: Tensor) -> tuple[Tensor, Tensor]:
        copies.append(tuple(price.shape))
        numbers = torch.arange(price.numel(), dtype=price.dtype).reshape(price.shape) % 7
        return numbers, torch.zeros(len(cls), dtype=torch.int64)

    monkeypatch.setattr(matching, "_on_host", on_host)
    layers, images, queries, classes, groups = 3, 2, 5, 4, [2, 1]
    leaves = [torch.zeros(layers, images, queries, c, device="meta").requires_grad_() for c in (4, classes) * 2]
    batch = {"cls": torch.zeros(3, dtype=torch.int64, device=where), "bboxes": torch.ones(3, 4, device=where)}
    known = {"dn_pos_idx": [torch.tensor([0, 1, 2, 3]), torch.tensor([0, 2])], "dn_num_group": 2}
    with waits() as found:
        loss = lossref.RTDETRDetectionLoss(nc=classes, use_vfl=True)
        total = loss((leaves[0], leaves[1]), {**batch, "gt_groups": groups}, leaves[2], leaves[3], known)
        sum(total.values()).backward()
    assert copies == [(layers, 3, queries)]
    assert found["_to_copy to another device"] == there
    assert all(x.grad is not None for x in leaves)
