"""Every number and edge case of spec/50-detr.md, and of spec/20-assignment.md section 4.

Also their quirks and rows of the tables of mistakes, and D8 to D11 and D13 of spec/05-decisions.md. Where the
specification prints a measured and an exact value, the exact one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.losses.detr.cases import FOUR, NONE, ONE, THREE, fixture
from lossref.losses.detr.detr import SPEC, DETRLoss, detr
from lossref.losses.detr.hungarian import HungarianMatcher, hungarian
from lossref.losses.detr.impostors import Steps, layer_by_layer
from lossref.losses.detr.layers import dn_positions
from lossref.losses.detr.matching import Costs, match, prices
from lossref.losses.detr.matching_oracle import oracle_best, oracle_cost
from lossref.losses.detr.rtdetr import RTDETRDetectionLoss, rtdetr
from lossref.oracle.tape import Tape, Tie, precision
from shared.digits import close

Dict = dict[str, Any]
NAMES = ["loss_class", "loss_bbox", "loss_giou", "loss_class_aux", "loss_bbox_aux", "loss_giou_aux"]
GAINS = {"class": 2, "bbox": 5, "giou": 2}


def leaves(
    layers: int = 3, queries: int = 5, classes: int = 3, scale: float = 1.0, dtype: Any = torch.float64
) -> list[Tensor]:
    """Predictions of fixture G that require a gradient."""
    return [torch.tensor(x, dtype=dtype).requires_grad_() for x in fixture(layers, queries, classes, scale).values()]


def batch_of(them: Mapping[str, Any], images: int = 2, dtype: Any = torch.float64) -> Dict:
    """The dictionary that upstream's trainer passes."""
    groups = torch.bincount(torch.tensor(them["batch_idx"], dtype=torch.int64), minlength=images).tolist()
    boxes = torch.tensor(np.asarray(them["bboxes"]), dtype=dtype)
    return {"cls": torch.tensor(them["cls"], dtype=torch.int64), "bboxes": boxes, "gt_groups": groups}


def pairs(found: Any) -> list[tuple[list[int], list[int]]]:
    return [(queries.tolist(), objects.tolist()) for queries, objects in found]


# HungarianMatcher -----------------------------------------------------------------------------------------

BOXES = torch.tensor([[[0.5, 0.5, 0.25, 0.25], [0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.25, 0.5]]], dtype=torch.float64)
LOGITS = torch.tensor([[[0, 1], [2, -1], [-1, 0.5]]], dtype=torch.float64)
GT = torch.tensor([[0.5, 0.5, 0.5, 0.25], [0.25, 0.375, 0.5, 0.25]], dtype=torch.float64)
CLS = torch.tensor([1, 0])
COST_TABLE = [
    (True, "1.20852740295 5.3032282396 6.41846214762 0.400785009829 5.53195501112 8.79908971822"),
    (False, "0.787883642739 4.938632187 6.00666334427 0.969852146355 4.42913670051 8.11729161361"),
]


@pytest.mark.parametrize(("use_fl", "printed"), COST_TABLE)
def test_the_cost_table(use_fl: bool, printed: str) -> None:
    costs = Costs(2, 5, 2, use_fl)
    close(prices(BOXES[None], LOGITS[None], GT, CLS, torch.tensor([0, 0]), costs)[0].T, printed)
    with precision(128):
        m = Tape()
        box, logits, gt = ([[m.number(x) for x in row] for row in t.tolist()] for t in (BOXES[0], LOGITS[0], GT))
        gains = (2, 5, 2, use_fl, 0.25, 2.0, 1e-7)
        found = [oracle_cost(m, box[i], logits[i], gt[j], int(CLS[j]), *gains) for i in range(3) for j in range(2)]
        close([float(number.value) for number in found], printed)


@pytest.mark.parametrize("use_fl", [True, False])
def test_the_worked_matching(use_fl: bool) -> None:
    found = HungarianMatcher(GAINS, use_fl)(BOXES, LOGITS, GT, CLS, [2])
    assert pairs(found) == [([0, 1], [0, 1])]
    assert {x.dtype for x in found[0]} == {torch.int64}


def test_three_images_the_second_without_objects() -> None:
    found = HungarianMatcher()(BOXES.expand(3, -1, -1), LOGITS.expand(3, -1, -1), GT, CLS, [1, 0, 1])
    assert pairs(found) == [([0], [0]), ([], []), ([1], [1])]
    assert found[1][0].dtype == torch.int64


def test_matching_of_fixture_g_by_layer() -> None:
    boxes, scores = leaves()
    batch = batch_of(THREE)
    found = [
        DETRLoss(nc=3).matcher(b, s, batch["bboxes"], batch["cls"], batch["gt_groups"])
        for b, s in zip(boxes, scores, strict=True)
    ]
    assert [pairs(one) for one in found] == [
        [([1, 4], [0, 1]), ([4], [2])],
        [([1, 3], [1, 0]), ([1], [2])],
        [([1, 4], [1, 0]), ([3], [2])],
    ]


