"""Faults that show only under other numbers from above, or elsewhere in a program: each is seen, by its own check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lossref.checks.behaviour.upstream import SCALES
from lossref.checks.material import material
from lossref.checks.table import cases_for, check, named
from lossref.core.nouns import Target
from lossref.hosts.probe import call_of, question_of
from lossref.hosts.worker.carry import carried_out
from lossref.hosts.worker.state import AUTOCAST
from lossref.losses import spec
from lossref.targets.resolve import resolve

Turned = Callable[[Tensor], Tensor]
SPECS = ("focal", "iou")  # one number, and one for each row
REFERENCES = {name: spec(name).reference for name in SPECS}


class Backward(torch.autograd.Function):
    """A loss whose backward pass turns what comes from above into something else."""

    @staticmethod
    def forward(ctx: Any, turned: Turned, made: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.turned, ctx.made = turned, made
        return made(*inputs)

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        leaves = [x.detach().requires_grad_(needed) for x, needed in zip(ctx.saved_tensors, _needed(ctx), strict=True)]
        with torch.enable_grad():
            out = ctx.made(*leaves)
        asked = [x for x in leaves if x.requires_grad]
        found = iter(torch.autograd.grad(out, asked, ctx.turned(above[0])))
        return (None, None, *(next(found) if x.requires_grad else None for x in leaves))


def _needed(ctx: Any) -> tuple[bool, ...]:
    return tuple(ctx.needs_input_grad[2:])


class Once(Backward):
    """One whose second backward pass does not know any more what the first one knew."""

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        again, ctx.been = getattr(ctx, "been", False), True
        found = Backward.backward(ctx, *above)
        return tuple(g if g is None or not again else g * 0 for g in found)


def through(turned: Turned, function: Any = Backward) -> Callable[..., Any]:
    def build(name: str, **params: Any) -> Callable[..., Tensor]:
        def made(*inputs: Tensor) -> Tensor:
            return REFERENCES[name](*inputs, **params)

        return lambda *inputs: function.apply(turned, made, *inputs)

    return build


def _as_contiguous(above: Tensor) -> Tensor:
    """What lies in memory at the address, as a kernel reads it that takes no strides."""
    if above.ndim == 0 or above.stride(0) == 1:
        return above
    return torch.arange(above.numel(), dtype=above.dtype).reshape(above.shape)


SMALL, LARGE = (f"of {scale:g} times" for scale in SCALES[:2])
UPSTREAM: dict[str, tuple[Turned, str]] = {
    "clamped to 2": (lambda g: g.clamp(-2, 2), LARGE),
    "small ones are 0": (lambda g: torch.where(g.abs() > 0.3, g, 0.0), SMALL),
    "never 0": (lambda g: torch.where(g == 0, 1.0, g), "of 0 times"),
    "the smallest are 0": (lambda g: torch.where(g.abs() > 1e-4, g, 0.0), SMALL),
    "in bfloat16": (lambda g: g.bfloat16().to(g.dtype), SMALL),
    "as whole quarters": (lambda g: (g * 4).round() / 4, SMALL),
}
SINGLE: dict[str, tuple[Turned, str]] = {
    "the sign is lost": (torch.abs, SMALL),
    "squared": (lambda g: g * g.abs() / 1.75, SMALL),
}
ROWS: dict[str, tuple[Turned, str]] = {
    "read without strides": (_as_contiguous, "without memory of its own"),
    "divided by its largest": (lambda g: g / g.abs().max() * 1.75, SMALL),
}


TURNED = {
    f"{name}: {word}": (name, *row)
    for name, own in zip(SPECS, (SINGLE, ROWS), strict=True)
    for word, row in {**UPSTREAM, **own}.items()
}


@pytest.mark.parametrize(("name", "turned", "said"), TURNED.values(), ids=list(TURNED))
def test_other_numbers_from_above(name: str, turned: Turned, said: str) -> None:
    verdict = _verdict("upstream", name, lambda **params: through(turned)(name, **params))
    assert verdict.status == "fail"
    assert said in verdict.note


def test_one_input_alone() -> None:
    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(box1: Tensor, box2: Tensor) -> Tensor:
            both = box1.requires_grad and box2.requires_grad
            alone = not both and (box1.requires_grad or box2.requires_grad)
            return REFERENCES["iou"](box1, box2, **params) * (1.01 if alone else 1.0)

        return loss

    verdict = _verdict("upstream", "iou", build)
    assert verdict.status == "fail"
    assert "where no other input needs a gradient" in verdict.note


@pytest.mark.parametrize("name", ["pose26", "v8_pose"])
def test_another_convention_is_linear_too(name: str) -> None:
    """Its gradients are others than the truth, and so is what rounding leaves of them."""
    one = spec(name)

    def build(**params: Any) -> Callable[..., Any]:
        return lambda *inputs: one.reference(*inputs, **{**params, "small_boxes": "raised"})

    accepts = tuple(word for word in one.params if word != "small_boxes")
    target = Target(name, build, "raised", accepts)
    cases = cases_for(named("upstream"), one, target, "quick", 0)
    assert check(named("upstream"), one, target, cases, "float32")[0].status == "pass"


# Where a call stands ----------------------------------------------------------------------------------

Where = Callable[[tuple[Tensor, ...]], bool]
CONTEXTS: dict[str, tuple[Where, str]] = {
    "no_grad": (lambda x: not torch.is_grad_enabled() and not torch.is_inference_mode_enabled(), "without gradients"),
    "inference mode": (lambda x: torch.is_inference_mode_enabled(), "in inference mode"),
    "default dtype": (lambda x: torch.get_default_dtype() == torch.float64, "under a default dtype of float64"),
    "threads": (lambda x: torch.get_num_threads() == 3, "on three threads"),
    "deterministic": (lambda x: torch.are_deterministic_algorithms_enabled(), "in deterministic mode"),
    "no leaf": (lambda x: any(not one.is_leaf for one in x), "on inputs that are no leaves"),
    "Parameter": (lambda x: any(isinstance(one, torch.nn.Parameter) for one in x), "on inputs that are Parameters"),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("word", CONTEXTS)
def test_another_place(name: str, word: str) -> None:
    where, said = CONTEXTS[word]

    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(*inputs: Tensor) -> Tensor:
            return REFERENCES[name](*inputs, **params) * (1.01 if where(inputs) else 1.0)

        return loss

    verdict = _verdict("contexts", name, build)
    assert verdict.status == "fail"
    assert said in verdict.note


@pytest.mark.parametrize("name", SPECS)
def test_a_second_backward_pass(name: str) -> None:
    verdict = _verdict("contexts", name, lambda **params: through(lambda g: g, Once)(name, **params))
    assert verdict.status == "fail"
    assert "on a second backward pass" in verdict.note


class Forgetful(torch.nn.Module):
    """A module whose copies lose what it was built with."""

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.params = params

    def __deepcopy__(self, memo: dict[int, Any]) -> Forgetful:
        return Forgetful(**{**self.params, "gamma": self.params["gamma"] + 1})

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return REFERENCES["focal"](pred, label, **self.params)


def test_a_deep_copy() -> None:
    verdict = _verdict("contexts", "focal", Forgetful)
    assert verdict.status == "fail"
    assert "of a deep copy" in verdict.note


class Module(torch.nn.Module):
    """A focal loss that is right."""

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.params = params

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return REFERENCES["focal"](pred, label, **self.params)


class InTraining(Module):
    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return super().forward(pred, label) * (1.0 if self.training else 1.01)


class NeverBack(Module):
    """Once evaluated, it stays so."""

    def train(self, mode: bool = True) -> NeverBack:
        self.gone = getattr(self, "gone", False) or not mode
        return self

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return super().forward(pred, label) * (1.01 if getattr(self, "gone", False) else 1.0)


class Within:
    """A module inside of something that is none."""

    def __init__(self, **params: Any) -> None:
        self.inner = InTraining(**params)

    def __call__(self, pred: Tensor, label: Tensor) -> Tensor:
        return self.inner(pred, label)


class OfTheClass(Module):
    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        OfTheClass.shared = params

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        return REFERENCES["focal"](pred, label, **OfTheClass.shared)


class OfTheLastCall(Module):
    """Settings that a call of another object leaves behind."""

    last: ClassVar[dict[str, Any]] = {}

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        found = REFERENCES["focal"](pred, label, **{**self.params, **OfTheLastCall.last})
        OfTheLastCall.last = {"alpha": self.params["alpha"]}
        return found


def in_half(kind: torch.dtype) -> Callable[..., Any]:
    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(pred: Tensor, label: Tensor) -> Tensor:
            return REFERENCES["focal"](pred, label, **params) * (2.0 if pred.dtype == kind else 1.0)

        return loss

    return build


def of_constants(**params: Any) -> Callable[..., Tensor]:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        return REFERENCES["focal"](pred, label, **params) + (0.1 if label.requires_grad else 0.0)

    return loss


OBJECTS: dict[str, tuple[Callable[..., Any], str]] = {
    "evaluated": (InTraining, "in evaluation mode"),
    "evaluated, a part": (Within, "in evaluation mode"),
    "trained again": (NeverBack, "in evaluation mode"),
    "settings of the class": (OfTheClass, "beside another one with other settings"),
    "settings of the last call": (OfTheLastCall, "beside another one with other settings"),
    "float16": (in_half(torch.float16), "on inputs in float16"),
    "bfloat16": (in_half(torch.bfloat16), "on inputs in bfloat16"),
    "a constant with a gradient": (of_constants, "where every input needs a gradient"),
}


@pytest.mark.parametrize(("build", "said"), OBJECTS.values(), ids=list(OBJECTS))
def test_another_object_or_another_input(build: Callable[..., Any], said: str) -> None:
    verdict = _verdict("contexts", "focal", build)
    assert verdict.status == "fail"
    assert said in verdict.note


def refuses_halves(**params: Any) -> Callable[..., Tensor]:
    def loss(pred: Tensor, label: Tensor) -> Tensor:
        if pred.dtype not in (torch.float32, torch.float64) or label.requires_grad:
            raise TypeError("float32 or float64, and a constant label")
        return REFERENCES["focal"](pred, label, **params)

    return loss


def at_every_step(**params: Any) -> Callable[..., Tensor]:
    """Rounds to the dtype of its input at each of its steps."""

    def loss(pred: Tensor, label: Tensor) -> Tensor:
        p = pred.sigmoid()
        right = label * p + (1 - label) * (1 - p)
        cost = binary_cross_entropy_with_logits(pred, label, reduction="none")
        cost = cost * (1 - right) ** params["gamma"]
        factor = label * params["alpha"] + (1 - label) * (1 - params["alpha"])
        return (cost * factor if params["alpha"] > 0 else cost).mean(1).sum()

    return loss


@pytest.mark.parametrize("build", [Module, refuses_halves, at_every_step], ids=lambda one: one.__name__)
def test_what_may_be_refused_or_rounded(build: Callable[..., Any]) -> None:
    assert _verdict("contexts", "focal", build).status == "pass"


def test_what_raises_under_autocast() -> None:
    """A sum in place of numbers that a product has made bfloat16, into one that is float32."""

    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(*inputs: Tensor) -> Tensor:
            rows = torch.ones(1, 1) @ torch.ones(1, 1)
            return REFERENCES["focal"](*inputs, **params) + 0 * torch.zeros(1, 1).index_add_(0, torch.tensor([0]), rows)

        return loss

    verdict = _verdict("contexts", "focal", build)
    assert verdict.status == "fail"
    assert "under autocast in bfloat16" in verdict.note


@pytest.mark.parametrize("one", [one for one in resolve("dropin") if not one.unsupported], ids=lambda one: one.spec)
def test_autocast_changes_no_drop_in(one: Target) -> None:
    what = spec(one.spec)
    case = material(what, "small", "quick", 0, tuple(one.fixed.items()))[0]
    plain = call_of(what, case.inputs, "float32", what.wrt)
    calls = [plain, *(replace(plain, context=word) for word in AUTOCAST)]
    first, *others = carried_out(one.build, question_of(what, one, case, calls)).returned
    assert not first.raised
    for word, other in zip(AUTOCAST, others, strict=True):
        assert not other.raised, word
        assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(first.values, other.values, strict=True)), word
        assert {name: str(g) for name, g in first.gradients.items()} == {n: str(g) for n, g in other.gradients.items()}


LEFT: dict[str, tuple[Callable[[], Any], str]] = {
    "gradients on again": (lambda: torch.set_grad_enabled(True), "the gradient mode was False"),
    "one thread again": (lambda: torch.set_num_threads(1), "torch's number of threads was 3"),
    "float32 again": (lambda: torch.set_default_dtype(torch.float32), "torch's default dtype was torch.float64"),
    "not deterministic": (lambda: torch.use_deterministic_algorithms(False), "torch's deterministic mode was (True,"),
}


@pytest.mark.parametrize("word", LEFT)
def test_what_a_call_finds_it_leaves(word: str) -> None:
    """It looks like putting a setting back, and is the usual value of it."""
    leave, said = LEFT[word]

    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(*inputs: Tensor) -> Tensor:
            out = REFERENCES["focal"](*inputs, **params)
            leave()
            return out

        return loss

    verdict = _verdict("contexts", "focal", build)
    assert verdict.status == "fail"
    assert said in verdict.note


@pytest.mark.parametrize("kind", ["int32", "int16", "uint8", "float32"])
def test_labels_in_another_dtype(kind: str) -> None:
    right, dtype = spec("classification").reference, getattr(torch, kind)

    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(logits: Tensor, cls: Tensor) -> Tensor:
            return right(logits, cls.long(), **params) * (1.01 if cls.dtype == dtype else 1.0)

        return loss

    verdict = _verdict("contexts", "classification", build)
    assert verdict.status == "fail"
    assert f"on labels in {kind}" in verdict.note


def test_the_backward_pass_changes_nothing_either() -> None:
    def turned(above: Tensor) -> Tensor:
        torch.manual_seed(3)
        return above

    verdict = _verdict("state", "focal", lambda **params: through(turned)("focal", **params))
    assert verdict.status == "fail"
    assert "the random state" in verdict.note


def test_a_dtype_that_is_refused_is_no_wrong_number() -> None:
    def build(**params: Any) -> Callable[..., Tensor]:
        def loss(pred: Tensor, label: Tensor) -> Tensor:
            if torch.get_default_dtype() != pred.dtype:
                raise RuntimeError("Index put requires the source and destination dtypes match")
            return REFERENCES["focal"](pred, label, **params)

        return loss

    assert _verdict("contexts", "focal", build).status == "pass"


def _verdict(word: str, name: str, build: Callable[..., Any]) -> Any:
    """What one check says, which others would not: on values and gradients as usual the target is right."""
    one = spec(name)
    target = Target(name, build, word, tuple(one.params))
    for usual in ("reduced",):
        cases = cases_for(named(usual), one, target, "quick", 0)[:2]
        assert check(named(usual), one, target, cases, "float32")[0].status == "pass"
    asked = cases_for(named(word), one, target, "quick", 0)
    return check(named(word), one, target, asked, "float32")[0]
