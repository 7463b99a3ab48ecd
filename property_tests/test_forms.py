"""Faults that show only in another form of the object, of its inputs or of its memory: each is seen, and said where."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import lossref
from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Target, Verdict
from lossref.hosts.probe import call_of, question_of
from lossref.hosts.worker.carry import carried_out
from lossref.hosts.worker.tensors import (
    AS_EVALUATED,
    BATCHES,
    CHANNELS_LAST,
    COLUMNS,
    DOUBLED,
    INTEGERS,
    LOADED,
    PICKLED,
    REGAINED,
    UNDENOISED,
)
from lossref.hosts.worker.tensors import TURNED as TURNED_IMAGES
from lossref.losses import spec
from lossref.targets.dropin import ENTRIES, target_of
from lossref.targets.dropin.entry import ON_HEADS

Loss = Callable[..., Any]
FOCAL, IOU = spec("focal").reference, spec("iou").reference


def _verdict(word: str, target: Target) -> Verdict:
    one = spec(target.spec)
    dtype = "float32" if "float32" in named(word).dtypes else "float64"
    return check(named(word), one, target, cases_for(named(word), one, target, "quick", 0), dtype)[0]


def _of(name: str, build: Callable[..., Any]) -> Target:
    return Target(name, build, "target", tuple(spec(name).params))


# What becomes of the object --------------------------------------------------------------------------------


class Module(torch.nn.Module):
    """A focal loss whose settings are in its state; what is saved, loaded or made double of it is right."""

    def __init__(self, gamma: float = 1.5, alpha: float = 0.25, **more: Any) -> None:
        super().__init__()
        self.register_buffer("settings", torch.tensor([gamma, alpha], dtype=torch.float64))
        self.off, self.more = 1.0, more

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        gamma, alpha = self.settings.tolist()
        return FOCAL(pred, label, gamma=gamma, alpha=alpha, **self.more) * self.off


class Unpickled(Module):
    def __deepcopy__(self, memo: dict[int, Any]) -> Unpickled:
        return self

    def __reduce__(self) -> Any:
        return Unpickled, ()


class Halved(Module):
    def double(self) -> Halved:
        self.off = 2.0
        return super().double()


class Unloaded(Module):
    def load_state_dict(self, state: Mapping[str, Any], *args: Any, **more: Any) -> Any:
        self.off = 2.0
        return super().load_state_dict(state, *args, **more)


class Within:
    """A module inside of something that is none."""

    def __init__(self, kind: type[Module], **params: Any) -> None:
        self.parts = kind(**params)

    def __call__(self, pred: Tensor, label: Tensor) -> Tensor:
        return self.parts(pred, label)


TURNED = {"pickled": (Unpickled, PICKLED), "double": (Halved, DOUBLED), "loaded": (Unloaded, LOADED)}


@pytest.mark.parametrize("within", [False, True], ids=["itself", "within another"])
@pytest.mark.parametrize(("kind", "said"), TURNED.values(), ids=list(TURNED))
def test_what_becomes_of_the_object(kind: type[Module], said: str, within: bool) -> None:
    verdict = _verdict("contexts", _of("focal", partial(Within, kind) if within else kind))
    assert verdict.status == "fail"
    assert said in verdict.note


@pytest.mark.parametrize("build", [Module, partial(Within, Module)], ids=["itself", "within another"])
def test_an_object_that_is_right(build: Callable[..., Any]) -> None:
    assert _verdict("contexts", _of("focal", build)).status == "pass"


# What it is given, and where it keeps its answer -----------------------------------------------------------


def same_tensors(**params: Any) -> Loss:
    kept: dict[tuple[int, ...], Tensor] = {}

    def loss(pred: Tensor, label: Tensor) -> Tensor:
        key = (id(pred), id(label))
        if torch.is_grad_enabled() and pred.requires_grad:
            return FOCAL(pred, label, **params)
        kept.setdefault(key, FOCAL(pred, label, **params))
        return kept[key]

    return loss


def kept_graphs(**params: Any) -> Loss:
    kept: dict[int, Tensor] = {}

    def loss(pred: Tensor, label: Tensor) -> Tensor:
        scale = kept.setdefault(id(label), label.sum())  # noqa: F841 - what is kept of labels that were seen
        return FOCAL(pred, label, **params) + (label.sum() - kept[id(label)])

    return loss


def one_buffer(usable: Callable[[], bool]) -> Callable[..., Loss]:
    def build(**params: Any) -> Loss:
        kept: list[Tensor] = []

        def loss(pred: Tensor, label: Tensor) -> Tensor:
            out = FOCAL(pred, label, **params)
            if usable():
                kept[:] = kept or [out.clone()]
                if kept[0].dtype == out.dtype:
                    return kept[0].copy_(out)
            return out

        return loss

    return build


def without_graph(**params: Any) -> Loss:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        wrong = pred.requires_grad and not torch.is_grad_enabled()
        return FOCAL(pred, label, **params) * (1.01 if wrong else 1.0)

    return loss


def one_tensor(**params: Any) -> Loss:
    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        return IOU(box1, box2, **params) * (0.5 if box1 is box2 else 1.0)

    return loss


def _plain() -> bool:
    return not torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def other_rows(**params: Any) -> Loss:
    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        found = IOU(box1, box2, **params)
        return torch.where(found.isnan(), found, 0.0) if bool(box1.isnan().any()) else found

    return loss


def float_masks(**params: Any) -> Loss:
    right = spec("keypoint").reference

    def loss(pred: Tensor, gt: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        return right(pred, gt, mask.bool(), *more, **params) * (1.01 if mask.is_floating_point() else 1.0)

    return loss


def floored_masks(**params: Any) -> Loss:
    right = spec("keypoint").reference
    return lambda pred, gt, mask, *more: right(pred, gt, mask != 0, *more, **params)


def of_kind(kind: torch.dtype, name: str) -> Callable[..., Any]:
    """One that takes its last input for something else where it has a dtype that others have not."""

    def build(**params: Any) -> Loss:
        def loss(first: Tensor, *more: Tensor) -> Tensor:
            wrong = more[-1].dtype == kind != first.dtype
            return spec(name).reference(first, *(x.to(first.dtype) for x in more), **params) * (1.5 if wrong else 1.0)

        return loss

    return build


def autocast(**params: Any) -> Loss:
    return lambda pred, label: FOCAL(pred, label, **params) * (1.5 if torch.is_autocast_enabled("cpu") else 1.0)


def two_settings(**params: Any) -> Loss:
    fast = params["gamma"] == 2.0 and params["alpha"] != 0.25
    return lambda pred, label: FOCAL(pred, label, **({**params, "alpha": 0.25} if fast else params))


def two_flags(**params: Any) -> Loss:
    weighed = params["residual"] or params["size_average"]
    return lambda *x: spec("rle").reference(*x, **params) * (1.0 if weighed else 2.0)


def no_slope(**params: Any) -> Loss:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        out = FOCAL(pred, label, **params)
        return out * 0.5 + out.detach() * 0.5 if params["gamma"] == 2.0 else out

    return loss


def least_sigma(**params: Any) -> Loss:
    right = spec("keypoint").reference
    return lambda pred, gt, mask, area, sigmas: right(pred, gt, mask, area, sigmas.clamp(min=0.1), **params)


def first_rows(**params: Any) -> Loss:
    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        found = IOU(box1, box2, **params)
        return found * (torch.arange(len(found)) < 65536).to(found.dtype).reshape(-1, *[1] * (found.ndim - 1))

    return loss


class Saved(torch.autograd.Function):
    """What its backward pass needs is kept with the class: of the latest forward pass, whosever backward pass it is."""

    latest: ClassVar[tuple[Tensor, ...]] = ()

    @staticmethod
    def forward(ctx: Any, loss: Loss, *inputs: Tensor) -> Tensor:
        Saved.latest = tuple(x.detach() for x in inputs)
        ctx.loss = loss
        return loss(*Saved.latest)

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        leaves = [x.clone().requires_grad_() for x in Saved.latest]
        with torch.enable_grad():
            found = torch.autograd.grad(ctx.loss(*leaves), leaves, above[0])
        return None, *found


class OneBuffer(torch.autograd.Function):
    """Every gradient is in one tensor."""

    kept: ClassVar[dict[Any, Tensor]] = {}

    @staticmethod
    def forward(ctx: Any, loss: Loss, pred: Tensor, label: Tensor) -> Tensor:
        ctx.loss = loss
        ctx.save_for_backward(pred, label)
        return loss(pred, label)

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        pred, label = ctx.saved_tensors
        leaf = pred.detach().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(ctx.loss(leaf, label), leaf, above[0])
        return None, OneBuffer.kept.setdefault((found.shape, found.dtype), found).copy_(found), None


def through(function: Any, name: str) -> Callable[..., Any]:
    return lambda **params: partial(function.apply, partial(spec(name).reference, **params))


def scrambled(**params: Any) -> Loss:
    """A picture whose channels lie last is read as if they did not."""
    right = partial(spec("dice").reference, **params)

    def loss(pred: Tensor, target: Tensor) -> Tensor:
        wrong = pred.ndim == 4 and not pred.is_contiguous() and pred.is_contiguous(memory_format=torch.channels_last)
        return right(pred.flip(1) * 1.01 if wrong else pred, target)

    return loss


def one_storage(**params: Any) -> Loss:
    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        same = box1.untyped_storage().data_ptr() == box2.untyped_storage().data_ptr()
        return IOU(box1, box2, **params) * (0.5 if same and box1.data_ptr() != box2.data_ptr() else 1.0)

    return loss


def rounded_boxes(kind: torch.dtype) -> Callable[..., Any]:
    def build(**params: Any) -> Loss:
        def loss(box1: Tensor, box2: Tensor) -> Tensor:
            wrong = box2.dtype == kind != box1.dtype
            return IOU(box1, box2.to(box1.dtype) * (1.01 if wrong else 1.0), **params)

        return loss

    return build


def one_expanded(**params: Any) -> Loss:
    """Targets without memory of their own are taken for constants."""

    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        shared = box2.ndim > 1 and len(box2) > 1 and box2.stride(0) == 0 and box1.stride(0) > 0
        return IOU(box1, box2.detach() if shared else box2, **params)

    return loss


def one_turned(**params: Any) -> Loss:
    """Targets are read as rows, whatever their strides, if the predictions are rows."""

    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        wrong = box2.ndim == 2 and box1.is_contiguous() and box2.stride(1) > 1
        return IOU(box1, box2 * (1.01 if wrong else 1.0), **params)

    return loss


def four_axes(**params: Any) -> Loss:
    """Of four axes two change places."""

    def loss(box1: Tensor, box2: Tensor) -> Tensor:
        found = IOU(box1, box2, **params)
        return found.transpose(0, 1).reshape(found.shape) if box1.ndim == 4 else found

    return loss


def half_slopes(kind: torch.dtype) -> Callable[..., Any]:
    """The gradient of one half precision is half of it."""

    def build(**params: Any) -> Loss:
        def loss(pred: Tensor, label: Tensor) -> Tensor:
            return FOCAL(pred * 0.5 + pred.detach() * 0.5 if pred.dtype == kind else pred, label, **params)

        return loss

    return build


GIVEN: dict[str, tuple[str, str, Callable[..., Any], str]] = {
    "an answer for tensors": ("contexts", "focal", same_tensors, "filled anew, without gradients"),
    "something of labels": ("contexts", "focal", kept_graphs, "on tensors that are filled anew"),
    "a buffer without gradients": ("repeatable", "focal", one_buffer(_plain), "changed by a later call"),
    "a buffer in inference mode": (
        "repeatable",
        "focal",
        one_buffer(torch.is_inference_mode_enabled),
        "changed by a later call",
    ),
    "gradients wanted, not kept": ("contexts", "focal", without_graph, "without gradients, of inputs that need one"),
    "one tensor for both": ("contexts", "iou", one_tensor, "where both inputs are one tensor"),
    "a NaN elsewhere": ("refuses", "iou", other_rows, "a NaN in box1 makes another number 0"),
    "masks as floats": ("contexts", "keypoint", float_masks, "on labels in float32"),
    "masks as weights": ("laws", "keypoint", floored_masks, "masks are weights"),
    "targets in 8 bits": ("contexts", "dice", of_kind(torch.uint8, "dice"), "with constants in uint8"),
    "targets as flags": ("contexts", "bce_dice", of_kind(torch.bool, "bce_dice"), "with constants in bool"),
    "labels as integers": ("contexts", "varifocal", of_kind(torch.int64, "varifocal"), "with constants in int64"),
    "targets in float64": ("contexts", "dfl", of_kind(torch.float64, "dfl"), "with constants in float64"),
    "under autocast": ("contexts", "focal", autocast, "under autocast in bfloat16"),
    "boxes in float64": ("contexts", "iou", rounded_boxes(torch.float64), "with constants in float64"),
    "boxes as integers": ("contexts", "iou", rounded_boxes(torch.int64), "with constants in int64"),
    "two views": ("contexts", "iou", one_storage, "where both inputs are views of one tensor"),
    "channels last": ("contexts", "dice", scrambled, "on inputs whose channels lie last"),
    "saved with the class": ("contexts", "iou", through(Saved, "iou"), "with another call before its backward pass"),
    "a buffer of gradients": ("repeatable", "focal", through(OneBuffer, "focal"), "d/dpred: the tensor that a call"),
    "one input expanded": ("strides", "iou", one_expanded, "no gradient reaches this input"),
    "one input transposed": ("strides", "iou", one_turned, "on transposed box2 alone"),
    "four axes": ("shape", "iou", four_axes, "four axes, none of size 1"),
    "gradients in float16": ("contexts", "focal", half_slopes(torch.float16), "d/dpred on inputs in float16"),
    "gradients in bfloat16": ("contexts", "focal", half_slopes(torch.bfloat16), "d/dpred on inputs in bfloat16"),
    "two settings": ("params", "focal", two_settings, "gamma=2.0"),
    "two flags": ("params", "rle", two_flags, "residual=False"),
    "a gradient at a setting": ("params", "focal", no_slope, "d/dpred"),
    "a small sigma": ("varied", "keypoint", least_sigma, "loss: got"),
    "more than 65,536 rows": ("varied", "iou", first_rows, ""),
}


@pytest.mark.parametrize(("word", "name", "build", "said"), GIVEN.values(), ids=list(GIVEN))
def test_what_it_is_given(word: str, name: str, build: Callable[..., Any], said: str) -> None:
    verdict = _verdict(word, _of(name, build))
    assert verdict.status == "fail"
    assert said in verdict.note


# At other settings than the default ------------------------------------------------------------------------


def _moved(params: Mapping[str, Any]) -> bool:
    return params["gamma"] != 1.5


def writes(**params: Any) -> Loss:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        out = FOCAL(pred, label, **params)
        if _moved(params):
            label.fill_(0.5)
        return out

    return loss


def seeds(**params: Any) -> Loss:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        if _moved(params):
            torch.rand(1)
        return FOCAL(pred, label, **params)

    return loss


def counts(**params: Any) -> Loss:
    calls: list[int] = []

    def loss(pred: Tensor, label: Tensor) -> Tensor:
        calls.append(1)
        return FOCAL(pred, label, **params) * (1 + 0.01 * (len(calls) > 1) * _moved(params))

    return loss


def elsewhere(**params: Any) -> Loss:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        wrong = _moved(params) and torch.get_num_threads() == 3
        return FOCAL(pred, label, **params) * (1.01 if wrong else 1.0)

    return loss


SETTINGS = {"pure": writes, "state": seeds, "repeatable": counts, "contexts": elsewhere}


@pytest.mark.parametrize("word", SETTINGS)
def test_where_settings_are_moved(word: str) -> None:
    assert _verdict(word, _of("focal", SETTINGS[word])).status == "fail"


# Predictions and batches -----------------------------------------------------------------------------------


class Columns(lossref.v8DetectionLoss):
    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        wrong = batch["cls"].ndim == 2
        return super().__call__(preds, {**batch, "cls": batch["cls"] * (0 if wrong else 1)})


class Integers(lossref.v8DetectionLoss):
    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        wrong = not batch["batch_idx"].is_floating_point()
        return super().__call__(preds, {**batch, "bboxes": batch["bboxes"] * (0.5 if wrong else 1)})


class Evaluated(lossref.v8DetectionLoss):
    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        if isinstance(preds, tuple):
            preds = {**preds[1], "scores": preds[1]["scores"] * 1.01}
        return super().__call__(preds, batch)


class AnchorsByNumber(lossref.v8DetectionLoss):
    """Keeps the shapes of its feature maps, by the number of anchors."""

    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        if isinstance(preds, dict):
            kept = KEPT.setdefault((id(self), preds["scores"].shape[-1], preds["feats"][0].dtype), preds["feats"])
            preds = {**preds, "feats": [x[:1].expand(len(preds["scores"]), *x.shape[1:]) for x in kept]}
        return super().__call__(preds, batch)


KEPT: dict[Any, list[Tensor]] = {}


class Refusing(lossref.v8DetectionLoss):
    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        if isinstance(preds, tuple) or batch["cls"].ndim == 2 or not batch["batch_idx"].is_floating_point():
            raise TypeError("a dict, and vectors of floats")
        return super().__call__(preds, batch)


class GainsAtFirst(lossref.v8DetectionLoss):
    """It keeps the gains that it was made with."""

    def __init__(self, model: Any, *args: Any, **more: Any) -> None:
        super().__init__(model, *args, **more)
        self.hyp = copy.copy(self.hyp)


class NoGains(lossref.v8DetectionLoss):
    """It offers no `hyp`, and so promises nothing of gains that change."""

    def __init__(self, model: Any, *args: Any, **more: Any) -> None:
        super().__init__(model, *args, **more)
        self.own = copy.copy(self.__dict__.pop("hyp"))

    def __call__(self, preds: Any, batch: dict[str, Tensor]) -> Any:
        self.hyp = self.own
        try:
            return super().__call__(preds, batch)
        finally:
            del self.hyp


class Undenoised(lossref.RTDETRDetectionLoss):
    """Without denoising queries boxes count half."""

    def forward(self, preds: Any, batch: Any, dn_bboxes: Any = None, dn_scores: Any = None, dn_meta: Any = None) -> Any:
        found = super().forward(preds, batch, dn_bboxes, dn_scores, dn_meta)
        return found if dn_meta else {**found, "loss_bbox": found["loss_bbox"] * 0.5}


class NotZero(lossref.RTDETRDetectionLoss):
    """Without denoising queries their terms are those of the others."""

    def forward(self, preds: Any, batch: Any, dn_bboxes: Any = None, dn_scores: Any = None, dn_meta: Any = None) -> Any:
        found = super().forward(preds, batch, dn_bboxes, dn_scores, dn_meta)
        return found if dn_meta else {name: found[name.removesuffix("_dn")] for name in found}


@pytest.mark.parametrize("kind", [Undenoised, NotZero], ids=lambda kind: kind.__name__)
def test_without_denoising_queries(kind: type) -> None:
    entry = next(entry for entry in ENTRIES if entry.spec == "rtdetr")
    verdict = _verdict("contexts", target_of(entry, kind, "own", False))
    assert verdict.status == "fail"
    assert UNDENOISED in verdict.note


ENTRY = next(entry for entry in ENTRIES if entry.spec == "v8_detection")
LOSSES = {
    COLUMNS: Columns,
    INTEGERS: Integers,
    AS_EVALUATED: Evaluated,
    TURNED_IMAGES: AnchorsByNumber,
    REGAINED: GainsAtFirst,
}


@pytest.mark.parametrize("word", LOSSES)
def test_forms_of_a_batch(word: str) -> None:
    verdict = _verdict("contexts", target_of(ENTRY, LOSSES[word], "own", False))
    assert verdict.status == "fail"
    assert word in verdict.note


@pytest.mark.parametrize("kind", [Refusing, NoGains], ids=lambda kind: kind.__name__)
def test_a_form_may_be_refused(kind: type) -> None:
    assert _verdict("contexts", target_of(ENTRY, kind, "own", False)).status == "pass"


class Classified(lossref.v8ClassificationLoss):
    def __call__(self, preds: Any, batch: Mapping[str, Tensor]) -> Any:
        return super().__call__(preds[0] if isinstance(preds, tuple) else preds, batch)


def hardened(logits: Tensor, cls: Tensor) -> Tensor:
    return spec("classification").reference(logits, cls.argmax(-1) if cls.is_floating_point() else cls)


def test_a_classifier_that_is_evaluated() -> None:
    entry = next(entry for entry in ENTRIES if entry.spec == "classification")
    verdict = _verdict("contexts", target_of(entry, Classified, "own", False))
    assert verdict.status == "fail"
    assert AS_EVALUATED in verdict.note


def test_class_probabilities() -> None:
    one, target = spec("classification"), _of("classification", partial(partial, hardened))
    verdict = check(named("laws"), one, target, cases_for(named("laws"), one, target, "quick", 0), "float64")[0]
    assert "class probabilities in place of labels" in verdict.note


@pytest.mark.parametrize("entry", [one for one in ENTRIES if one.classes_at == ON_HEADS], ids=lambda one: one.spec)
def test_drop_ins_take_every_form(entry: Any) -> None:
    """They refuse none, which a target may."""
    one, target = spec(entry.spec), target_of(entry, getattr(lossref, entry.name), "dropin", False)
    case = cases_for(named("contexts"), one, target, "quick", 0)[0]
    of_heads = [word for word in BATCHES if word != UNDENOISED]
    calls = [call_of(one, case.inputs, "float32", one.wrt, context=word) for word in ("", *of_heads)]
    plain, *others = carried_out(target.build, question_of(one, target, case, calls)).returned
    for other in others:
        assert not other.raised
        assert all(np.array_equal(*pair) for pair in zip(plain.values, other.values, strict=True))


@pytest.mark.parametrize("name", ["v8_segmentation", "mask", "dice", "bce_dice"])
def test_references_read_pictures_by_their_strides(name: str) -> None:
    """Also in the backward pass: prototypes lie with their channels last wherever a model runs in channels_last."""
    one = spec(name)
    case = cases_for(named("contexts"), one, _of(name, partial(partial, one.reference)), "quick", 0)[0]
    usual, last = (
        carried_out(partial(partial, one.reference), question_of(one, _of(name, partial), case, [call]))
        for call in (call_of(one, case.inputs, "float64", one.wrt, context=word) for word in ("", CHANNELS_LAST))
    )
    for key, want in usual.returned[0].gradients.items():
        assert np.allclose(want, last.returned[0].gradients[key], rtol=1e-9, atol=1e-12), key