def test_objects_are_counted_over_the_batch_and_images_are_solved_alone() -> None:
    """Table of mistakes, row 12: groups [1, 2]."""
    boxes = torch.cat([GT[1:], GT])
    found = HungarianMatcher(GAINS)(
        BOXES.expand(2, -1, -1), LOGITS.expand(2, -1, -1), boxes, torch.tensor([0, 1, 0]), [1, 2]
    )
    assert pairs(found) == [([1], [0]), ([0, 1], [1, 2])]


def test_defaults_of_the_matcher() -> None:
    matcher = HungarianMatcher()
    assert matcher.cost_gain == {"class": 1, "bbox": 5, "giou": 2, "mask": 1, "dice": 1}
    assert (matcher.use_fl, matcher.with_mask, matcher.num_sample_points) == (True, False, 12544)
    assert (matcher.alpha, matcher.gamma) == (0.25, 2.0)
    inner = DETRLoss(gamma=3.0, alpha=0.75, use_fl=False).matcher
    assert (inner.cost_gain, inner.alpha, inner.gamma, inner.use_fl) == (GAINS, 0.25, 2.0, True)


@pytest.mark.parametrize("missing", ["class", "bbox", "giou"])
def test_a_missing_gain_is_a_key_error(missing: str) -> None:
    with pytest.raises(KeyError):
        HungarianMatcher({k: v for k, v in GAINS.items() if k != missing})(BOXES, LOGITS, GT, CLS, [2])


def test_no_object_gives_empty_pairs() -> None:
    found = HungarianMatcher()(BOXES.expand(3, -1, -1), LOGITS.expand(3, -1, -1), GT[:0], CLS[:0], [0, 0, 0])
    assert pairs(found) == [([], [])] * 3
    assert {x.dtype for pair in found for x in pair} == {torch.int64}


def test_more_objects_than_queries() -> None:
    assert pairs(HungarianMatcher(GAINS)(BOXES[:, 1:2], LOGITS[:, 1:2], GT, CLS, [2])) == [([0], [1])]


def test_a_mask_cost_is_refused_when_called() -> None:
    """QA15; masks have no effect otherwise."""
    matcher = HungarianMatcher(with_mask=True)
    with pytest.raises(NotImplementedError):
        matcher(BOXES, LOGITS, GT, CLS, [2])
    assert pairs(HungarianMatcher(GAINS)(BOXES, LOGITS, GT, CLS, [2], torch.ones(1), [torch.ones(1)])) == [
        ([0, 1], [0, 1])
    ]


BAD_CALLS: list[tuple[str, Callable[[], Any], type[Exception]]] = [
    ("class nc", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS + 1, [2]), IndexError),
    ("class -nc - 1", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS - 3, [2]), IndexError),
    ("float classes", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS.double(), [2]), IndexError),
    ("groups do not add up", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS, [1]), RuntimeError),
    ("too many groups", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS, [1, 1]), IndexError),
    ("no queries", lambda: HungarianMatcher()(BOXES[:, :0], LOGITS[:, :0], GT, CLS, [2]), RuntimeError),
    ("classes as a column", lambda: HungarianMatcher()(BOXES, LOGITS, GT, CLS[:, None], [2]), RuntimeError),
]


@pytest.mark.parametrize(("call", "error"), [row[1:] for row in BAD_CALLS], ids=[row[0] for row in BAD_CALLS])
def test_bad_calls_of_the_matcher(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_what_the_matcher_accepts() -> None:
    """int32 and negative ids (counted from the end), few groups, strides, objects that require a gradient."""
    matcher = HungarianMatcher(GAINS)
    want = [([0, 1], [0, 1])]
    assert pairs(matcher(BOXES, LOGITS, GT, CLS.int(), [2])) == want
    assert pairs(matcher(BOXES, LOGITS, GT, CLS - 2, [2])) == want
    assert pairs(matcher(BOXES.expand(2, -1, -1), LOGITS.expand(2, -1, -1), GT, CLS, [2])) == want
    strided = BOXES.transpose(1, 2).contiguous().transpose(1, 2)
    assert pairs(matcher(strided, LOGITS, GT.clone().requires_grad_(), CLS, [2])) == want
    for dtype in (torch.float16, torch.bfloat16):
        assert pairs(matcher(BOXES.to(dtype), LOGITS.to(dtype), GT, CLS, [2])) == want


def test_saturated_half_precision_logits_have_finite_costs() -> None:
    """QA16, D9: 1e-8 underflows in float16, where upstream's cost is infinite and then 0."""
    scores = torch.tensor([[[20.0, 20.0], [-20.0, 20.0]]], dtype=torch.float16)
    found = prices(BOXES[None, :, :2].half(), scores[None], GT, CLS, torch.tensor([0, 0]), Costs())
    assert found.dtype == torch.float64
    assert found.isfinite().all()


# D13: NaN costs -------------------------------------------------------------------------------------------


def test_a_nan_query_is_matched_last() -> None:
    """The specification's edge case: upstream prices query 2 at 0 and takes it; query 0 costs 1.2 less class."""
    boxes = BOXES.clone()
    boxes[0, 2] = torch.nan
    assert pairs(HungarianMatcher()(boxes, LOGITS, GT[:1], CLS[:1], [1])) == [([0], [0])]
    args = (boxes, LOGITS, torch.tensor([0]), CLS[:1], GT[:1])
    assert hungarian(*args).tolist() == [[0, -1, -1]]
    assert hungarian(*args, bad_cost="zero").tolist() == [[-1, -1, 0]]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_infinite_costs_are_bad_too(bad: float) -> None:
    boxes = BOXES.clone()
    boxes[0, 0, 0] = bad
    found = hungarian(boxes, LOGITS, torch.tensor([0, 0]), CLS, GT)
    assert found[0, 0] == -1
    assert sorted(found[0, 1:].tolist()) == [0, 1]


def _two_images() -> tuple[Tensor, ...]:
    """Image 0: query 1 lies on object 0 and far from 1, query 0 further from 0 and NaN for the class of 1.

    With b = cost(1, 0), c = cost(1, 1), a = cost(0, 0) the worst: matching 0 -> 1, 1 -> 0 costs a + 1 + b, and
    0 -> 0, 1 -> 1 costs a + c > a + 1 + b. Image 1 has worse costs than a + c, so that its own worst one
    would turn the decision.
    """
    boxes = torch.tensor(
        [[[3.0, 0.5, 0.25, 0.25], [0.5, 0.5, 0.25, 0.25]], [[9.0, 9.0, 0.25, 0.25]] * 2], dtype=torch.float64
    )
    scores = torch.zeros(2, 2, 2, dtype=torch.float64)
    scores[0, 0, 1] = torch.nan
    objects = torch.tensor(
        [[0.5, 0.5, 0.25, 0.25], [1.5, 0.5, 0.25, 0.25], [0.5, 0.5, 0.25, 0.25]], dtype=torch.float64
    )
    return boxes, scores, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), objects


