"""The static form of the losses of YOLO heads: the numbers of the pairs, no value to the host, few compilations.

What a GPU does is held without one: a mode sees every operator of forward and backward, and fails at those that wait
for a value; a compiler that only counts stands for the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import lossref
from lossref.checks.material import draw_case
from lossref.core.nouns import Case
from lossref.losses import spec as spec_named
from lossref.losses.assignment.candidates import ranked
from lossref.losses.assignment.static import graphs
from lossref.losses.assignment.static.graphs import padded
from lossref.losses.assignment.static.strategy import LARGEST, checked, chosen, forced, slots_for
from shared.heads import leaves_of, model, objects, predictions

SPECS = (
    *("v8_detection", "e2e", "tvp_detect", "v8_obb", "v8_pose", "pose26", "v8_segmentation"),
    *("task_aligned", "rotated_task_aligned"),
)
CLASSES = (
    *("v8DetectionLoss", "v8OBBLoss", "v8PoseLoss", "PoseLoss26", "v8SegmentationLoss", "E2ELoss", "E2EDetectLoss"),
)
WAITS = {
    *("_local_scalar_dense", "item", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
    *("bincount", "is_nonzero", "equal", "lift_fresh"),
}
"""Operators that wait for a value, or (lift_fresh) make numbers of the host a tensor."""
BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}
CLOSE = 1e-11  # in float64 the two forms differ by the order of their sums


class NoWaiting(TorchDispatchMode):
    """Fails at an operator that would wait for the device."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = operator._schema.name.removeprefix("aten::"), kwargs or {}
        assert name not in WAITS, name
        if name in BY_MASK:
            assert not any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]), "index by a mask"
        assert name != "repeat_interleave" or kwargs.get("output_size") is not None, name
        result = operator(*args, **kwargs)
        if name == "_to_copy":
            assert result.device == args[0].device, "a copy to another device"
        return result


# The numbers of the pairs ---------------------------------------------------------------------------------------


def cases_of(name: str) -> Iterator[Case]:
    """The corners of a spec, and one drawn case at each value of each setting that no spec before it has."""
    spec, rng = spec_named(name), np.random.default_rng(0)
    before = {key for other in SPECS[: SPECS.index(name)] for key in spec_named(other).params}
    yield from spec.corners
    settings = [{}, *({key: value} for key in spec.params.keys() - before for value in spec.params[key].others)]
    for setting in settings:
        yield draw_case(spec, rng, spec.sizes["small"][0], setting)


def numbers(name: str, case: Case, form: str) -> list[Tensor]:
    """Terms and gradients of a case in float64, in one of the forms."""
    spec = spec_named(name)
    given = {
        key: None if x is None else torch.tensor(np.array(x), dtype=torch.float64) for key, x in case.inputs.items()
    }
    wanted = [given[key].requires_grad_() for key in spec.wrt if given.get(key) is not None]
    with forced(form):
        terms = spec.reference(**given, **case.params)
    if not wanted:
        return [term.double() for term in terms]
    total = sum((i + 1) * term for i, term in enumerate(terms) if term.requires_grad)
    slopes = torch.autograd.grad(total, wanted, allow_unused=True)
    return [*(term.detach() for term in terms), *(x for x in slopes if x is not None)]


@pytest.mark.parametrize("name", SPECS)
def test_both_forms_give_the_same_numbers(name: str) -> None:
    for case in cases_of(name):
        for one, other in zip(numbers(name, case, "pairs"), numbers(name, case, "static"), strict=True):
            scale = max(1.0, float(one.abs().nan_to_num().max()) if one.numel() else 1.0)
            assert torch.allclose(one, other, rtol=0, atol=CLOSE * scale, equal_nan=True), case.name


def test_zeros_of_the_metric_are_ranked_by_anchor() -> None:
    """Which of the anchors without any overlap fill up the top-k is undefined; here it is the same in every form."""
    ranked_first = ranked(torch.tensor([0.0, 0.5, 0.0, 0.0]), torch.arange(4), 4)
    assert ranked_first.argsort(descending=True).tolist() == [1, 0, 2, 3]
    assert ranked_first.min() > -0.5


# Nothing comes to the host --------------------------------------------------------------------------------------


def built(name: str) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
    """A loss, predictions of its head or of both branches, and a batch."""
    turned = name == "v8OBBLoss"
    both = {"one2many": predictions(0), "one2one": predictions(1)} if name.startswith("E2E") else predictions(0)
    return getattr(lossref, name)(model()), both, objects(12, turned=turned)


@pytest.mark.parametrize("name", CLASSES)
def test_no_operator_waits_for_a_value(name: str) -> None:
    loss, preds, batch = built(name)
    with forced("pairs"):
        expected, _ = loss(preds, batch)
    with forced("static"), checked(False), NoWaiting():
        vector, _ = loss(preds, batch)
        torch.autograd.grad(vector.sum(), leaves_of(preds), allow_unused=True)
    assert torch.allclose(vector, expected, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("E2E")])
def test_no_shape_depends_on_a_value(name: str) -> None:
    """Where tensors have no values at all."""
    loss, preds, batch = built(name)
    with FakeTensorMode(allow_non_fake_inputs=True), forced("static"), checked(False):
        preds, batch = tree_map(lambda x: torch.empty_like(x, requires_grad=x.requires_grad), (preds, batch))
        vector, _ = loss(preds, batch)
        slopes = torch.autograd.grad(vector.sum(), leaves_of(preds), allow_unused=True)
    assert isinstance(vector, FakeTensor)
    assert [x.shape for x in slopes if x is not None]


