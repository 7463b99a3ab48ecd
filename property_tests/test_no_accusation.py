"""No correct code is accused of what its spec does not say: each kind beside a wrong one that still fails."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossref.checks import ability, table
from lossref.checks.cases.limits import limited
from lossref.checks.evidence import Evidence
from lossref.core.nouns import Target, Verdict
from lossref.hosts.worker.carry import terms_of
from lossref.losses import spec
from lossref.oracle import budgets
from lossref.targets.dropin.own import Own
from lossref.targets.marks import Mark, marks, target
from lossref.targets.resolve import UnknownTarget, declared, ready

INNOCENT = ("pass", "unsupported")


def judged(function: Callable[..., Any], mark: Mark, check: str, dtype: str = "") -> Verdict:
    """The verdict of one check on a function."""
    one, loss, made = table.named(check), spec(mark.spec), declared(function, mark, "")
    return table.check(one, loss, made, table.cases_for(one, loss, made, "quick", 0), dtype or one.dtypes[-1])[0]


# Correct ones, and beside each a wrong one ---------------------------------------------------------------


def mask_of_kept(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
    """An object without area is not looked at, so that a NaN in its coefficients vanishes."""
    x = torch.einsum("im,mhw->ihw", pred, proto)
    c, r = torch.arange(x.shape[2]).to(xyxy)[None, None], torch.arange(x.shape[1]).to(xyxy)[None, :, None]
    x1, y1, x2, y2 = (side[:, None, None] for side in xyxy.unbind(-1))
    cost = F.binary_cross_entropy_with_logits(x, gt_mask, reduction="none") * ((c >= x1) & (c < x2))
    each = (cost * ((r >= y1) & (r < y2))).mean((1, 2))
    return (each[area > 0] / area[area > 0]).sum()


def mask_without_nan(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
    return mask_of_kept(gt_mask, pred.nan_to_num(), proto, xyxy, area)


def corners_only(distance: Tensor, anchor_points: Tensor) -> Tensor:
    return torch.cat((anchor_points - distance[:, :2], anchor_points + distance[:, 2:]), -1)


def kinked_corners(distance: Tensor, anchor_points: Tensor) -> Tensor:
    return corners_only(distance.clamp(min=0), anchor_points)


def iou_of_rows(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """Takes (n, 4), and no other shape."""
    assert box1.ndim == box2.ndim == 2
    assert box1.shape == box2.shape
    assert box1.shape[1] == 4
    found: Tensor = spec("iou").reference(box1, box2, xywh=False, eps=eps)
    return found


def iou_by_column(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """Gives something for other shapes, of which nothing is said."""
    return iou_of_rows(box1, box2, eps) if box1.ndim == 2 == box2.ndim else box1.sum() + box2.sum()


def iou_flat(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    return iou_of_rows(box1, box2, eps)[:, 0]


def iou_of_integers(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    whole = not (box1.is_floating_point() and box2.is_floating_point())
    return torch.full((len(box1), 1), torch.nan) if whole else iou_of_rows(box1, box2, eps)


def iou_truncated(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    return iou_of_rows(box1, box2, eps) if box1.is_floating_point() else iou_of_rows(box1 * 1.0, box2 * 1.0).floor()


def dist2rbox_of_slices(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    """Three distances broadcast to something, of which nothing is said."""
    near, far, angle = pred_dist[..., :2], pred_dist[..., 2:], pred_angle[..., 0]
    x, y = ((far - near) / 2).expand(*near.shape).unbind(-1)
    turned = torch.stack((x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()), -1)
    return torch.cat((anchor_points + turned, (near + far)), -1)


def dist2rbox_without_nan(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox_of_slices(pred_dist.nan_to_num(), pred_angle, anchor_points)


def focal_of_one_shape(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    found: Tensor = spec("focal").reference(pred, label, gamma=gamma, alpha=alpha)
    return found


def focal_of_rows(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    """Takes what both have, where labels and logits are to be of one shape."""
    both = [slice(0, min(sizes)) for sizes in zip(pred.shape, label.shape, strict=True)]
    return focal_of_one_shape(pred[both], label[both], gamma, alpha)


def probiou_of_angle_between(obb1: Tensor, obb2: Tensor, eps: float = 1e-7) -> Tensor:
    """Determinants without what cancels in a b - c^2: nearer to the truth than the reference, for thin boxes."""
    (x, y, *first), (x2, y2, *second) = obb1.unbind(-1), obb2.unbind(-1)
    (a, b, r), (c, d, q) = ((w * w / 12, h * h / 12, angle) for w, h, angle in (first, second))
    cos, sin = (r - q).cos() ** 2, (r - q).sin() ** 2
    delta = a * b + c * d + (a * d + b * c) * cos + (a * c + b * d) * sin
    xx = a * r.cos() ** 2 + b * r.sin() ** 2 + c * q.cos() ** 2 + d * q.sin() ** 2
    xy = (a - b) * r.cos() * r.sin() + (c - d) * q.cos() * q.sin()
    u, v = x - x2, y - y2
    form = xx * v * v + (a + b + c + d - xx) * u * u - 2 * xy * u * v
    shape = (delta / (4 * (a * b * c * d).sqrt() + eps) + eps).log() / 2
    bd = (form / (4 * (delta + eps)) + shape).clamp(eps, 100.0)
    return (1 - (1 - (-bd).exp() + eps).sqrt())[:, None]


def probiou_a_little_off(obb1: Tensor, obb2: Tensor, eps: float = 1e-7) -> Tensor:
    return probiou_of_angle_between(obb1, obb2, eps) * (1 + (1e-12 if obb1.dtype == torch.float64 else 1e-4))


def giou_as_zero(box1: Tensor, box2: Tensor, xywh: bool = False) -> Tensor:
    """At an eps of 0 gives a number where the formula has none (two points)."""
    return spec("giou").reference(box1, box2, xywh=xywh, eps=0.0).nan_to_num(nan=0.25)


def giou_never_nan(box1: Tensor, box2: Tensor, xywh: bool = False) -> Tensor:
    return giou_as_zero(box1, box2, xywh) * 1.01


def focal_of_hard(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    """Right where every label is 0 or 1."""
    one = label > 0.5
    missed, cost = torch.where(one, -pred, pred).sigmoid(), F.softplus(torch.where(one, -pred, pred))
    weight = torch.where(one, alpha, 1 - alpha).to(pred) if alpha > 0 else 1.0
    return (cost * missed**gamma * weight).mean(1).sum()


def focal_of_hard_without_balance(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
    return focal_of_hard(pred, label, gamma, 0.0)


CORNERS, KEPT = Mark("dist2bbox", {"xywh": False}), Mark("mask")
ROWS, HARD = Mark("iou", {"xywh": False}), Mark("focal", {"soft_labels": "interpolated"}, only={"label": "hard"})
TURNED = Mark("probiou", {"CIoU": False})
NO_EPS = Mark("giou", {"eps": 0.0})
PAIRS = [
    pytest.param(mask_of_kept, KEPT, "refuses", mask_without_nan, id="a NaN of an object without area"),
    pytest.param(corners_only, CORNERS, "kinks", None, id="no kink in the declared notation"),
    pytest.param(corners_only, CORNERS, "value", kinked_corners, id="the same loss, checked otherwise"),
    pytest.param(iou_of_rows, ROWS, "shape", iou_flat, id="refuses to broadcast"),
    pytest.param(iou_by_column, ROWS, "shape", iou_flat, id="broadcasts in its own way"),
    pytest.param(iou_of_integers, ROWS, "refuses", iou_truncated, id="NaN for integers"),
    pytest.param(dist2rbox_of_slices, Mark("dist2rbox"), "refuses", dist2rbox_without_nan, id="a shape nobody stated"),
    pytest.param(focal_of_one_shape, Mark("focal"), "refuses", focal_of_rows, id="a shape that is refused"),
    pytest.param(
        probiou_of_angle_between, TURNED, "varied", probiou_a_little_off, id="nearer to the truth than the reference"
    ),
    pytest.param(giou_as_zero, NO_EPS, "bulk", giou_never_nan, id="0 / 0 in bulk"),
    *(
        pytest.param(focal_of_hard, HARD, check, wrong, id=f"hard labels only, {check}")
        for check, wrong in (
            ("value", focal_of_hard_without_balance),
            ("reduced", focal_of_hard_without_balance),
            ("bulk", focal_of_hard_without_balance),
            ("params", None),
            ("refuses", None),
            ("laws", None),
        )
    ),
]


@pytest.mark.parametrize(("right", "mark", "check", "wrong"), PAIRS)
def test_right_code_is_not_accused(
    right: Callable[..., Any], mark: Mark, check: str, wrong: Callable[..., Any] | None
) -> None:
    for dtype in table.named(check).dtypes:
        found = judged(right, mark, check, dtype)
        assert found.status in INNOCENT, found.note
        assert wrong is None or judged(wrong, mark, check, dtype).status == "fail"


def test_what_cannot_be_certified_is_no_accusation(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 a case that is too large for the oracle is left out, where rounding may be all that is wrong."""
    monkeypatch.setattr(budgets, "CERTIFIED", 0)
    found = judged(probiou_of_angle_between, TURNED, "varied", "float64")
    assert found.status == "pass"
    assert found.left_out > 0