def test_the_worst_cost_is_that_of_the_own_image() -> None:
    """Table of mistakes, row 13."""
    found = hungarian(*_two_images())
    assert found[0].tolist() == [1, 0]
    price = prices(*(x[None] for x in _two_images()[:2]), *reversed(_two_images()[3:]), _two_images()[2], Costs())[0]
    (a, b), c = price[0].tolist(), price[1, 1].item()
    assert price[1, 0].isnan()
    assert a + 1 + b < a + c < price[2].max() + 1 + b


def test_a_block_without_any_finite_cost_is_still_matched() -> None:
    boxes = torch.full_like(BOXES, torch.nan)
    found = hungarian(boxes, LOGITS, torch.tensor([0, 0]), CLS, GT)
    assert sorted(found[0].tolist()) == [-1, 0, 1]


def test_the_oracle_refuses_a_tie() -> None:
    m = Tape()
    cost = [[m.number(1.0), m.number(2.0)], [m.number(2.0), m.number(3.0)]]
    with pytest.raises(Tie):
        oracle_best(m, cost)


def test_the_oracle_takes_the_best_of_all_assignments() -> None:
    rng = np.random.default_rng(0)
    from scipy.optimize import linear_sum_assignment

    for queries, objects in ((4, 3), (2, 4), (3, 3), (5, 1)):
        cost = rng.random((queries, objects))
        with precision(64):
            m = Tape()
            found = oracle_best(m, [[m.number(x) for x in row] for row in cost.tolist()])
        assert found == list(zip(*map(np.ndarray.tolist, linear_sum_assignment(cost)), strict=True))


# DETRLoss: parts ------------------------------------------------------------------------------------------

PART_X = [[[0.5, -1], [2, 0.25], [-0.75, 0]]]
CLASS_ANCHORS = [
    (
        {},
        "1.2433142667",
        "0.216221597771 -0.0985144031998 0.390926381808 0.174600446883 -0.0857975340135 0.135215661449",
    ),
    (
        {"use_vfl": True},
        "0.91305026749",
        "0.0720738659236 -0.0577646446575 0.130308793936 0.0582001489611 -0.160942012191 0.0450718871496",
    ),
    (
        {"use_fl": False},
        "2.1275747631",
        "0.207486443734 -0.07701952621 0.293599025993 0.187392166962 -0.143059566392 0.166666666667",
    ),
    (
        {"use_fl": False, "use_vfl": True},
        "2.1275747631",
        "0.207486443734 -0.07701952621 0.293599025993 0.187392166962 -0.143059566392 0.166666666667",
    ),
]


def class_loss(params: Dict, pairs: int = 2, targets: Any = (1, 2, 0), **changed: Any) -> tuple[Dict, Tensor]:
    x = torch.tensor(PART_X, dtype=torch.float64, requires_grad=True)
    scores = torch.tensor([[0.5, 0, 0.75]], dtype=torch.float64)
    return DETRLoss(nc=2, **params)._get_loss_class(x, torch.tensor([targets]), scores, pairs, **changed), x


@pytest.mark.parametrize(("params", "value", "gradient"), CLASS_ANCHORS)
def test_class_loss(params: Dict, value: str, gradient: str) -> None:
    found, x = class_loss(params, postfix="_x")
    assert list(found) == ["loss_class_x"]
    assert found["loss_class_x"].shape == ()
    close(found["loss_class_x"], value)
    found["loss_class_x"].backward()
    close(x.grad, gradient)


@pytest.mark.parametrize("params", [{}, {"use_vfl": True}])
def test_class_loss_with_no_pair_counted(params: Dict) -> None:
    """QD2: focal, divided by 1."""
    close(class_loss(params, 0)[0]["loss_class"], "2.4866285334")


