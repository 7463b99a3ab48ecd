"""Every number and every edge case that the specification states in words, to the digits printed.

Sources: spec/10-geometry.md section 3, spec/30-elementary.md sections 1, 2, 3, 7, 8 and its table of
mistakes, rows 1 to 8, 15 and 16. Where the specification prints a measured and an exact value, the exact
one counts (spec/05-decisions.md, D8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lossref.checks.material import material
from lossref.core.nouns import Case
from lossref.losses import spec as spec_named
from lossref.losses.box_terms.dfl import DFLoss
from lossref.losses.classification.focal import FocalLoss
from lossref.losses.classification.varifocal import VarifocalLoss
from lossref.losses.masks.bce_dice import BCEDiceLoss
from lossref.losses.masks.dice import MultiChannelDiceLoss
from lossref.losses.overlap.bbox_iou import bbox_iou
from lossref.oracle.answers import answer, floats, weights
from lossref.oracle.tape import Uncertified

Inputs = Mapping[str, Any]
Found = tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]

ROUNDED_FROM = 8  # a number printed with fewer digits is exact


def agrees(value: float, printed: str) -> bool:
    """Whether a value is the printed number, to one unit of its last digit (exact numbers: 1e-11 relative)."""
    number = Decimal(printed)
    if number == 0:
        return value == 0
    digits = len(printed.lower().partition("e")[0].lstrip("-0.").replace(".", ""))
    unit = Decimal(10) ** Decimal(number.as_tuple().exponent)
    room = unit if digits >= ROUNDED_FROM else abs(number) * Decimal("1e-11")
    return bool(np.isfinite(value)) and abs(Decimal(float(value)) - number) <= room


@pytest.mark.parametrize(
    ("value", "printed", "same"),
    [
        (0.317880782492, "0.317880782492", True),
        (0.3178807824931, "0.317880782492", False),
        (0.3178807824925, "0.317880782492", True),
        (-6.30072274067e-05, "-6.30072274067e-05", True),
        (-6.30072274081e-05, "-6.30072274067e-05", False),
        (0.5, "0.5", True),
        (0.50000001, "0.5", False),
        (-0.5, "0.5", False),
        (0.0, "0", True),
        (1e-300, "0", False),
        (float("nan"), "0.5", False),
        (float("nan"), "0", False),
        (float("inf"), "200", False),
    ],
)
def test_agrees_is_neither_lax_nor_strict(value: float, printed: str, same: bool) -> None:
    assert agrees(value, printed) is same


# The table of anchors -----------------------------------------------------------------------------------


class Anchor(NamedTuple):
    """Printed numbers: all of the value, and chosen parts of the gradient by (input, index)."""

    name: str
    spec: str
    inputs: Inputs
    value: str
    params: Mapping[str, Any] = {}
    gradient: tuple[tuple[str, Any, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.spec}, {self.name}"


P1, P2 = (1, 2, 4, 6.5), (2, 1.5, 5.25, 5)
P1_CENTRE, P2_CENTRE = (2.5, 4.25, 3, 4.5), (3.625, 3.25, 3.25, 3.5)
XYXY, XYWH = {"xywh": False}, {"xywh": True}
KINDS = {"iou": {}, "giou": {"GIoU": True}, "diou": {"DIoU": True}, "ciou": {"CIoU": True}}


def pair(first: Any, second: Any, scale: float = 1.0) -> Inputs:
    return {"box1": [[scale * x for x in first]], "box2": [[scale * x for x in second]]}


def box_anchor(name: str, kind: str, boxes: Inputs, value: str, params: Any, gradient: str = "") -> Anchor:
    return Anchor(name, kind, boxes, value, params, (("box1", 0, gradient),) if gradient else ())


P_XYXY, P_XYWH = pair(P1, P2), pair(P1_CENTRE, P2_CENTRE)
TOUCHING = pair((0, 0, 2, 4), (2, 0, 4, 4))
DISJOINT = pair((0, 0, 1, 1), (3, 0, 4, 1))
FLAT = pair((1, 2, 4, 2), P2)
SAME_XYXY, SAME_XYWH = pair((2, 3, 3, 5), (2, 3, 3, 5)), pair((2.5, 4, 1, 2), (2.5, 4, 1, 2))
LARGER_XYWH = pair((2.5, 4, 2, 4), (2.5, 4, 2, 4))
TINY_XYXY, TINY_XYWH = pair(P1, P2, 2.0**-20), pair(P1_CENTRE, P2_CENTRE, 2.0**-20)

BOX_ANCHORS = (
    box_anchor(
        "xyxy",
        "iou",
        P_XYXY,
        "0.317880782492",
        XYXY,
        "0.0757861455924 -0.0891188955177 0.133678341592 -0.0505240959389",
    ),
    box_anchor(
        "xyxy", "giou", P_XYXY, "0.206116106547", XYXY, "0.0730179818538 -0.136177718826 0.20426658126 -0.0869946899901"
    ),
    box_anchor(
        "xyxy",
        "diou",
        P_XYXY,
        "0.265268300756",
        XYXY,
        "0.0915259169404 -0.112340956422 0.159803160109 -0.0615284542911",
    ),
    box_anchor(
        "xyxy",
        "ciou",
        P_XYXY,
        "0.265111400025",
        XYXY,
        "0.0912248911238 -0.112140272548 0.160104185926 -0.0617291381644",
    ),
    box_anchor(
        "xywh", "iou", P_XYWH, "0.317880793018", XYWH, "0.209464495794 -0.139642997196 0.0289460989696 0.0192973993131"
    ),
    box_anchor(
        "xywh", "giou", P_XYWH, "0.206116087661", XYWH, "0.277284564803 -0.223172408673 0.0656242994272 0.0245915168826"
    ),
    box_anchor(
        "xywh", "diou", P_XYWH, "0.265268311282", XYWH, "0.251329085659 -0.173869416452 0.0341386225541 0.025406250589"
    ),
    box_anchor(
        "xywh", "ciou", P_XYWH, "0.265111410533", XYWH, "0.251329085659 -0.173869416452 0.0344396484001 0.0252055666916"
    ),
    box_anchor("touching", "iou", TOUCHING, "0", XYXY, "0 0 0.249999992188 0"),
    box_anchor("disjoint", "iou", DISJOINT, "0", XYXY, "0 0 0 0"),
    box_anchor("disjoint", "giou", DISJOINT, "-0.4999999375", XYXY),
    box_anchor("disjoint", "diou", DISJOINT, "-0.529411761592", XYXY),
    box_anchor("disjoint", "ciou", DISJOINT, "-0.529411761592", XYXY),
    box_anchor("zero height", "iou", FLAT, "0", XYXY),
    box_anchor("zero height", "giou", FLAT, "-0.235294074048", XYXY),
    box_anchor("zero height", "diou", FLAT, "-0.0932989687644", XYXY),
    box_anchor(
        "zero height",
        "ciou",
        FLAT,
        "-0.152275608476",
        XYXY,
        "0.0109512185637 -0.182394549934 0.0371134003458 0.264868776466",
    ),
    box_anchor("identical 1 x 2, xyxy", "iou", SAME_XYXY, "0.99999985", XYXY),
    box_anchor("identical 1 x 2, xyxy", "giou", SAME_XYXY, "0.99999995", XYXY),
    box_anchor("identical 1 x 2, xyxy", "diou", SAME_XYXY, "0.99999985", XYXY),
    box_anchor("identical 1 x 2, xyxy", "ciou", SAME_XYXY, "0.99999985", XYXY),
    *(box_anchor("identical 1 x 2, xywh", kind, SAME_XYWH, "0.99999995", XYWH) for kind in KINDS),
    *(box_anchor("identical 2 x 4, xywh", kind, LARGER_XYWH, "0.9999999875", XYWH) for kind in KINDS),
    box_anchor("scaled by 2^-20, xyxy", "ciou", TINY_XYXY, "-6.30072274067e-05", XYXY),
    box_anchor("scaled by 2^-20, xywh", "ciou", TINY_XYWH, "-7.35827261806e-05", XYWH),
)

X = [[[0.5, -1.25], [2, -0.375], [-3, 0]]]
VFL_Q, VFL_Y = [[[0.75, 0], [0, 0], [0, 0.25]]], [[[1, 0], [0, 0], [1, 1]]]
FL_Y = [[[1, 0], [0, 0.5], [0, 1]]]
NONE = [[[0, 0], [0, 0], [0, 0]]]
VFL = {"pred_score": X, "gt_score": VFL_Q, "label": VFL_Y}
VFL_GRADIENT = "-0.0318851671995 0.0076172139331 0.269178432612 0.0426170440066 0 0.0208333333333"
FL = {"pred": X, "label": FL_Y}
FL_GRADIENT = "-0.0158552881702 0.0135686900104 0.260617587872 -0.00546043176809 0.000301712578786 -0.0300479247664"


def one(x: float, y: float) -> Inputs:
    return {"pred": [[[x]]], "label": [[[y]]]}


VARIFOCAL_ANCHORS = (
    Anchor("mixed", "varifocal", VFL, "0.644873902033", {}, (("pred_score", ..., VFL_GRADIENT),)),
    Anchor("gamma 1.5, alpha 0.25", "varifocal", VFL, "0.367587052307", {"gamma": 1.5, "alpha": 0.25}),
    Anchor("no positive", "varifocal", {**VFL, "gt_score": NONE, "label": NONE}, "0.575044310772"),
    Anchor(
        "matched with IoU 0",
        "varifocal",
        {"pred_score": [[[2.5]]], "gt_score": [[[0]]], "label": [[[1]]]},
        "0",
        {},
        (("pred_score", ..., "0"),),
    ),
    Anchor("-800", "varifocal", {"pred_score": [[[-800]]], "gt_score": [[[0.5]]], "label": [[[0]]]}, "0"),
    Anchor("+800", "varifocal", {"pred_score": [[[800]]], "gt_score": [[[0.5]]], "label": [[[0]]]}, "300"),
)

FOCAL_ANCHORS = (
    Anchor("mixed", "focal", FL, "0.517753364745", {}, (("pred", ..., FL_GRADIENT),)),
    Anchor("alpha 0", "focal", FL, "0.797151441382", {"alpha": 0.0}),
    Anchor("alpha -1", "focal", FL, "0.797151441382", {"alpha": -1.0}),
    Anchor("gamma 0", "focal", FL, "0.822567002075", {"gamma": 0.0}),
    Anchor("saturated and right", "focal", one(-800, 0), "0", {}, (("pred", ..., "0"),)),
    Anchor("saturated and right, gamma 1", "focal", one(-800, 0), "0", {"gamma": 1.0}, (("pred", ..., "0"),)),
    Anchor("saturated negative and wrong", "focal", one(-800, 1), "200", {}, (("pred", ..., "-0.25"),)),
    Anchor("saturated positive and wrong", "focal", one(800, 0), "600", {}, (("pred", ..., "0.75"),)),
)

Z = [(0.5, -1, 0.25, 2), (0, 0.125, -0.5, 1), (1.5, 0.5, 0, -2), (-0.75, 0.25, 3, 0.5)]
R4 = {"reg_max": 4}
SIDES = {"pred_dist": Z, "target": [(0.25, 1.5, 5, -1)]}

DFL_ANCHORS = (
    Anchor(
        "mixed",
        "dfl",
        SIDES,
        "2.9996569163",
        R4,
        (
            ("pred_dist", 0, "-0.148941293679 -0.0538963896835 0.030029550677 0.172808132685"),
            ("pred_dist", 2, "0.154206096046 0.0567292524387 0.0319080309067 -0.242843379392"),
        ),
    ),
    Anchor(
        "each side by itself",
        "dfl",
        {"pred_dist": Z, "target": [(0.25,), (1.5,), (5,), (-1,)]},
        "2.24427899845 1.88457526602 3.96317092414 3.90660247659",
        R4,
    ),
    Anchor("integral", "dfl", {"pred_dist": Z, "target": [(0, 1, 2, 2)]}, "1.3952819163", R4),
    # At R = 2 the bound is 0.99: with equal logits ln 2, with (0, 1) the value is ce(1) + 0.01.
    Anchor("two bins", "dfl", {"pred_dist": [(0, 1)], "target": [(1,)]}, "0.323261687518", {"reg_max": 2}),
)

PRED = [[[[0.5, -1], [2, 0.25]], [[-3, 1], [0, 0.75]]], [[[1, 1], [-1, -1]], [[0.5, 0.5], [0.25, -0.25]]]]
MASK = [[[[1, 0], [1, 0]], [[0, 0], [0, 1]]], [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]]
MASKS = {"pred": PRED, "target": MASK}
STRIPES = [[[[1.0 if (i + j + c) % 3 == 0 else 0.0 for j in range(4)] for i in range(4)] for c in range(2)]]
LARGER = {"pred": PRED[:1], "target": STRIPES}
TWO_PIXELS = {"pred": [[[[0, 0]]]], "target": [[[[0, 0]]]]}

DICE_ANCHORS = (
    Anchor(
        "mean",
        "dice",
        MASKS,
        "0.56513566774",
        {},
        (("pred", (0, 0), "-0.0177071934014 0.00786611071071 -0.00791111640422 0.00984740810272"),),
    ),
    Anchor("none", "dice", MASKS, "0.4235443118 0.70672702368", {"reduction": "none"}),
    Anchor("misspelt reduction", "dice", MASKS, "0.4235443118 0.70672702368", {"reduction": "maen"}),
    Anchor("sum", "dice", MASKS, "1.13027133548", {"reduction": "sum"}),
    Anchor("smooth 1", "dice", MASKS, "0.413580187827", {"smooth": 1.0}),
    Anchor("empty target", "dice", TWO_PIXELS, "0.999999000001"),
    Anchor("empty target, smooth 1", "dice", TWO_PIXELS, "0.5", {"smooth": 1.0}),
)

BCE_DICE_ANCHORS = (
    Anchor(
        "mixed",
        "bce_dice",
        MASKS,
        "0.512576121619",
        {},
        (("pred", (0, 0), "-0.0186757593273 0.0118647647828 -0.00679783125415 0.0218999446374"),),
    ),
    Anchor("bce alone", "bce_dice", MASKS, "0.611572055411", {"weight_bce": 1.0, "weight_dice": 0.0}),
    Anchor("dice alone", "bce_dice", MASKS, "0.413580187827", {"weight_bce": 0.0, "weight_dice": 1.0}),
    Anchor(
        "larger target",
        "bce_dice",
        LARGER,
        "0.566687024435",
        {},
        (("pred", (0, 0), "-0.0436851817221 0.0226823481391 0.0581863553777 0.0424889462634"),),
    ),
    # No target pixel: the Dice part is 1 - 1 / (1 + sum P) = 1 - 1 / 2.
    Anchor("empty target", "bce_dice", TWO_PIXELS, "0.5", {"weight_bce": 0.0, "weight_dice": 1.0}),
)

ANCHORS = (*BOX_ANCHORS, *VARIFOCAL_ANCHORS, *FOCAL_ANCHORS, *DFL_ANCHORS, *DICE_ANCHORS, *BCE_DICE_ANCHORS)


# Three ways to the same number --------------------------------------------------------------------------

CLASSES: dict[str, Callable[..., Callable[..., Tensor]]] = {
    "varifocal": VarifocalLoss,
    "focal": FocalLoss,
    "dfl": DFLoss,
    "dice": MultiChannelDiceLoss,
    "bce_dice": BCEDiceLoss,
}


def by_torch(build: Callable[..., Callable[..., Tensor]], spec: str, inputs: Inputs, params: Any) -> Found:
    """Value and gradient of the plain sum of the outputs, in float64."""
    wrt = spec_named(spec).wrt
    leaves = {name: torch.tensor(x, dtype=torch.float64, requires_grad=name in wrt) for name, x in inputs.items()}
    out = build(**params)(*(leaves[name] for name in spec_named(spec).inputs))
    assert out.dtype == torch.float64
    grads = torch.autograd.grad(out.sum(), [leaves[name] for name in wrt])
    return out.detach().numpy(), {name: g.numpy() for name, g in zip(wrt, grads, strict=True)}


def by_reference(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(partial(partial, spec_named(spec).reference), spec, inputs, params)


def by_class(spec: str, inputs: Inputs, params: Any) -> Found:
    return by_torch(CLASSES[spec], spec, inputs, params)


def by_oracle(spec: str, inputs: Inputs, params: Any) -> Found:
    one_spec = spec_named(spec)
    arrays = {name: np.asarray(x, dtype=np.float64) for name, x in inputs.items()}
    truth = answer(one_spec, Case(spec, arrays, params))
    value = floats(truth.value[one_spec.terms[0]])
    upstream = float(weights((1,))[0])  # the factor that `answer` puts on a single output
    return value, {name: floats(g) / upstream for name, g in truth.gradient.items()}


WAYS = {"reference": by_reference, "class": by_class, "oracle": by_oracle}
ASKED = [(way, anchor) for anchor in ANCHORS for way in WAYS if way != "class" or anchor.spec in CLASSES]
WITH_GRADIENT = [(way, anchor) for way, anchor in ASKED if anchor.gradient]


def disagreements(got: Any, printed: str) -> list[str]:
    """The pairs that differ; a different count of numbers is a disagreement too."""
    numbers, wanted = np.ravel(got).tolist(), printed.split()
    if len(numbers) != len(wanted):
        return [f"{len(numbers)} numbers instead of {len(wanted)}"]
    return [f"got {x:.15g}, printed {p}" for x, p in zip(numbers, wanted, strict=True) if not agrees(x, p)]


@pytest.mark.parametrize(("way", "anchor"), ASKED, ids=str)
def test_value(way: str, anchor: Anchor) -> None:
    value, _ = WAYS[way](anchor.spec, anchor.inputs, anchor.params)
    assert disagreements(value, anchor.value) == []


@pytest.mark.parametrize(("way", "anchor"), WITH_GRADIENT, ids=str)
def test_gradient(way: str, anchor: Anchor) -> None:
    value, gradient = WAYS[way](anchor.spec, anchor.inputs, anchor.params)
    assert value.size == 1
    for name, index, printed in anchor.gradient:
        assert disagreements(gradient[name][index], printed) == []


@pytest.mark.parametrize("way", ["reference", "class"])
@pytest.mark.parametrize(
    ("alpha", "printed"), [([0.25, 0.75], "0.554184719697"), ([0.0, 0.5], "0.673362363751")], ids=str
)
def test_focal_with_one_alpha_for_each_class(way: str, alpha: list[float], printed: str) -> None:
    value, _ = WAYS[way]("focal", FL, {"alpha": alpha})
    assert disagreements(value, printed) == []


# How a careless implementation goes wrong ---------------------------------------------------------------


def alpha_on_both(x: Tensor, q: Tensor, y: Tensor, gamma: float, alpha: float, weight_gradient: str) -> Tensor:
    """VFL with alpha on the positives as well as on the negatives."""
    weight = alpha * (x.sigmoid() ** gamma * (1 - y) + q * y)
    return (binary_cross_entropy_with_logits(x, q, reduction="none") * weight).mean(1).sum()


def guarded_bin(z: Tensor, target: Tensor, reg_max: int) -> Tensor:
    """DFL clamped at R - 1, with the right bin guarded instead of the distance."""
    t = target.clamp(0, reg_max - 1)
    left = t.floor().long()
    right = (left + 1).clamp(max=reg_max - 1)
    cost = -z.log_softmax(-1)
    costs = [cost.gather(1, k.reshape(-1, 1)).view(t.shape) for k in (left, right)]
    return (costs[0] * (left + 1 - t) + costs[1] * (t - left)).mean(-1, keepdim=True)


# Mistakes of the table that the impostors of a spec do not make in the same way.
CARELESS: dict[str, Callable[..., Tensor]] = {"alpha on both": alpha_on_both, "bin R guarded": guarded_bin}


class Mistake(NamedTuple):
    """A row of the table: what is asked, the right number and the one that the mistake gives."""

    row: int
    impostor: str
    spec: str
    inputs: Inputs
    right: str
    wrong: str
    params: Mapping[str, Any] = {}
    at: tuple[str, tuple[int, ...]] | None = None

    def __str__(self) -> str:
        return f"row {self.row}, {self.impostor}"

    def of(self, found: Found) -> float:
        """The number the row is about, out of value and gradient."""
        value, gradient = found
        return float(value.item() if self.at is None else gradient[self.at[0]][self.at[1]])


FIRST = ("pred", (0, 0, 0))
AT_ZERO = {"pred_score": [[[0]]], "gt_score": [[[0.25]]], "label": [[[1]]]}
MISTAKES = (
    Mistake(
        1, "weight detached", "varifocal", VFL, "0.0076172139331", "0.00276122293456", {}, ("pred_score", (0, 0, 1))
    ),
    Mistake(2, "mean over the last axis", "varifocal", VFL, "0.644873902", "0.967310853"),
    Mistake(3, "positives by q", "varifocal", VFL, "0.644873902", "0.644901223"),
    Mistake(3, "alpha on both", "varifocal", VFL, "0.644873902", "0.592991024"),
    Mistake(3, "against y", "varifocal", VFL, "0.644873902", "0.613623902"),
    Mistake(4, "factor detached", "focal", FL, "-0.0158552881702", "-0.00729840746404", {}, FIRST),
    Mistake(5, "p_t = exp(-bce)", "focal", FL, "0.517753364745", "0.518846215147"),
    Mistake(6, "alpha 0 as a weight", "focal", FL, "0.797151441", "0.636931009", {"alpha": 0.0}),
    Mistake(6, "alpha swapped", "focal", FL, "0.517753364745", "0.279398077"),
    # Logit 0: the gradient of bce is 0.5 - y, not 1 - y; q = 0.25 is target and weight.
    Mistake(7, "composed bce", "varifocal", AT_ZERO, "0.0625", "0.1875", {}, ("pred_score", (0, 0, 0))),
    # alpha 0.25, gamma 0, y = 1: 0.25 (0.5 - 1), and 0 for the composed one.
    Mistake(7, "composed bce", "focal", one(0, 1), "-0.125", "0", {"gamma": 0.0}, FIRST),
    Mistake(8, "bin R guarded", "dfl", SIDES, "2.9996569163", "3.0046569163", R4),
    Mistake(8, "weights swapped", "dfl", SIDES, "2.9996569163", "2.4471569163", R4),
    Mistake(8, "sum over the sides", "dfl", SIDES, "2.9996569163", "11.9986276652", R4),
    Mistake(15, "channels together", "dice", MASKS, "0.565135667740", "0.501360699"),
    Mistake(15, "images together", "dice", MASKS, "0.565135667740", "0.495542706"),
    # Empty target, P = 1/2 on two pixels: nothing stands above the fraction.
    Mistake(15, "smooth below only", "dice", TWO_PIXELS, "0.5", "1", {"smooth": 1.0}),
    # (0.611572055411 + 0.56513566774) / 2, from the anchors of bce and Dice.
    Mistake(15, "smooth 1e-6", "bce_dice", MASKS, "0.512576121619", "0.588353861576"),
    Mistake(16, "bilinear", "bce_dice", LARGER, "0.566687024435", "0.649798456909"),
    Mistake(16, "pixel centres", "bce_dice", LARGER, "0.566687024435", "0.94468995046"),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_right_number_and_not_the_mistaken_one(way: str, mistake: Mistake) -> None:
    got = mistake.of(WAYS[way](mistake.spec, mistake.inputs, mistake.params))
    assert agrees(got, mistake.right)
    assert not agrees(got, mistake.wrong)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_impostor_gives_the_mistaken_number(mistake: Mistake) -> None:
    """The careless version is the mistake that the table means, in float64 to the digits printed."""
    one_spec = spec_named(mistake.spec)
    impostors = {target.label: target.build for target in one_spec.impostors}
    careless = {label: partial(partial, function) for label, function in CARELESS.items()}
    full = {**one_spec.defaults(), **mistake.params}
    got = mistake.of(by_torch({**impostors, **careless}[mistake.impostor], mistake.spec, mistake.inputs, full))
    assert agrees(got, mistake.wrong)
    assert not agrees(got, mistake.right)


def test_alpha_attached_is_another_gradient() -> None:
    wrong, right = "0.0909112263913", "0.0912248911238"
    _, attached = by_torch(
        partial(partial, bbox_iou, CIoU=True), "ciou", P_XYXY, {"xywh": False, "eps": 1e-7, "alpha": "attached"}
    )
    assert agrees(attached["box1"][0, 0], wrong)
    for way in (by_reference, by_oracle):
        start = way("ciou", P_XYXY, XYXY)[1]["box1"][0, 0]
        assert agrees(start, right)
        assert not agrees(start, wrong)


# Boxes: what is said in words ---------------------------------------------------------------------------


def boxes(*rows: Any, dtype: torch.dtype = torch.float64, grad: bool = False) -> Tensor:
    return torch.tensor(rows, dtype=dtype, requires_grad=grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((3, 4), (3, 4), (3, 1)),
        ((3, 1, 4), (1, 5, 4), (3, 5, 1)),
        ((0, 4), (0, 4), (0, 1)),
        ((4,), (4,), (1,)),
        ((4,), (7, 4), (7, 1)),
        ((0, 1, 4), (1, 5, 4), (0, 5, 1)),
    ],
    ids=str,
)
def test_shapes_broadcast_and_keep_a_last_axis(kind: str, first: Any, second: Any, expected: Any) -> None:
    assert bbox_iou(torch.ones(first), torch.ones(second), **KINDS[kind]).shape == expected


def test_broadcast_pairs_are_the_single_ones() -> None:
    rows, columns = boxes(P1_CENTRE, P2_CENTRE), boxes(P2_CENTRE, (0, 0, 1, 9), P1_CENTRE)
    table = bbox_iou(rows[:, None], columns[None], CIoU=True)
    alone = [[bbox_iou(row, column, CIoU=True).item() for column in columns] for row in rows]
    assert table[..., 0].tolist() == alone


FLAG_SETS = [
    (giou, diou, ciou, "ciou" if ciou else "diou" if diou else "giou" if giou else "iou")
    for giou in (False, True)
    for diou in (False, True)
    for ciou in (False, True)
]


@pytest.mark.parametrize(("giou", "diou", "ciou", "winner"), FLAG_SETS)
def test_priority_of_the_flags(giou: bool, diou: bool, ciou: bool, winner: str) -> None:
    got = bbox_iou(boxes(P1), boxes(P2), xywh=False, GIoU=giou, DIoU=diou, CIoU=ciou).item()
    printed = {str(a.spec): a.value for a in BOX_ANCHORS if a.name == "xyxy"}
    assert [kind for kind, value in printed.items() if agrees(got, value)] == [winner]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("same", [SAME_XYXY, SAME_XYWH], ids=["xyxy", "xywh"])
def test_identical_boxes_are_exactly_one_in_float32(kind: str, same: Inputs) -> None:
    first, second = (torch.tensor(box, dtype=torch.float32) for box in same.values())
    assert bbox_iou(first, second, xywh=same is SAME_XYWH, **KINDS[kind]).item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("xywh", [False, True], ids=["xyxy", "xywh"])
def test_identical_boxes_in_half_precision(dtype: torch.dtype, kind: str, xywh: bool) -> None:
    """D9: 1 + eps rounds away in half precision, but nothing is computed there."""
    first, second = (boxes((2, 3, 3, 5), dtype=dtype, grad=True) for _ in range(2))
    value = bbox_iou(first, second, xywh=xywh, **KINDS[kind])
    assert value.dtype == dtype
    assert value.item() == 1.0
    for gradient in torch.autograd.grad(value.sum(), [first, second]):
        assert gradient.dtype == dtype
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.float64, torch.float64, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    ],
    ids=str,
)
def test_overlap_has_the_promoted_dtype(first: torch.dtype, second: torch.dtype, expected: torch.dtype) -> None:
    assert bbox_iou(boxes(P1_CENTRE, dtype=first), boxes(P2_CENTRE, dtype=second), CIoU=True).dtype == expected


NO_SIZE = pair((2, 3, 0, 0), P2_CENTRE)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_no_size_is_finite_without_the_aspect(way: str, kind: str) -> None:
    value, gradient = WAYS[way](kind, NO_SIZE, XYWH)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient["box1"]).all()


def test_no_size_has_no_ciou() -> None:
    """w / h is 0 / 0: the reference keeps the NaN, the oracle refuses to certify one."""
    assert np.isnan(by_reference("ciou", NO_SIZE, XYWH)[0]).all()
    with pytest.raises(Uncertified, match="no finite number"):
        by_oracle("ciou", NO_SIZE, XYWH)


@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_aspect_gradient_of_a_point_is_huge(way: str) -> None:
    value, gradient = WAYS[way]("ciou", pair((2.5, 3, 2.5, 3), P2), XYXY)
    assert np.isfinite(value).all()
    assert 1e5 < np.abs(gradient["box1"]).max() < 1e8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_disjoint_boxes_attract_each_other_except_by_iou(way: str, kind: str) -> None:
    _, gradient = WAYS[way](kind, DISJOINT, XYXY)
    assert np.any(gradient["box1"]) == np.any(gradient["box2"]) == (kind != "iou")


@pytest.mark.parametrize("way", ["reference", "oracle"])
def test_inverted_boxes_follow_the_formula(way: str) -> None:
    """Both boxes inverted in x and y: U = 4 + 3, C = 3, hence 7 / 3 - 1, up to eps."""
    value, _ = WAYS[way]("giou", pair((2, 2, 0, 0), (1.5, 2, 0, 0)), XYXY)
    assert value.item() == pytest.approx(4 / 3, rel=1e-6)


@pytest.mark.parametrize(("kind", "low"), [("iou", 0.0), ("giou", -1.0), ("diou", -1.0), ("ciou", -2.0)])
def test_range_of_valid_boxes(kind: str, low: float) -> None:
    """Up to rounding; a box without area is none: in xyxy its enclosing area may be eps alone."""
    cases = [c for c in material(spec_named(kind), "single", "quick", 3) if "box1=zero area" not in c.flags]
    values = [by_reference(kind, case.inputs, case.params)[0].item() for case in cases]
    assert low - 1e-12 <= min(values)
    assert max(values) <= 1 + 1e-12
    assert max(values) > 0.9, "no pair of boxes comes near the upper end"


@pytest.mark.parametrize("shape", [(3, 5), (3, 3), (2,), ()], ids=str)
@pytest.mark.parametrize("name", ["box1", "box2"])
def test_last_axis_other_than_four_is_refused(name: str, shape: tuple[int, ...]) -> None:
    given = {"box1": torch.ones(3, 4), "box2": torch.ones(3, 4), name: torch.ones(shape)}
    with pytest.raises(ValueError, match=name):
        bbox_iou(**given)


# Elementary losses: what is said in words ---------------------------------------------------------------

f64, f32, f16, bf16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
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
    ("dice", [f16, f16], f16),
    ("dice", [bf16, torch.int64], bf16),
    ("dice", [f32, torch.bool], f32),
    ("dice", [f32, f64], f64),
    ("dice", [f64, torch.int64], f64),
    ("bce_dice", [f16, f16], f16),
    ("bce_dice", [f32, f64], f64),
    ("bce_dice", [f64, f32], f64),
    ("dfl", [f16, f16], f16),
    ("dfl", [bf16, bf16], bf16),
    ("dfl", [f32, f64], f64),
    ("dfl", [f64, f32], f64),
]
EXAMPLE: dict[str, Inputs] = {
    "varifocal": {**VFL, "gt_score": VFL_Y},
    "focal": FL,
    "dice": MASKS,
    "bce_dice": MASKS,
    "dfl": {"pred_dist": np.zeros((4, 16)).tolist(), "target": [(0.25, 1.5, 5, -1)]},
}


@pytest.mark.parametrize(("name", "given", "expected"), DTYPES, ids=str)
def test_dtype_of_the_result(name: str, given: list[torch.dtype], expected: torch.dtype) -> None:
    """D8 and D9: promoted, and half precision gives what upstream gives it."""
    inputs = [torch.tensor(x).to(dtype) for x, dtype in zip(EXAMPLE[name].values(), given, strict=True)]
    out = CLASSES[name]()(*inputs)
    assert out.dtype == expected
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("default", [f32, f64], ids=str)
def test_float64_is_not_narrowed_by_the_default_dtype(name: str, default: torch.dtype) -> None:
    printed = {"varifocal": "0.644873902033", "focal": "0.517753364745", "dice": "0.56513566774"}
    printed |= {"bce_dice": "0.512576121619", "dfl": "2.9996569163"}
    inputs = {"varifocal": VFL, "focal": FL, "dice": MASKS, "bce_dice": MASKS, "dfl": SIDES}[name]
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        value, _ = by_class(name, inputs, R4 if name == "dfl" else {})
    finally:
        torch.set_default_dtype(before)
    assert disagreements(value, printed[name]) == []


@pytest.mark.parametrize("name", CLASSES)
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
    ("dice", [(0, 2, 3, 3)] * 2, {}, True),
    ("dice", [(2, 0, 3, 3)] * 2, {}, True),
    ("dice", [(2, 2, 0, 3)] * 2, {}, False),
    ("dice", [(2, 2, 3, 0)] * 2, {}, False),
    ("dice", [(0, 2, 3, 3)] * 2, {"reduction": "sum"}, False),
]


@pytest.mark.parametrize(("name", "shapes", "params", "nan"), EMPTY, ids=str)
def test_empty_axis_gives_zero_or_nan(name: str, shapes: Any, params: Any, nan: bool) -> None:
    out = CLASSES[name](**params)(*(torch.zeros(shape) for shape in shapes))
    assert out.shape == ()
    assert np.isnan(out.item()) if nan else out.item() == 0.0


def test_no_side_at_all_gives_no_loss() -> None:
    assert DFLoss()(torch.zeros(0, 16), torch.zeros(0, 4)).shape == (0, 1)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


whole, truth_values = torch.int64, torch.bool
REFUSED: list[tuple[str, str, Any, list[Tensor], type[Exception]]] = [
    ("one axis", "varifocal", {}, [zeros(3)] * 3, IndexError),
    (
        "boolean label",
        "varifocal",
        {},
        [zeros(1, 3, 2), zeros(1, 3, 2), zeros(1, 3, 2, dtype=truth_values)],
        RuntimeError,
    ),
    ("quality of another shape", "varifocal", {}, [zeros(1, 3, 2), zeros(1, 1, 2), zeros(1, 3, 2)], ValueError),
    ("one axis", "focal", {}, [zeros(3)] * 2, IndexError),
    ("integer label", "focal", {}, [zeros(1, 3, 2), zeros(1, 3, 2, dtype=whole)], RuntimeError),
    ("boolean label", "focal", {}, [zeros(1, 3, 2), zeros(1, 3, 2, dtype=truth_values)], RuntimeError),
    ("labels of another shape", "focal", {}, [zeros(1, 3, 2), zeros(1, 1, 2)], ValueError),
    ("NaN target", "dfl", {}, [zeros(4, 16), torch.tensor([[1.0, 2.0, float("nan"), 3.0]])], IndexError),
    ("R = 1", "dfl", {"reg_max": 1}, [zeros(4, 1), zeros(1, 4)], IndexError),
    ("R = 1, large target", "dfl", {"reg_max": 1}, [zeros(4, 1), zeros(1, 4) + 5], IndexError),
    ("integer target", "dfl", {}, [zeros(4, 16), zeros(1, 4, dtype=whole)], RuntimeError),
    ("row count", "dfl", {}, [zeros(3, 16), zeros(1, 4)], ValueError),
    ("too few bins reached", "dfl", {}, [zeros(4, 8), zeros(1, 4) + 7.5], IndexError),
    ("unequal shapes", "dice", {}, [zeros(1, 2, 3, 3), zeros(1, 2, 3, 4)], AssertionError),
    ("three axes", "dice", {}, [zeros(2, 3, 3)] * 2, IndexError),
    ("five axes", "dice", {}, [zeros(1, 1, 2, 3, 3)] * 2, IndexError),
    ("channels", "bce_dice", {}, [zeros(1, 2, 3, 3), zeros(1, 1, 3, 3)], ValueError),
    ("images", "bce_dice", {}, [zeros(2, 2, 3, 3), zeros(1, 2, 3, 3)], ValueError),
    ("three axes", "bce_dice", {}, [zeros(1, 2, 3, 3), zeros(2, 3, 3)], ValueError),
    ("integer target", "bce_dice", {}, [zeros(1, 2, 3, 3), zeros(1, 2, 3, 3, dtype=whole)], RuntimeError),
    ("integer target, resampled", "bce_dice", {}, [zeros(1, 2, 3, 3), zeros(1, 2, 6, 6, dtype=whole)], RuntimeError),
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
        value, _ = way("varifocal", inputs, {"gamma": 0.0, "alpha": 0.5})
        assert value.item() == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("name", ["varifocal", "focal"])
def test_two_axes_are_averaged_over_the_last(name: str) -> None:
    inputs = {"varifocal": VFL, "focal": FL}[name]
    flat = {key: x[0] for key, x in inputs.items()}
    deep = {key: [np.transpose(x[0]).tolist()] for key, x in inputs.items()}
    assert by_reference(name, flat, {})[0].item() == pytest.approx(by_reference(name, deep, {})[0].item(), rel=1e-14)


ATTRIBUTES: list[tuple[Any, dict[str, Any]]] = [
    (VarifocalLoss(), {"gamma": 2.0, "alpha": 0.75}),
    (VarifocalLoss(1.5, 0.25), {"gamma": 1.5, "alpha": 0.25}),
    (FocalLoss(), {"gamma": 1.5}),
    (DFLoss(), {"reg_max": 16}),
    (DFLoss(8), {"reg_max": 8}),
    (MultiChannelDiceLoss(), {"smooth": 1e-6, "reduction": "mean"}),
    (MultiChannelDiceLoss(0.5, "sum"), {"smooth": 0.5, "reduction": "sum"}),
    (BCEDiceLoss(), {"weight_bce": 0.5, "weight_dice": 0.5}),
    (BCEDiceLoss(1.0, 2.0), {"weight_bce": 1.0, "weight_dice": 2.0}),
    (BCEDiceLoss().dice, {"smooth": 1.0, "reduction": "mean"}),
    (BCEDiceLoss().bce, {"reduction": "mean"}),
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


def test_dfl_has_no_forward() -> None:
    with pytest.raises(NotImplementedError):
        DFLoss().forward(zeros(4, 16), zeros(1, 4))


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
def test_dfl_leaves_its_target_alone(dtype: torch.dtype) -> None:
    """QE4 is not reproduced: (5, -1) stays, and a leaf that wants a gradient is accepted."""
    target = torch.tensor(SIDES["target"], dtype=dtype, requires_grad=True)
    DFLoss(4)(torch.tensor(Z, dtype=dtype), target).sum().backward()
    assert target.tolist() == [[0.25, 1.5, 5, -1]]


def test_dfl_gradient_to_the_target() -> None:
    """ce(k + 1) - ce(k) = z_k - z_(k+1) over the four sides; nothing beyond the bounds."""
    target = torch.tensor(SIDES["target"], dtype=f64, requires_grad=True)
    DFLoss(4)(torch.tensor(Z, dtype=f64), target).sum().backward()
    assert target.grad is not None
    assert disagreements(target.grad, f"{1.5 / 4} {0.625 / 4} 0 0") == []


@pytest.mark.parametrize("dtype", [f64, f32, f16, bf16], ids=str)
@pytest.mark.parametrize("far", [15.0, 20.0, float("inf")])
def test_dfl_target_beyond_the_bound_is_clamped(far: float, dtype: torch.dtype) -> None:
    """Also in bfloat16, where the bound itself rounds to 15 (D9)."""
    logits = torch.arange(64).reshape(4, 16).to(dtype) / 16
    at_bound = DFLoss()(logits.to(f32 if dtype != f64 else f64), torch.full((1, 4), 14.99, dtype=f64)).to(dtype)
    got = DFLoss()(logits, torch.full((1, 4), far, dtype=dtype))
    assert got.dtype == dtype
    assert got.item() == pytest.approx(at_bound.item(), rel=2 * torch.finfo(dtype).eps)


def test_dfl_extra_bins_join_the_softmax() -> None:
    """Twice as many equal bins: ln 32 instead of ln 16."""
    got = DFLoss()(torch.zeros(4, 32, dtype=f64), torch.full((1, 4), 3.5, dtype=f64))
    assert got.item() == pytest.approx(np.log(32), rel=1e-15)


def test_dfl_fewer_bins_are_enough_where_none_is_missing() -> None:
    got = DFLoss()(torch.zeros(4, 8, dtype=f64), torch.full((1, 4), 6.5, dtype=f64))
    assert got.item() == pytest.approx(np.log(8), rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
def test_dice_takes_masks_of_any_real_dtype(dtype: torch.dtype) -> None:
    got = MultiChannelDiceLoss()(torch.tensor(PRED, dtype=f64), torch.tensor(MASK).to(dtype))
    assert disagreements(got, "0.56513566774") == []


def test_dice_of_nothing_with_no_smoothing_is_nan() -> None:
    nothing = torch.full((1, 1, 2, 2), -800.0, dtype=f64)
    assert np.isnan(MultiChannelDiceLoss(smooth=0.0)(nothing, torch.zeros_like(nothing)).item())


def picked(height: int, larger: int, row: int) -> list[int]:
    """Rows of a prediction that take the given row of a target, read off the gradient of the cross entropy."""
    pred = torch.zeros(1, 1, height, 1, dtype=f64, requires_grad=True)
    target = torch.zeros(1, 1, larger, 1, dtype=f64)
    target[0, 0, row] = 1
    BCEDiceLoss(weight_dice=0.0)(pred, target).backward()
    assert pred.grad is not None
    return [i for i, slope in enumerate(pred.grad.flatten().tolist()) if slope < 0]


@pytest.mark.parametrize(
    ("height", "larger", "row", "rows"),
    [
        (2, 4, 0, [0]),
        (2, 4, 2, [1]),
        (2, 4, 1, []),
        (4, 2, 1, [2, 3]),
        (22, 26, 13, [11]),
        (22, 26, 12, []),
        (24, 200, 125, [15]),
        (24, 200, 124, []),
    ],
    ids=str,
)
def test_bce_dice_resamples_with_the_exact_floor(height: int, larger: int, row: int, rows: list[int]) -> None:
    """Output pixel i takes floor(i h' / h); 22 of 26 and 24 of 200 are pairs that a float ratio gets wrong."""
    assert [i for i in range(height) if i * larger // height == row] == rows
    assert picked(height, larger, row) == rows


def test_bce_dice_picks_what_the_specification_lists() -> None:
    """Picked values 1,0,0,0 | 0,1,1,0: where the cross entropy pulls the prediction up."""
    _, gradient = by_reference("bce_dice", LARGER, {"weight_bce": 1.0, "weight_dice": 0.0})
    assert (gradient["pred"] < 0).ravel().tolist() == [bool(x) for x in (1, 0, 0, 0, 0, 1, 1, 0)]