def test_a_class_that_is_asked_like_its_public_class_can_be_copied() -> None:
    """A copy is asked for its methods before it has anything, and then has no loss to pass the question to."""
    blank = Own.__new__(Own)
    assert not hasattr(blank, "__setstate__")
    assert isinstance(copy.deepcopy(blank), Own)


def test_nothing_to_examine_says_why() -> None:
    found = judged(corners_only, CORNERS, "kinks")
    assert (found.status, found.examined) == ("unsupported", 0)
    assert "under xywh=False" in found.note


# Terms ---------------------------------------------------------------------------------------------------

V3, V5, ZERO = torch.arange(1.0, 4.0), torch.arange(1.0, 6.0), torch.zeros(3)
SIX, FOUR, RLE = tuple("abcdef"), tuple("abcd"), ("f",)
RETURNED = [
    pytest.param((V5, V5), SIX, RLE, (1, 2, 3, 4, 5, 0), id="five without a flow, with items"),
    pytest.param(V5, SIX, RLE, (1, 2, 3, 4, 5, 0), id="five without a flow"),
    pytest.param(tuple(range_ for range_ in V5), SIX, ("c",), (1, 2, 0, 3, 4, 5), id="an absent one in the middle"),
    pytest.param((V3[0], V3), FOUR, (), (1, 1, 2, 3), id="0-d and three items"),
    pytest.param((V3[:1], V3), FOUR, (), (1, 1, 2, 3), id="a vector of one and three items"),
    pytest.param((ZERO, V3 * 0), FOUR, (), (0, 0, 0, 0), id="nothing to train"),
    pytest.param((V3, V3), tuple("abc"), (), (1, 2, 3), id="a vector and its items"),
    pytest.param((V3, -V3), SIX, (), (1, 2, 3, -1, -2, -3), id="a vector and items that are terms"),
    pytest.param(V5, SIX, (), None, id="five where six are expected"),
    pytest.param((V3, V3), FOUR, (), None, id="three where four are expected"),
    pytest.param((V3[0], V5), FOUR, (), None, id="five items where three are expected"),
]