def test_class_loss_refuses() -> None:
    with pytest.raises(ValueError, match="classes"):
        DETRLoss(nc=3)._get_loss_class(torch.zeros(1, 3, 2), torch.zeros(1, 3).long(), torch.zeros(1, 3), 1)
    for bad in (3, -1):
        with pytest.raises(RuntimeError):
            class_loss({}, targets=(1, bad, 0))


def test_box_loss() -> None:
    pred = torch.tensor([[0.5, 0.5, 0.25, 0.5], [0.25, 0.375, 0.25, 0.25]], dtype=torch.float64, requires_grad=True)
    gt = torch.tensor([[0.375, 0.5, 0.25, 0.375], [0.25, 0.375, 0.25, 0.25]], dtype=torch.float64)
    found = DETRLoss()._get_loss_bbox(pred, gt, "_y")
    assert list(found) == ["loss_bbox_y", "loss_giou_y"]
    close(torch.stack(list(found.values())), "0.625 0.810607774837")
    sum(found.values()).backward()
    close(pred.grad[0], "5.72130186823 0 -1.03948541276 3.39669357549")
    close(pred.grad[1], "0 0 -3.19998976e-06 -3.19998976e-06")


def test_box_loss_of_nothing() -> None:
    """D8, D10: zeros in the dtype of the boxes, with a gradient."""
    pred = torch.zeros(0, 4, dtype=torch.float64, requires_grad=True)
    found = DETRLoss()._get_loss_bbox(pred, torch.zeros(0, 4, dtype=torch.float64))
    assert [(x.item(), x.dtype, x.requires_grad) for x in found.values()] == [(0.0, torch.float64, True)] * 2


def test_index_of_pairs() -> None:
    given = [([1, 4], [0, 1]), ([], []), ([2], [5])]
    (image, query), which = DETRLoss._get_index([(torch.tensor(a).long(), torch.tensor(b).long()) for a, b in given])
    assert (image.tolist(), query.tolist(), which.tolist()) == ([0, 0, 2], [1, 4, 2], [0, 1, 5])


def test_assigned_boxes_are_indexed_within_each_image() -> None:
    pred, gt = torch.arange(24.0).reshape(2, 3, 4), [torch.ones(2, 4), 2 * torch.ones(1, 4)]
    some = [(torch.tensor([2, 0]), torch.tensor([1, 0])), (torch.tensor([1]), torch.tensor([0]))]
    found, targets = DETRLoss()._get_assigned_bboxes(pred, gt, some)
    assert torch.equal(found, torch.stack([pred[0, 2], pred[0, 0], pred[1, 1]]))
    assert targets[:, 0].tolist() == [1, 1, 2]
    nothing = [(torch.zeros(0).long(),) * 2] * 2
    assert [x.shape for x in DETRLoss()._get_assigned_bboxes(pred, gt, nothing)] == [(0, 4), (0, 4)]


def test_attributes() -> None:
    loss = DETRLoss()
    assert (loss.nc, loss.aux_loss, loss.use_uni_match, loss.uni_match_ind, loss.device) == (80, True, False, 0, None)
    assert loss.loss_gain == {"class": 1, "bbox": 5, "giou": 2, "no_object": 0.1, "mask": 1, "dice": 1}
    assert (loss.fl.gamma, float(loss.fl.alpha), loss.vfl) == (1.5, 0.25, None)
    loss = DETRLoss(use_fl=False, use_vfl=True)
    assert (loss.fl, loss.vfl.gamma, loss.vfl.alpha) == (None, 1.5, 0.25)
    assert not hasattr(loss, "use_fl")
    assert not list(loss.parameters())
    assert not list(loss.state_dict())
    boxes, scores = leaves()
    loss = DETRLoss(nc=3)
    loss(boxes, scores, batch_of(THREE))
    assert loss.device == boxes.device


# DETRLoss: fixture G --------------------------------------------------------------------------------------

G_ANCHORS: list[tuple[Dict, str]] = [
    ({}, "2.71848263634 1.875 1.47740674282 5.53305059386 5 4.09180979091"),
    ({"use_vfl": True}, "1.17034197135 1.875 1.47740674282 2.08128994555 5 4.09180979091"),
    ({"use_fl": False}, "4.71496390205 1.875 1.47740674282 9.66557833617 5 4.09180979091"),
    ({"use_fl": False, "use_vfl": True}, "4.71496390205 1.875 1.47740674282 9.66557833617 5 4.09180979091"),
    (
        {"use_vfl": True, "gamma": 2.0, "alpha": 0.75},
        "2.46046419278 1.875 1.47740674282 4.7508970332 5 4.09180979091",
    ),
    ({"use_uni_match": True}, "2.71848263634 1.875 1.47740674282 5.91011661539 5.52083333333 4.53305464285"),
    (
        {"use_uni_match": True, "uni_match_ind": 1},
        "2.71848263634 1.875 1.47740674282 5.63642754204 5.9375 4.82903151976",
    ),
    (
        {"loss_gain": {"class": 2, "bbox": 3, "giou": 0.5}},
        "5.43696527267 1.125 0.369351685704 11.0661011877 3 1.02295244773",
    ),
    ({"aux_loss": False}, "2.71848263634 1.875 1.47740674282"),
]