@pytest.mark.parametrize("name", ["v8DetectionLoss"])
def test_the_pairs_would_wait(name: str) -> None:
    loss, preds, batch = built(name)
    with forced("pairs"), pytest.raises(AssertionError, match=r"item|nonzero|unique|is_nonzero|scalar"), NoWaiting():
        loss(preds, batch)


def test_the_answer_of_assignment_is_the_same() -> None:
    loss, preds, batch = built("v8DetectionLoss")
    with forced("pairs"):
        expected, _, _ = loss.get_assigned_targets_and_loss(preds, batch)
    with forced("static"):
        answer, _, _ = loss.get_assigned_targets_and_loss(preds, batch)
    for one, other in zip(answer, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


BAD = {
    "a class without a score": ("cls", 5.0, IndexError),
    "NaN in a box": ("bboxes", float("nan"), ValueError),
    "NaN in an image index": ("batch_idx", float("nan"), ValueError),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused_on_a_cpu_is_nan_where_nothing_is_looked_at(what: str) -> None:
    loss, preds, batch = built("v8DetectionLoss")
    name, value, error = BAD[what]
    batch[name].view(-1)[3] = value
    for form in ("pairs", "static"):
        with forced(form), pytest.raises(error):
            loss(preds, batch)
    with forced("static"), checked(False):
        vector, _ = loss(preds, batch)
    assert vector.isnan().all()


def test_the_form_goes_by_device_and_size() -> None:
    scores = torch.empty(2, 3, 100, device="meta")
    assert chosen(scores, 10) == "static"
    assert chosen(scores, LARGEST // 100 + 1) == "pairs"
    assert chosen(torch.empty(2, 3, 100), 10) == "pairs"
    assert [slots_for(n) for n in (0, 64, 65, 449)] == [64, 64, 128, 512]
    with pytest.raises(ValueError, match="form"), forced("dense"):
        pass


# Compiled -------------------------------------------------------------------------------------------------------


def test_an_epoch_of_batches_has_few_sizes() -> None:
    sizes = {padded(objects(count), torch.device("cpu"))["bboxes"].shape for count in range(0, 500, 7)}
    assert sorted(sizes) == [(64, 4), (128, 4), (256, 4), (512, 4)]


def test_a_size_is_compiled_once_and_as_a_whole() -> None:
    """Whatever the number of objects; and not at all where a part was replaced, which acts."""
    seen: list[Any] = []

    def counting(graph: Any, example: Any) -> Any:
        seen.append(graph)
        return graph.forward

    loss, preds, _ = built("v8DetectionLoss")
    fast = lossref.compiled(loss, backend=counting)
    for count in (3, 0, 20, 64):
        batch = objects(count, seed=count)
        assert torch.allclose(fast(preds, batch)[0], loss(preds, batch)[0], rtol=1e-5, atol=1e-5)
    loss.bce = torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor(2.0))
    assert torch.equal(fast(preds, batch)[0], loss(preds, batch)[0])
    assert len(seen) == 1


# Captured -------------------------------------------------------------------------------------------------------


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been captured: a GPU's part is played by the steps themselves."""
    found: list[Any] = []

    def capture(module: Any, example: Any, **how: Any) -> Any:
        found.append(example)
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    monkeypatch.setattr(graphs, "capturable", lambda x: True)
    return found


@pytest.mark.parametrize("name", ["v8DetectionLoss", "v8SegmentationLoss", "E2ELoss"])
def test_a_graph_for_each_size_and_state(captures: list[Any], name: str) -> None:
    """Gains are baked into a graph, weights of branches are not."""
    loss, preds, _ = built(name)
    fast = lossref.captured(loss, preds, objects(3))
    heads = 2 if name.startswith("E2E") else 1
    for count, gain, expected in ((5, 7.5, 1), (64, 7.5, 1), (70, 7.5, 2), (9, 3.0, 3), (9, 7.5, 3)):
        (loss.one2many if heads > 1 else loss).hyp.box = gain
        if heads > 1:
            loss.update()
        batch = objects(count, seed=count)
        assert torch.allclose(fast(preds, batch)[0], loss(preds, batch)[0], rtol=1e-5, atol=1e-5)
        assert len(captures) == expected * heads


def test_any_function_is_captured(captures: list[Any]) -> None:
    """Once for each size, and anew where a number of it changed."""
    loss = lossref.FocalLoss(gamma=2.0)
    fast, x = lossref.captured(loss), torch.randn(4, 3, requires_grad=True)
    for rows, gamma, expected in ((4, 2.0, 1), (4, 2.0, 1), (2, 2.0, 2), (4, 1.0, 3)):
        loss.gamma = gamma
        given = x[:rows], torch.ones(rows, 3)
        assert torch.equal(fast(*given), loss(*given))
        assert len(captures) == expected


def test_without_a_gradient_nothing_is_captured(captures: list[Any]) -> None:
    loss, preds, batch = built("v8DetectionLoss")
    with torch.no_grad():
        lossref.captured(loss, preds, batch)
    assert not captures