@pytest.mark.parametrize(("out", "terms", "absent", "want"), RETURNED)
def test_terms_are_taken_as_the_spec_says(
    out: Any, terms: tuple[str, ...], absent: tuple[str, ...], want: tuple[float, ...] | None
) -> None:
    if want is None:
        with pytest.raises(TypeError, match="results, expected"):
            terms_of(out, terms, absent)
    else:
        assert tuple(float(one) for one in terms_of(out, terms, absent)) == want


def test_only_a_loss_without_flow_lacks_a_term() -> None:
    absent, usual = spec("pose26").absent, spec("pose26").defaults()
    assert absent({**usual, "flow": False}) == ("rle",)
    assert absent(usual) == ()


# Numbers -------------------------------------------------------------------------------------------------


def test_a_budget_is_never_below_the_last_place() -> None:
    truth = np.array([2.0e17, -1.0, 0.0, 3.0e30])
    for dtype, kind in (("float64", np.float64), ("float32", np.float32)):
        place = np.spacing(np.abs(truth.astype(kind))).astype(np.float64)
        room = budgets.last_places(truth, dtype)
        assert (room[truth != 0] >= place[truth != 0]).all()
        assert (room <= 8 * place).all()


def test_huge_numbers_may_differ_in_the_last_place() -> None:
    loss, one = spec("xywh2xyxy"), table.named("value")
    case = table.cases_for(one, loss, declared(loss.reference, Mark(loss.name), ""), "quick", 0)[0]
    huge = replace(case, inputs={"x": np.full((1, 4), 2.0e17)}, id="huge")

    def scaled(factor: float) -> Evidence:
        made = declared(lambda x: loss.reference(x) * factor, Mark(loss.name), "")
        return table.examine(one, loss, made, huge, "float64")

    assert not scaled(1 + 2.0**-52).problem
    assert scaled(1 + 2.0**-45).problem


# What a target cannot do ---------------------------------------------------------------------------------