def values(params: Dict, them: Dict, layers: int = 3, queries: int = 5, **kwargs: Any) -> Tensor:
    boxes, scores = leaves(layers, queries)
    return torch.stack(list(DETRLoss(nc=3, **params)(boxes, scores, batch_of(them), **kwargs).values()))


@pytest.mark.parametrize(("params", "printed"), G_ANCHORS, ids=[str(row[0]) for row in G_ANCHORS])
def test_fixture_g(params: Dict, printed: str) -> None:
    found = values(params, THREE)
    close(found, printed)
    assert found.dtype == torch.float64


OTHER_OBJECTS: list[tuple[str, Dict, str]] = [
    ("none", {}, "8.96772964893 0 0 18.3418758714 0 0"),
    ("none", {"use_vfl": True}, "8.96772964893 0 0 18.3418758714 0 0"),
    ("none", {"use_fl": False}, "4.74781563737 0 0 9.60381726294 0 0"),
    ("one", {}, "8.20239092324 1.5625 1.49157242254 17.614606589 4.0625 3.69155871604"),
]


@pytest.mark.parametrize(("which", "params", "printed"), OTHER_OBJECTS)
def test_fixture_g_with_other_objects(which: str, params: Dict, printed: str) -> None:
    close(values(params, {"none": NONE, "one": ONE}[which]), printed)


def test_more_objects_than_queries_in_an_image() -> None:
    close(values({}, FOUR, queries=2), "1.18676433712 1.875 1.56959234848 1.53631793734 5.20833333333 4.59391463567")
    boxes, scores = leaves(3, 2)
    batch = batch_of(FOUR)
    found = DETRLoss(nc=3).matcher(boxes[-1], scores[-1], batch["bboxes"], batch["cls"], batch["gt_groups"])
    assert pairs(found) == [([0, 1], [2, 1]), ([1], [3])]


GIVEN = [(torch.tensor([1, 0]), torch.tensor([0, 1])), (torch.tensor([3]), torch.tensor([2]))]


@pytest.mark.parametrize("params", [{}, {"use_uni_match": True}])
def test_given_pairs(params: Dict) -> None:
    found = values(params, THREE, match_indices=GIVEN, something_else=1)
    close(found, "2.31056914412 2.8125 2.53110114377 6.09148393492 6.66666666667 5.00779049")


def test_single_layer() -> None:
    close(values({}, THREE, layers=1), "2.7407409576 2.1875 1.81446500295 0 0 0")
    with pytest.raises(IndexError):
        values({"use_uni_match": True}, THREE, layers=1)
    assert len(values({"use_uni_match": True, "aux_loss": False}, THREE, layers=1)) == 3


def test_gradients_on_fixture_g() -> None:
    boxes, scores = leaves()
    sum(DETRLoss(nc=3)(boxes, scores, batch_of(THREE)).values()).backward()
    close(scores.grad[[2, 2, 0], [0, 0, 1], [0, 1, 4], [0, 2, 1]], "0.144147731847 0.237141284574 -0.00711841498105")
    close(boxes.grad[2, 0, 1, 0], "3.90837149366")
    close(boxes.grad[2, 1, 3], "-2.99528445207 4.50032657016 1.55917511431 -2.15677052992")


def test_iou_of_the_last_layer() -> None:
    from lossref.losses.overlap.bbox_iou import bbox_iou

    boxes, _ = leaves()
    close(
        bbox_iou(boxes[2, [0, 0, 1], [1, 4, 3]], batch_of(THREE)["bboxes"][[1, 0, 2]]),
        "0.368420721699 0.333333175309 0.359476883592",
    )


@pytest.mark.parametrize("params", [{"use_vfl": True}, {"use_fl": False}])
def test_no_gradient_through_the_iou(params: Dict) -> None:
    """Table of mistakes, row 5."""
    boxes, scores = leaves()
    found = DETRLoss(nc=3, **params)(boxes, scores, batch_of(THREE))
    (found["loss_class"] + found["loss_class_aux"]).backward()
    assert boxes.grad is None or not boxes.grad.any()


def test_names_and_order() -> None:
    boxes, scores = leaves()
    batch = batch_of(THREE)
    assert list(DETRLoss(nc=3)(boxes, scores, batch)) == NAMES
    assert list(DETRLoss(nc=3)(boxes, scores, batch, "_dn")) == [f"{name}_dn" for name in NAMES]
    assert list(DETRLoss(nc=3, aux_loss=False)(boxes, scores, batch)) == NAMES[:3]


def test_parts_add_up_to_forward() -> None:
    """The methods of one layer, and of the auxiliary layers, with their different argument orders."""
    loss, (boxes, scores), batch = DETRLoss(nc=3, use_vfl=True), leaves(), batch_of(THREE)
    gt = (batch["bboxes"], batch["cls"], batch["gt_groups"])
    whole = loss(boxes, scores, batch, "_p")
    parts = {
        **loss._get_loss(boxes[-1], scores[-1], *gt, None, None, "_p", None),
        **loss._get_loss_aux(boxes[:-1], scores[:-1], *gt, None, "_p", None, None),
    }
    assert list(parts) == list(whole)
    assert all(torch.allclose(parts[name], whole[name], rtol=1e-14) for name in whole)
    given = loss._get_loss(boxes[0], scores[0], *gt, match_indices=GIVEN)
    again = loss._get_loss_aux(boxes[:1], scores[:1], *gt, GIVEN)
    assert [x.item() for x in given.values()] == [x.item() for x in again.values()]


