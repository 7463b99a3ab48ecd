"""Every number and edge case of the classification losses, to the digits printed.

Sources: spec/30-elementary.md sections 1 (varifocal), 2 (focal) and 10 (classification) and rows 1 to 7 and 18 of its
table of mistakes, D8, D9 and D12 of spec/05-decisions.md. Also the class term that composite losses share. Where the
specification prints a measured and an exact value, the exact one counts (D8).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lossref.losses.classification.class_term import sparse_bce
from lossref.losses.classification.classification import v8ClassificationLoss
from lossref.losses.classification.focal import FocalLoss
from lossref.losses.classification.varifocal import VarifocalLoss
from lossref.oracle.tape import Uncertified
from shared.digits import agrees, disagreements
from shared.three_ways import (
    CLASSES,
    WAYS,
    Anchor,
    Inputs,
    Mistake,
    asked,
    bf16,
    by_class_under,
    by_mistake,
    by_oracle,
    by_reference,
    by_way,
    f16,
    f32,
    f64,
    given_back,
    tensors,
    wrong_slopes,
    wrong_values,
)

# The table of anchors ---------------------------------------------------------------------------------

X = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
VFL_Q, VFL_Y = [[[0.75, 0], [0, 0], [0, 0.25]]], [[[1, 0], [0, 0], [1, 1]]]
FL_Y = [[[1, 0], [0, 0.5], [0, 1]]]
NONE = [[[0, 0], [0, 0], [0, 0]]]
VFL = {"pred_score": X, "gt_score": VFL_Q, "label": VFL_Y}
VFL_GRADIENT = "-0.0318851671995 0.0076172139331 0.269178432612 0.0426170440066 0 0.0208333333333"
FL = {"pred": X, "label": FL_Y}
FL_GRADIENT = "-0.0158552881702 0.0135686900104 0.260617587872 -0.00546043176809 0.000301712578786 -0.0300479247664"
LABELLED: dict[str, Any] = {"logits": [(1, -0.5, 0.25), (0, 2, -1)], "cls": (2, 1)}


def one(x: float, y: float) -> Inputs:
    return {"pred": [[[x]]], "label": [[[y]]]}


VARIFOCAL_ANCHORS = (
    Anchor("mixed", "varifocal", VFL, {"loss": "0.644873902033"}, {}, (("pred_score", ..., VFL_GRADIENT),)),
    Anchor("gamma 1.5, alpha 0.25", "varifocal", VFL, {"loss": "0.367587052307"}, {"gamma": 1.5, "alpha": 0.25}),
    Anchor("no positive", "varifocal", {**VFL, "gt_score": NONE, "label": NONE}, {"loss": "0.575044310772"}),
    Anchor(
        "matched with IoU 0",
        "varifocal",
        {"pred_score": [[[2.5]]], "gt_score": [[[0]]], "label": [[[1]]]},
        {"loss": "0"},
        {},
        (("pred_score", ..., "0"),),
    ),
    Anchor("-800", "varifocal", {"pred_score": [[[-800]]], "gt_score": [[[0.5]]], "label": [[[0]]]}, {"loss": "0"}),
    Anchor("+800", "varifocal", {"pred_score": [[[800]]], "gt_score": [[[0.5]]], "label": [[[0]]]}, {"loss": "300"}),
)

FOCAL_ANCHORS = (
    Anchor("mixed", "focal", FL, {"loss": "0.517753364745"}, {}, (("pred", ..., FL_GRADIENT),)),
    Anchor("alpha 0", "focal", FL, {"loss": "0.797151441382"}, {"alpha": 0.0}),
    Anchor("alpha -1", "focal", FL, {"loss": "0.797151441382"}, {"alpha": -1.0}),
    Anchor("gamma 0", "focal", FL, {"loss": "0.822567002075"}, {"gamma": 0.0}),
    Anchor("saturated and right", "focal", one(-800, 0), {"loss": "0"}, {}, (("pred", ..., "0"),)),
    Anchor("saturated and right, gamma 1", "focal", one(-800, 0), {"loss": "0"}, {"gamma": 1.0}, (("pred", ..., "0"),)),
    Anchor("saturated negative and wrong", "focal", one(-800, 1), {"loss": "200"}, {}, (("pred", ..., "-0.25"),)),
    Anchor("saturated positive and wrong", "focal", one(800, 0), {"loss": "600"}, {}, (("pred", ..., "0.75"),)),
)

CLASSIFICATION_ANCHORS = (
    Anchor(
        "two images",
        "classification",
        LABELLED,
        {"loss": "0.723910881706"},
        {},
        (
            (
                "logits",
                ...,
                "0.294898831828 0.0658008235735 -0.360699655402 0.0570975996923 -0.0781026327593 0.021005033067",
            ),
        ),
    ),
    Anchor("one ignored", "classification", {**LABELLED, "cls": (-100, 1)}, {"loss": "0.169846019556"}),
)
ANCHORS = (*VARIFOCAL_ANCHORS, *FOCAL_ANCHORS, *CLASSIFICATION_ANCHORS)


@pytest.mark.parametrize(("way", "anchor"), asked(ANCHORS), ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    assert wrong_values(way, anchor) == []


@pytest.mark.parametrize(("way", "anchor"), asked(anchor for anchor in ANCHORS if anchor.gradient), ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    assert wrong_slopes(way, anchor) == []


@pytest.mark.parametrize("way", ["reference", "class"])
@pytest.mark.parametrize(
    ("alpha", "printed"), [([0.25, 0.75], "0.554184719697"), ([0.0, 0.5], "0.673362363751")], ids=str
)
def test_focal_with_one_alpha_for_each_class(way: str, alpha: list[float], printed: str) -> None:
    found = WAYS[way]("focal", FL, {"alpha": alpha})
    assert disagreements(found.value, printed) == []


# How a careless implementation goes wrong -------------------------------------------------------------


def alpha_on_both(x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float, weight_gradient: str) -> Tensor:
    """VFL with alpha on the positives as well as on the negatives."""
    weight = alpha * (x.sigmoid() ** gamma * (1 - y) + q * y)
    return (binary_cross_entropy_with_logits(x, q, reduction="none") * weight).mean(1).sum()


# A mistake of the table that no impostor of the spec makes in the same way.
CARELESS = {"alpha on both": alpha_on_both}
FIRST = ("pred", (0, 0, 0))
AT_ZERO = {"pred_score": [[[0]]], "gt_score": [[[0.25]]], "label": [[[1]]]}
MISTAKES = (
    Mistake(1, "weight detached", "varifocal", VFL, ("pred_score", (0, 0, 1)), "0.0076172139331", "0.00276122293456"),
    Mistake(2, "mean over the last axis", "varifocal", VFL, "loss", "0.644873902", "0.967310853"),
    Mistake(3, "positives by q", "varifocal", VFL, "loss", "0.644873902", "0.644901223"),
    Mistake(3, "alpha on both", "varifocal", VFL, "loss", "0.644873902", "0.592991024"),
    Mistake(3, "against y", "varifocal", VFL, "loss", "0.644873902", "0.613623902"),
    Mistake(4, "factor detached", "focal", FL, FIRST, "-0.0158552881702", "-0.00729840746404"),
    Mistake(5, "p_t = exp(-bce)", "focal", FL, "loss", "0.517753364745", "0.518846215147"),
    Mistake(6, "alpha 0 as a weight", "focal", FL, "loss", "0.797151441", "0.636931009", {"alpha": 0.0}),
    Mistake(6, "alpha swapped", "focal", FL, "loss", "0.517753364745", "0.279398077"),
    # Logit 0: the gradient of bce is 0.5 - y, not 1 - y; q = 0.25 is target and weight.
    Mistake(7, "composed bce", "varifocal", AT_ZERO, ("pred_score", (0, 0, 0)), "0.0625", "0.1875"),
    # alpha 0.25, gamma 0, y = 1: 0.25 (0.5 - 1), and 0 for the composed one.
    Mistake(7, "composed bce", "focal", one(0, 1), FIRST, "-0.125", "0", {"gamma": 0.0}),
    # Row 18 prints no numbers: twice and a 64th of the sum, 2 * 0.723910881706 and the same over 64.
    Mistake(18, "times the batch", "classification", LABELLED, "loss", "0.723910881706", "1.447821763412"),
    Mistake(18, "divided by 64", "classification", LABELLED, "loss", "0.723910881706", "0.0226222150533"),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_right_number_and_not_the_mistaken_one(way: str, mistake: Mistake) -> None:
    got = by_way(way, mistake)
    assert agrees(got, mistake.right)
    assert not agrees(got, mistake.wrong)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_impostor_gives_the_mistaken_number(mistake: Mistake) -> None:
    """The careless version is the mistake that the table means, in float64 to the digits printed."""
    got = by_mistake(mistake, CARELESS)
    assert agrees(got, mistake.wrong)
    assert not agrees(got, mistake.right)


# Varifocal and focal: what is said in words -----------------------------------------------------------

DTYPES: list[tuple[str, list[torch.dtype], torch.dtype]] = [
    ("varifocal", [f16, f16, f16], f32),
    ("varifocal", [bf16, bf16, bf16], f32),
    ("varifocal", [f32, f32, f32], f32),
    ("varifocal", [f64, f64, f64], f64),
    ("varifocal", [f64, f32, torch.int64], f64),
    ("varifocal", [f32, f64, torch.int64], f64),
    ("focal", [f16, f16], f16),
    ("focal", [bf16, bf16], bf16),
    ("focal", [f64, f32], f64),
    ("focal", [f32, f64], f64),
    ("focal", [f32, f16], f32),
]
EXAMPLE: dict[str, Inputs] = {"varifocal": {**VFL, "gt_score": VFL_Y}, "focal": FL}


@pytest.mark.parametrize(("name", "given", "expected"), DTYPES, ids=str)
def test_dtype_of_the_result(name: str, given: list[torch.dtype], expected: torch.dtype) -> None:
    """D8 and D9: promoted, and half precision gives what upstream gives it."""
    inputs = [torch.tensor(x).to(dtype) for x, dtype in zip(EXAMPLE[name].values(), given, strict=True)]
    (out,) = given_back(name, {}, inputs)
    assert out.dtype == expected
    assert bool(out.isfinite().all())


PRINTED: dict[str, tuple[Inputs, dict[str, Any], str]] = {
    "varifocal": (VFL, {}, "0.644873902033"),
    "focal": (FL, {}, "0.517753364745"),
}


@pytest.mark.parametrize("name", PRINTED)
@pytest.mark.parametrize("default", [f32, f64], ids=str)
def test_float64_is_not_narrowed_by_the_default_dtype(name: str, default: torch.dtype) -> None:
    inputs, params, printed = PRINTED[name]
    assert disagreements(by_class_under(default, name, inputs, params).value, printed) == []


@pytest.mark.parametrize("name", ["varifocal", "focal"])
def test_classes_are_modules_without_state(name: str) -> None:
    loss: Any = CLASSES[name]()
    assert isinstance(loss, nn.Module)
    own = list(loss.state_dict()) + [key for key, _ in loss.named_parameters()]
    assert own == []
    assert list(loss.named_buffers()) == []


EMPTY: list[tuple[str, list[tuple[int, ...]], Any, bool]] = [
    ("varifocal", [(2, 0, 3)] * 3, {}, True),
    ("varifocal", [(0, 3, 2)] * 3, {}, False),
    ("varifocal", [(2, 3, 0)] * 3, {}, False),
    ("focal", [(2, 0, 3)] * 2, {}, True),
    ("focal", [(0, 3, 2)] * 2, {}, False),
    ("focal", [(2, 3, 0)] * 2, {}, False),
]


@pytest.mark.parametrize(("name", "shapes", "params", "nan"), EMPTY, ids=str)
def test_empty_axis_gives_zero_or_nan(name: str, shapes: Any, params: Any, nan: bool) -> None:
    out = CLASSES[name](**params)(*(torch.zeros(shape) for shape in shapes))
    assert out.shape == ()
    assert np.isnan(out.item()) if nan else out.item() == 0.0


REFUSED: list[tuple[str, str, Any, list[Tensor], type[Exception]]] = [
    ("one axis", "varifocal", {}, [torch.zeros(3)] * 3, IndexError),
    (
        "boolean label",
        "varifocal",
        {},
        [torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.zeros(1, 3, 2, dtype=torch.bool)],
        RuntimeError,
    ),
    (
        "quality of another shape",
        "varifocal",
        {},
        [torch.zeros(1, 3, 2), torch.zeros(1, 1, 2), torch.zeros(1, 3, 2)],
        ValueError,
    ),
    ("one axis", "focal", {}, [torch.zeros(3)] * 2, IndexError),
    ("integer label", "focal", {}, [torch.zeros(1, 3, 2), torch.zeros(1, 3, 2, dtype=torch.int64)], RuntimeError),
    ("boolean label", "focal", {}, [torch.zeros(1, 3, 2), torch.zeros(1, 3, 2, dtype=torch.bool)], RuntimeError),
    ("labels of another shape", "focal", {}, [torch.zeros(1, 3, 2), torch.zeros(1, 1, 2)], ValueError),
]


@pytest.mark.parametrize(
    ("name", "params", "inputs", "error"), [r[1:] for r in REFUSED], ids=[f"{r[1]}, {r[0]}" for r in REFUSED]
)
def test_bad_input_is_refused(name: str, params: Any, inputs: list[Tensor], error: type[Exception]) -> None:
    with pytest.raises(error):
        CLASSES[name](**params)(*inputs)


def test_varifocal_label_may_be_integer_or_broadcast() -> None:
    x, q = torch.tensor(X), torch.tensor(VFL_Q)
    row = torch.tensor([[[1, 0]]])
    spelled_out = VarifocalLoss()(x, q, row.expand(1, 3, 2).float())
    assert torch.equal(VarifocalLoss()(x, q, row), spelled_out)


def test_varifocal_gamma_zero_weights_negatives_by_alpha() -> None:
    """bce against q = 0 is softplus(x), the weight is alpha, the mean is over three queries."""
    inputs = {**VFL, "gt_score": NONE, "label": NONE}
    want = 0.5 * sum(np.log1p(np.exp(x)) for x in np.ravel(X)) / 3
    for way in WAYS.values():
        found = way("varifocal", inputs, {"gamma": 0.0, "alpha": 0.5})
        assert found.value.item() == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("name", ["varifocal", "focal"])
def test_two_axes_are_averaged_over_the_last(name: str) -> None:
    inputs = {"varifocal": VFL, "focal": FL}[name]
    flat = {key: x[0] for key, x in inputs.items()}
    deep = {key: [np.transpose(x[0]).tolist()] for key, x in inputs.items()}
    assert by_reference(name, flat, {}).value.item() == pytest.approx(
        by_reference(name, deep, {}).value.item(), rel=1e-14
    )


ATTRIBUTES: list[tuple[Any, dict[str, Any]]] = [
    (VarifocalLoss(), {"gamma": 2.0, "alpha": 0.75}),
    (VarifocalLoss(1.5, 0.25), {"gamma": 1.5, "alpha": 0.25}),
    (FocalLoss(), {"gamma": 1.5}),
]


@pytest.mark.parametrize(("loss", "expected"), ATTRIBUTES, ids=lambda x: str(x)[:40])
def test_attributes_are_those_of_the_constructor(loss: Any, expected: dict[str, Any]) -> None:
    assert {name: getattr(loss, name) for name in expected} == expected


@pytest.mark.parametrize(("alpha", "shape"), [(0.25, ()), (0.3, ()), ([0.25, 0.75], (2,))], ids=str)
def test_focal_alpha_is_a_tensor_that_no_call_changes(alpha: Any, shape: tuple[int, ...]) -> None:
    """QE3 is not reproduced: one float16 call must not leave 0.30004883 behind."""
    loss = FocalLoss(alpha=alpha)
    assert loss.alpha.shape == shape
    assert loss.alpha.dtype == torch.get_default_dtype()
    before = loss.alpha.clone()
    first = loss(torch.tensor(X, dtype=f64), torch.tensor(FL_Y, dtype=f64))
    for dtype in (f16, bf16, f32):
        loss(torch.tensor(X, dtype=dtype), torch.tensor(FL_Y, dtype=dtype))
    assert loss.alpha.dtype == before.dtype
    assert torch.equal(loss.alpha, before)
    assert torch.equal(loss(torch.tensor(X, dtype=f64), torch.tensor(FL_Y, dtype=f64)), first)


def test_focal_computes_with_the_alpha_given() -> None:
    """0.3 is not rounded to float32 in a float64 call: the weight of a positive is 0.3 itself."""
    got = FocalLoss(gamma=0.0, alpha=0.3)(torch.zeros(1, 1, dtype=f64), torch.ones(1, 1, dtype=f64))
    assert got.item() == pytest.approx(0.3 * np.log(2), rel=1e-15)
    assert got.item() != pytest.approx(float(np.float32(0.3)) * np.log(2), rel=1e-9)


# v8ClassificationLoss: what is said in words ----------------------------------------------------------


def classify(logits: Any, cls: Any) -> Tensor:
    return v8ClassificationLoss()(logits, {"cls": cls})[0]


LOGITS = torch.tensor(LABELLED["logits"], dtype=f64)


def test_classification_of_probabilities() -> None:
    """The mean of - sum c ln p, which is linear in c."""
    one_hot = torch.eye(3, dtype=f64)[[2, 1]]
    assert agrees(classify(LOGITS, one_hot).item(), "0.723910881706")
    soft = torch.tensor([(0.25, 0.25, 0.5), (0.5, 0, 0.25)], dtype=f64)
    parts = [
        [-sum(c * lp for c, lp in zip(row, logp, strict=True))]
        for row, logp in zip(soft, LOGITS.log_softmax(-1), strict=True)
    ]
    assert classify(LOGITS, soft).item() == pytest.approx(float(sum(p[0] for p in parts)) / 2, rel=1e-14)
    assert classify(LOGITS.float(), soft).dtype == f32


@pytest.mark.parametrize(
    "preds",
    [LOGITS, (None, LOGITS), [None, LOGITS], (LOGITS.softmax(-1), LOGITS)],
    ids=["tensor", "tuple", "list", "both"],
)
def test_classification_takes_the_second_of_a_pair(preds: Any) -> None:
    """QC2: a tensor, a tuple or a list."""
    assert agrees(classify(preds, torch.tensor([2, 1])).item(), "0.723910881706")


def test_classification_items_are_detached() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss, items = v8ClassificationLoss()(logits, {"cls": torch.tensor([2, 1])})
    assert loss.requires_grad
    assert not items.requires_grad
    assert loss.shape == items.shape == ()
    assert loss.item() == items.item()


def test_classification_of_nothing_is_nan() -> None:
    assert classify(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).isnan()
    assert classify(LOGITS, torch.tensor([-100, -100])).isnan()
    with pytest.raises(Uncertified):
        by_oracle("classification", {**LABELLED, "cls": (-100, -100)}, {})  # 0 / 0


BAD_LABELS: list[tuple[str, Any, type[Exception]]] = [
    ("too large", torch.tensor([3, 0]), IndexError),
    ("negative", torch.tensor([-1, 0]), IndexError),
    ("nearly ignored", torch.tensor([-101, 0]), IndexError),
    ("two axes", torch.tensor([[2], [1]]), RuntimeError),
    ("floating", torch.tensor([2.0, 1.0]), RuntimeError),
    ("int32", torch.tensor([2, 1], dtype=torch.int32), RuntimeError),
    ("too many", torch.tensor([2, 1, 0]), RuntimeError),
]


@pytest.mark.parametrize(("cls", "error"), [row[1:] for row in BAD_LABELS], ids=[row[0] for row in BAD_LABELS])
def test_bad_labels_are_refused(cls: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error):
        classify(LOGITS, cls)


def test_missing_labels_are_a_key_error() -> None:
    with pytest.raises(KeyError):
        v8ClassificationLoss()(LOGITS, {})


def test_classification_is_a_plain_class() -> None:
    assert not isinstance(v8ClassificationLoss(), nn.Module)
    assert list(inspect.signature(v8ClassificationLoss).parameters) == []


EXAMPLES: dict[str, tuple[Inputs, Mapping[str, Any]]] = {"classification": (LABELLED, {})}
MIXED = [
    ("classification", {"logits": f16}, f16),
]


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("spec", EXAMPLES)
def test_one_dtype_is_kept(spec: str, dtype: torch.dtype) -> None:
    inputs, params = EXAMPLES[spec]
    for term in given_back(spec, params, tensors(spec, inputs, dtype).values()):
        assert term.dtype == dtype
        assert bool(term.isfinite())


@pytest.mark.parametrize(("spec", "kinds", "expected"), MIXED, ids=str)
def test_dtype_of_mixed_input(spec: str, kinds: Mapping[str, torch.dtype], expected: torch.dtype) -> None:
    """Promoted."""
    inputs, params = EXAMPLES[spec]
    given = {name: x.to(kinds.get(name, x.dtype)) for name, x in tensors(spec, inputs, f32).items()}
    assert {term.dtype for term in given_back(spec, params, given.values())} == {expected}


@pytest.mark.parametrize("spec", EXAMPLES)
def test_no_argument_is_changed(spec: str) -> None:
    """D12."""
    inputs, params = EXAMPLES[spec]
    given = tensors(spec, inputs)
    before = {name: x.clone() for name, x in given.items()}
    given_back(spec, params, given.values())
    assert all(torch.equal(x, before[name]) for name, x in given.items())


# The class term of composite losses -------------------------------------------------------------------


def test_gradient_of_the_gradient() -> None:
    """The class term can be differentiated twice."""
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(1, 3, 4).requires_grad_()
    place, target = torch.tensor([1, 7]), torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: sparse_bce(x, place, target, torch.float64), x)
    assert torch.autograd.gradgradcheck(lambda x: sparse_bce(x, place, target, torch.float64), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("logit", [-1e4, -88.0, -30.0, 0.0, 15.0, 25.0, 39.0, 41.0, 88.0, 1e4])
def test_class_term_at_large_logits(logit: float, dtype: torch.dtype) -> None:
    x = torch.full((3,), logit, dtype=dtype)
    got = sparse_bce(x, torch.tensor([1]), torch.tensor([0.5], dtype=dtype), dtype)
    exact = torch.nn.functional.softplus(torch.tensor(logit, dtype=torch.float64), threshold=1e9)
    exact = torch.tensor(logit, dtype=torch.float64) if logit > 700 else exact
    want = 3 * exact - logit / 2
    assert math.isclose(got.item(), want.item(), rel_tol=4 * torch.finfo(dtype).eps, abs_tol=1e-300)


SPREADS = {"one logarithm for eight": (-4.0, 3.0), "logits above the bound": (-4.0, 12.0), "far below 0": (-60.0, 9.0)}


@pytest.mark.parametrize(("middle", "width"), SPREADS.values(), ids=list(SPREADS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 1003])
def test_class_term_of_many_logits(middle: float, width: float, dtype: torch.dtype, count: int) -> None:
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    x = (middle + width * (2 * drawn - 1)).to(dtype)
    nowhere = torch.zeros(0, dtype=torch.long)
    got = sparse_bce(x, nowhere, x[:0], dtype)
    want = math.fsum(math.log1p(math.exp(-abs(one))) + max(one, 0.0) for one in x.tolist())
    assert math.isclose(got.item(), want, rel_tol=16 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_class_term_hides_no_logit(bad: float) -> None:
    x = torch.full((100,), -3.0)
    x[41] = bad
    got = sparse_bce(x, torch.zeros(0, dtype=torch.long), x[:0], torch.float32)
    assert got.isnan() if math.isnan(bad) else got.isinf()