def iou_in_float32(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    return iou_of_rows(box1, box2, eps) @ torch.ones(1, 1)


def iou_never(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    raise ValueError("never")


def iou_of_disjoint_raises(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    found = iou_of_rows(box1, box2, eps)
    if box1.dtype == torch.float64 and not found.any():
        raise ValueError("nothing in common")
    return found


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (iou_in_float32, "cannot compute in float64: RuntimeError: "),
        (iou_of_rows, ""),
        (iou_never, ""),
        (iou_of_disjoint_raises, ""),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_dtype_that_a_target_cannot_do_is_said_once(function: Callable[..., Any], says: str) -> None:
    loss, made = spec("iou"), declared(function, ROWS, "")
    said = ability.cannot(loss, made, "float64")
    assert said.startswith(says) if says else not said
    assert not ability.cannot(loss, made, "float32")


def test_rows_of_that_dtype_are_judged_in_the_other_one() -> None:
    unable = {"float64": "cannot compute in float64: ..."}
    found = {name: ability.judged_in(table.named(name), "float64", unable) for name in ("value", "params", "laws")}
    assert found == {"value": "", "params": "float32", "laws": "float32"}
    assert ability.judged_in(table.named("value"), "float32", unable) == "float32"
    assert ability.judged_in(table.named("value"), "float64", {}) == "float64"
    loss, one, made = spec("iou"), table.named("params"), declared(iou_in_float32, ROWS, "")
    cases = ability.fair(one, loss, table.cases_for(one, loss, made, "quick", 0), "float32")
    assert cases
    assert table.check(one, loss, made, cases, "float32")[0].status == "pass"


def test_the_notation_of_what_computes_in_float32_only_is_found_out() -> None:
    made = ready(declared(iou_in_float32, Mark("iou"), ""))
    assert made.fixed["xywh"] is False
    assert "which it follows" in made.note


# only= ---------------------------------------------------------------------------------------------------


def test_only_is_declared_with_the_decorator_and_noted() -> None:
    @target("focal", only={"label": "hard"}, soft_labels="interpolated")
    def mine(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
        return focal_of_hard(pred, label, gamma, alpha)

    (mark,) = marks(mine)
    made = ready(declared(mine, mark, ""))
    assert made.only == {"label": "hard"}
    assert "only where label is hard" in made.note


@pytest.mark.parametrize(
    ("only", "families"),
    [({"label": "hard"}, ["hard"]), ({"label": "all"}, ["all zero", "all one"]), ({"pred": "88"}, ["+-88"])],
)
def test_only_restricts_the_draw(only: Mapping[str, str], families: list[str]) -> None:
    loss = spec("focal")
    made = replace(declared(focal_of_hard, Mark("focal"), ""), only=only)
    (name,) = only
    assert list(limited(loss, made).inputs[name].families) == families
    assert limited(loss, made) is limited(loss, made)
    assert limited(loss, replace(made, only={})) is loss
    drawn = {flag for case in _cases(made) for flag in case.flags if flag.startswith(f"{name}=")}
    assert drawn == {f"{name}={family}" for family in families}
    if only == {"label": "hard"}:
        assert all(np.isin(case.inputs["label"], (0, 1)).all() for case in _cases(made))


def _cases(made: Target) -> list[Any]:
    return [case for one in table.CHECKS for case in table.cases_for(one, spec("focal"), made, "quick", 0)]


@pytest.mark.parametrize(
    ("only", "said"),
    [({"labels": "hard"}, "has no input 'labels'"), ({"label": "crisp"}, "no family 'crisp'.*hard, all zero")],
)
def test_only_names_what_there_is(only: Mapping[str, str], said: str) -> None:
    with pytest.raises(UnknownTarget, match=said):
        declared(focal_of_hard, Mark("focal", only=only), "")


# Within one case nothing hides behind what fails before it -----------------------------------------------


def iou_wrong_twice(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """Its value is wrong, box2 has no gradient, and it writes to both."""
    found = spec("iou").reference(box1, box2.detach(), xywh=False, eps=eps)
    box1.data[0, 0] += 0.5
    box2.data[0, 0] += 0.5
    return found.detach() * 1.5 + found - found.detach()


@pytest.mark.parametrize(
    ("check", "kinds"),
    [
        ("reduced", {"value iou", "no gradient box2"}),
        ("pure", {"writes box1", "writes box2"}),
    ],
)
def test_what_fails_first_hides_nothing(check: str, kinds: set[str]) -> None:
    one, loss, made = table.named(check), spec("iou"), declared(iou_wrong_twice, ROWS, "")
    cases = table.cases_for(one, loss, made, "quick", 0)[-1:]
    found = {problem.kind for case in cases for problem in table.examine(one, loss, made, case, "float32").problems}
    assert len(kinds & found) == len(kinds), found