def test_no_auxiliary_layer() -> None:
    boxes, scores = leaves()
    batch = batch_of(THREE)
    gt = (batch["bboxes"], batch["cls"], batch["gt_groups"])
    assert [x.item() for x in DETRLoss(nc=3)._get_loss_aux(boxes[:0], scores[:0], *gt).values()] == [0, 0, 0]
    with pytest.raises(IndexError):
        DETRLoss(nc=3, use_uni_match=True)._get_loss_aux(boxes[:0], scores[:0], *gt)


def test_bad_batches() -> None:
    boxes, scores = leaves()
    batch, loss = batch_of(THREE), DETRLoss(nc=3)
    for changed, error in (
        ({"cls": batch["cls"] + 1}, IndexError),
        ({"cls": batch["cls"].double()}, IndexError),
        ({"cls": batch["cls"][:, None]}, RuntimeError),
        ({"gt_groups": [2, 2]}, RuntimeError),
    ):
        with pytest.raises(error):
            loss(boxes, scores, {**batch, **changed})
    with pytest.raises(ValueError, match="classes"):
        DETRLoss(nc=4)(boxes, scores, batch)
    with pytest.raises(ValueError, match="expected boxes"):
        loss(boxes[:, :, 1:], scores, batch)
    with pytest.raises(KeyError):
        DETRLoss(nc=3, loss_gain={"class": 1, "bbox": 5})(boxes, scores, batch)


def test_class_nc_with_given_pairs_counts_as_unmatched() -> None:
    """QD6: no class loss of its own, but it is a pair."""
    boxes, scores = leaves()
    batch = batch_of(THREE)
    found = DETRLoss(nc=3)(boxes, scores, {**batch, "cls": torch.tensor([3, 0, 1])}, match_indices=GIVEN)
    usual = DETRLoss(nc=3)(boxes, scores, batch, match_indices=GIVEN)
    assert found["loss_bbox"] == usual["loss_bbox"]
    fewer = DETRLoss(nc=3)(boxes, scores, batch, match_indices=[tuple(x[1:] for x in GIVEN[0]), GIVEN[1]])
    assert torch.allclose(found["loss_class"], fewer["loss_class"] * 2 / 3)
    for bad in (4, -1):
        with pytest.raises(RuntimeError):
            DETRLoss(nc=3)(boxes, scores, {**batch, "cls": torch.tensor([bad, 0, 1])}, match_indices=GIVEN)


def test_uneven_given_pairs_are_refused() -> None:
    boxes, scores = leaves()
    uneven = [(torch.tensor([1]), torch.tensor([0, 1])), (torch.tensor([3, 4]), torch.tensor([2]))]
    with pytest.raises(RuntimeError, match="1 queries for 2 objects"):
        DETRLoss(nc=3)(boxes, scores, batch_of(THREE), match_indices=uneven)


# D8 to D11 ------------------------------------------------------------------------------------------------

ALL_CALLS = [{}, {"use_vfl": True}, {"use_fl": False}]


@pytest.mark.parametrize("params", ALL_CALLS)
@pytest.mark.parametrize("them", [THREE, NONE], ids=["objects", "nothing"])
def test_dtypes_of_all_entries(params: Dict, them: Dict) -> None:
    """D8, D9, QD4: the promoted dtype of the predictions, at least float32, whatever the default dtype is."""
    for given, wanted in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        boxes, scores = leaves(dtype=given)
        found = DETRLoss(nc=3, **params)(boxes, scores, batch_of(them, dtype=torch.float32))
        assert {x.dtype for x in found.values()} == {wanted}
        sum(found.values()).backward()
        assert (boxes.grad.dtype, scores.grad.dtype) == (given, given)


@pytest.mark.parametrize("params", ALL_CALLS)
def test_no_object_gives_zero_gradients_to_the_boxes(params: Dict) -> None:
    """D10: zeros, not None; D11: made without reading a value."""
    boxes, scores = leaves()
    with torch.no_grad():
        boxes[0, 0, 0, 0] = torch.inf
    found = DETRLoss(nc=3, **params)(boxes, scores, batch_of(NONE))
    assert [found[name].item() for name in ("loss_bbox", "loss_giou", "loss_bbox_aux", "loss_giou_aux")] == [0] * 4
    sum(found.values()).backward()
    assert boxes.grad is not None
    assert not boxes.grad.any()
    assert scores.grad.abs().min() > 0


def test_layers_that_do_not_count_get_zero_gradients() -> None:
    boxes, scores = leaves()
    sum(DETRLoss(nc=3, aux_loss=False)(boxes, scores, batch_of(THREE)).values()).backward()
    assert not boxes.grad[:-1].any()
    assert not scores.grad[:-1].any()


def test_inputs_are_not_changed() -> None:
    boxes, scores = (x.detach() for x in leaves())
    batch = batch_of(THREE)
    before = [x.clone() for x in (boxes, scores, batch["cls"], batch["bboxes"])]
    RTDETRDetectionLoss(nc=3)(
        (boxes, scores), batch, boxes, scores, {"dn_pos_idx": [torch.arange(2), torch.arange(1)], "dn_num_group": 1}
    )
    assert all(torch.equal(a, b) for a, b in zip(before, (boxes, scores, batch["cls"], batch["bboxes"]), strict=True))
    assert set(batch) == {"cls", "bboxes", "gt_groups"}


@pytest.mark.parametrize("how", ["use_vfl", "use_fl", "bce", "gamma 2", "alpha 0", "detached"])
def test_sparse_and_dense_class_targets_agree(how: str) -> None:
    """Value and gradient of the single pass against the published form with one-hot targets."""
    changed: dict[str, Dict] = {
        "use_vfl": {"use_vfl": True},
        "bce": {"use_fl": False},
        "gamma 2": {"gamma": 2.0},
        "alpha 0": {"alpha": 0.0},
        "detached": {"use_vfl": True, "vfl_weight_gradient": "detached"},
    }
    params = {**SPEC.defaults(), **changed.get(how, {})}
    rng = torch.Generator().manual_seed(0)
    box = torch.rand(2, 3, 30, 4, generator=rng, dtype=torch.float64) / 2 + 0.1
    scores = 6 * torch.randn(2, 3, 30, 7, generator=rng, dtype=torch.float64)
    them = (
        torch.tensor([0] * 5 + [2] * 9),
        torch.randint(0, 7, (14,), generator=rng),
        torch.rand(14, 4, generator=rng, dtype=torch.float64) / 2 + 0.1,
    )
    found = []
    for loss in (detr, layer_by_layer(Steps())):
        inputs = [box.clone().requires_grad_(), scores.clone().requires_grad_()]
        out = torch.stack(list(loss(*inputs, *them, **params)))
        (out * torch.arange(1, 7)).sum().backward()
        found.append([out.detach(), *(x.grad for x in inputs)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-13)


# RTDETRDetectionLoss --------------------------------------------------------------------------------------

DN_META = {"dn_pos_idx": [torch.tensor([0, 1, 3, 4]), torch.tensor([2, 5])], "dn_num_group": 2}
DN_ANCHORS = [
    ({}, "1.1639263586 3.07291666667 2.27368702331 2.29680066918 6.71875 4.9027550006"),
    ({"use_vfl": True}, "0.481527162052 3.07291666667 2.27368702331 0.869770776972 6.71875 4.9027550006"),
]


@pytest.mark.parametrize(("params", "printed"), DN_ANCHORS)
def test_denoising(params: Dict, printed: str) -> None:
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6, scale=0.5)
    found = RTDETRDetectionLoss(nc=3, **params)((boxes, scores), batch_of(THREE), dn_boxes, dn_scores, DN_META)
    assert list(found) == [*NAMES, *(f"{name}_dn" for name in NAMES)]
    close(torch.stack(list(found.values())[6:]), printed)
    close(torch.stack(list(found.values())[:6]), {str(p): v for p, v in G_ANCHORS}[str(params)])
    if params:
        sum(list(found.values())[6:]).backward()
        close(dn_scores.grad[2, 0, 0, 2], "0.00752541300025")
        close(dn_boxes.grad[2, 1, 2], "1.22596483457 -1.26228984237 -1.05467828219 0.714946200636")


def test_without_denoising() -> None:
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6, scale=0.5)
    for extra in ((), (dn_boxes, dn_scores, None)):
        found = RTDETRDetectionLoss(nc=3)((boxes, scores), batch_of(THREE), *extra)
        assert list(found) == [*NAMES, *(f"{name}_dn" for name in NAMES)]
        rest = list(found.values())[6:]
        assert [(x.item(), x.requires_grad, x.dtype, x.shape) for x in rest] == [(0, False, torch.float64, ())] * 6
    assert list(RTDETRDetectionLoss(nc=3, aux_loss=False)((boxes, scores), batch_of(THREE))) == [
        *NAMES[:3],
        *(f"{name}_dn" for name in NAMES[:3]),
    ]


def test_denoising_without_objects() -> None:
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6, scale=0.5)
    nothing = {"dn_pos_idx": [torch.zeros(0).long()] * 2, "dn_num_group": 2}
    found = RTDETRDetectionLoss(nc=3)((boxes, scores), batch_of(NONE), dn_boxes, dn_scores, nothing)
    close(torch.stack(list(found.values())[6:]), "7.74810503464 0 0 15.4645836289 0 0")
    sum(found.values()).backward()
    assert not dn_boxes.grad.any()


def test_the_groups_are_normalised_away() -> None:
    """Table of mistakes, row 14: twice the same group is one group."""
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 3)
    once = {"dn_pos_idx": [torch.tensor([0, 1]), torch.tensor([2])], "dn_num_group": 1}
    twice = {"dn_pos_idx": [torch.tensor([0, 1, 3, 4]), torch.tensor([2, 5])], "dn_num_group": 2}
    loss, batch = RTDETRDetectionLoss(nc=3), batch_of(THREE)
    one = loss((boxes, scores), batch, dn_boxes, dn_scores, once)
    two = loss((boxes, scores), batch, dn_boxes.repeat(1, 1, 2, 1), dn_scores.repeat(1, 1, 2, 1), twice)
    assert all(torch.allclose(one[name], two[name], rtol=1e-13) for name in one)


def test_denoising_pairs() -> None:
    """Table of mistakes, row 13: the block as a whole, offset by the images before."""

    def of(positions: list[list[int]], count: int, groups: list[int]) -> Any:
        vectors = [torch.tensor(place, dtype=torch.int64) for place in positions]
        return pairs(RTDETRDetectionLoss.get_dn_match_indices(vectors, count, groups))

    assert of([[0, 1, 4, 5], [0, 4]], 2, [2, 1]) == [([0, 1, 4, 5], [0, 1, 0, 1]), ([0, 4], [2, 2])]
    assert of([[0, 1], [], [2, 0]], 1, [2, 0, 2]) == [([0, 1], [0, 1]), ([], []), ([2, 0], [2, 3])]
    assert of([[0, 1], [7, 7]], 1, [2, 0]) == [([0, 1], [0, 1]), ([], [])]
    assert of([], 2, []) == []
    for bad in (([[0, 1]], 2, [2]), ([[0]], 1, [1, 1])):
        with pytest.raises(AssertionError):
            of(*bad)


def test_an_image_may_denoise_some_of_its_objects() -> None:
    """`dn_gt_idx` of later releases: which of them, counted over the batch; the loss is that of these pairs."""
    some = [torch.tensor([1]), torch.tensor([2])]
    vectors = [torch.tensor([0, 3]), torch.tensor([1, 4])]
    assert pairs(RTDETRDetectionLoss.get_dn_match_indices(vectors, 2, some)) == [([0, 3], [1, 1]), ([1, 4], [2, 2])]
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6)
    loss, batch = RTDETRDetectionLoss(nc=3), batch_of(THREE)
    every = {**DN_META, "dn_gt_idx": [torch.tensor([0, 1]), torch.tensor([2])]}
    both = [loss((boxes, scores), batch, dn_boxes, dn_scores, meta) for meta in (DN_META, every)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    meta = {"dn_pos_idx": vectors, "dn_num_group": 2, "dn_gt_idx": some}
    found = loss((boxes, scores), batch, dn_boxes, dn_scores, meta)
    chosen = list(zip(vectors, [torch.tensor([1, 1]), torch.tensor([2, 2])], strict=True))
    want = DETRLoss(nc=3)(dn_boxes, dn_scores, batch, postfix="_dn", match_indices=chosen)
    assert all(torch.equal(found[name], x) for name, x in want.items())


def test_positions_must_be_given_for_every_image() -> None:
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6)
    meta = {**DN_META, "dn_pos_idx": DN_META["dn_pos_idx"][:1]}
    with pytest.raises(AssertionError):
        RTDETRDetectionLoss(nc=3)((boxes, scores), batch_of(THREE), dn_boxes, dn_scores, meta)
    for missing in ("dn_pos_idx", "dn_num_group"):
        less = {name: value for name, value in DN_META.items() if name != missing}
        with pytest.raises(KeyError):
            RTDETRDetectionLoss(nc=3)((boxes, scores), batch_of(THREE), dn_boxes, dn_scores, less)


def test_positions_of_the_pure_function() -> None:
    assert [x.tolist() for x in dn_positions([2, 0, 1], 5, 2)] == [[0, 1, 2, 3], [], [0, 2]]
    with pytest.raises(ValueError, match="2 groups of 4"):
        dn_positions([4], 7, 2)


def test_pure_function_and_class_agree() -> None:
    (boxes, scores), (dn_boxes, dn_scores) = leaves(), leaves(3, 6, scale=0.5)
    batch, them = batch_of(THREE), torch.tensor(THREE["batch_idx"])
    meta = {"dn_pos_idx": dn_positions(batch["gt_groups"], 6, 3), "dn_num_group": 3}
    found = RTDETRDetectionLoss(nc=3, use_vfl=True)((boxes, scores), batch, dn_boxes, dn_scores, meta)
    same = rtdetr(boxes, scores, them, batch["cls"], batch["bboxes"], dn_boxes, dn_scores, 3, use_vfl=True)
    assert list(found) == list(same._fields)
    assert [x.item() for x in found.values()] == [x.item() for x in same]


@pytest.mark.parametrize("bad", [[1, 0, 0], [0, 0, 2], [-1, 0, 0], [0, 0]])
def test_pure_functions_refuse_other_image_numbers(bad: list[int]) -> None:
    boxes, scores = leaves()
    batch = batch_of(THREE)
    with pytest.raises(ValueError, match="batch_idx"):
        detr(boxes, scores, torch.tensor(bad), batch["cls"], batch["bboxes"])


def test_match_solves_each_layer() -> None:
    boxes, scores = leaves()
    batch = batch_of(THREE)
    found = match(boxes, scores, batch["bboxes"], batch["cls"], batch["gt_groups"], Costs(2, 5, 2))
    assert found.image.tolist() == [0, 0, 1]
    assert found.query.tolist() == [[1, 4, 4], [1, 3, 1], [1, 4, 3]]
    assert found.object.tolist() == [[0, 1, 2], [1, 0, 2], [1, 0, 2]]
