"""Every number and edge case of the task-aligned assigners: spec/20-assignment.md sections 1 to 3, D2 and D9."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossref.losses.assignment.positives as positives
from lossref.checks.material import draw_case, material
from lossref.checks.table import examine, named
from lossref.core.nouns import Case, Spec, Target
from lossref.losses.assignment import rotated_task_aligned as rotated
from lossref.losses.assignment import task_aligned as plain
from lossref.losses.assignment.answer import Assignment
from lossref.losses.assignment.cases import grid_points
from lossref.losses.assignment.impostors.dense import Steps, dense
from lossref.losses.assignment.positives import Pairs, Positives, Rules, candidates, candidates_rotated, select
from lossref.losses.assignment.rotated_task_aligned import RotatedTaskAlignedAssigner
from lossref.losses.assignment.task_aligned import TaskAlignedAssigner, task_aligned
from lossref.losses.overlap.bbox_iou import bbox_iou
from lossref.oracle.tape import Tie
from shared.setup_s import F64, FIRST, SECOND, THIN, Given, Object, given_to, inputs_of, steal_inputs


def assign(
    inputs: dict[str, Tensor], stride: Sequence[float] = (8, 16, 32), kind: Any = None, **more: Any
) -> Assignment:
    kind = kind or (TaskAlignedAssigner if inputs["gt_bboxes"].shape[-1] == 4 else RotatedTaskAlignedAssigner)
    settings: dict[str, Any] = {"num_classes": inputs["pd_scores"].shape[-1], "alpha": 0.5, "beta": 6.0, **more}
    found: Assignment = kind(stride=list(stride), **settings)(*inputs.values())
    return found


def same(found: Given, want: Given) -> bool:
    """Same anchors and objects, scores to the twelve digits printed."""
    return found.keys() == want.keys() and all(
        found[a][0] == want[a][0] and found[a][1] == pytest.approx(want[a][1], rel=5.1e-12, abs=0) for a in want
    )


ANCHORS: dict[str, tuple[list[Object], dict[str, Any], Given, float]] = {
    "A1": (
        [FIRST, SECOND],
        {"topk": 3},
        {1: (0, 0.00260321031077), 5: (0, 0.705659151187), 6: (0, 0.00717977117391), 10: (1, 0.732636699863)}
        | {11: (1, 0.00417767373911)},
        1.45225650627,
    ),
    "A1b": (
        [FIRST, SECOND],
        {"topk": 5},
        {1: (0, 0.00260321031077), 4: (0, 0.00107787159029), 5: (0, 0.705659151187), 6: (0, 0.00717977117391)}
        | {9: (1, 0.00189210765709), 10: (1, 0.732636699863), 11: (1, 0.00417767373911), 14: (1, 0.00132889282722)},
        1.45655537835,
    ),
    "A2": ([FIRST, SECOND], {"topk": 5, "topk2": 1}, {5: (0, 0.705659151187), 10: (1, 0.732636699863)}, 1.43829585105),
    "A3": ([THIN], {"topk": 2}, {5: (0, 0.00122921499901), 6: (0, 2.91243880797e-05)}, 0.00125833938709),
    "A4": ([THIN], {"topk": 2, "stride": [8]}, {5: (0, 0.00122921499901)}, 0.00122921499901),
    "A5": ([((11, 11, 19, 19), 1)], {"topk": 2}, {5: (0, 0.191337777397)}, 0.191337777397),
    "A8": (
        [FIRST, ((4, 2, 22, 20), 1)],
        {"topk": 5},
        {1: (1, 0.286960456676), 2: (1, 0.00676776366327), 4: (0, 0.00107787159029), 5: (0, 0.705659151187)}
        | {6: (1, 0.360335933296), 9: (0, 0.00256922448263)},
        1.3633704009,
    ),
    "A9": (
        [FIRST, ((3, 3, 21, 21), 1)],
        {"topk": 5, "topk2": 1},
        {5: (1, 0.871184139722), 9: (0, 0.265240520546)},
        1.13642466027,
    ),
    "A10": (
        [((10, 2, 14, 30), 0)],
        {"topk": 3},
        {1: (0, 9.13923961914e-09), 5: (0, 0.168641452849), 9: (0, 0.126829775298)},
        0.295471237287,
    ),
    "R1": (
        [((16, 16, 4, 12, 0.5), 1)],
        {"topk": 3},
        {5: (0, 0.102413448954), 6: (0, 0.328164263911), 9: (0, 0.115965458256)},
        0.546543171121,
    ),
    "R2": (
        [((14, 18, 20, 12, 0.5), 1)],
        {"topk": 3},
        {5: (0, 0.247671305178), 9: (0, 0.666442617229), 10: (0, 0.257646650237)},
        1.17176057264,
    ),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_worked_examples(name: str) -> None:
    objects, settings, want, total = ANCHORS[name]
    found = assign(inputs_of(objects), **settings)
    assert same(given_to(found), want)
    assert float(found.target_scores.sum()) == pytest.approx(total, rel=2e-11)
    assert torch.equal(found.target_bboxes[0, 0], torch.tensor(objects[0][0], dtype=F64))


def test_upstreams_rotated_small_box_is_a_variant() -> None:
    found = rotated.rotated_task_aligned(
        *inputs_of([((16, 16, 4, 12, 0.5), 1)]).values(), topk=3, num_classes=2, alpha=0.5, small_rboxes="enlarged"
    )
    want = {5: (0, 0.469174892817), 6: (0, 0.581154536119), 10: (0, 0.352902420694)}
    assert same(given_to(found), want)
    assert found.target_bboxes[0, 0].tolist() == [16, 16, 16, 12, 0.5]


def far_inputs() -> dict[str, Tensor]:
    """A7: every overlap is 0, object 0 contains no anchor."""
    boxes = [((100, 100, 120, 120), 0), ((0, 0, 12, 12), 1), ((1, 1, 13, 13), 1)]
    scores = torch.tensor([[(0.5, 0.25), (0.75, 0.5), (0.25, 0.5), (0.5, 0.75)]], dtype=F64)
    away = torch.tensor([[[1000.0, 1000, 1010, 1010]] * 4], dtype=F64)
    points = torch.tensor([(4.0, 4), (12, 4), (4, 12), (12, 12)], dtype=F64)
    return {**inputs_of(boxes), "pd_scores": scores, "pd_bboxes": away, "anc_points": points}


def test_an_object_that_did_not_pick_the_anchor_takes_it() -> None:
    found = assign(steal_inputs(), topk=1)
    assert same(given_to(found), {5: (2, 0.0), 6: (2, 0.871183457547)})
    assert not found.target_scores[0, 5].any()


def test_object_0_wins_where_all_overlaps_are_0() -> None:
    found = assign(far_inputs(), topk=4)
    assert found.fg_mask.all()
    assert found.target_gt_idx.tolist() == [[0, 2, 2, 2]]
    assert found.target_labels.tolist() == [[0, 1, 1, 1]]
    assert found.target_bboxes[0, 0].tolist() == [100, 100, 120, 120]
    assert not found.target_scores.any()


@pytest.mark.parametrize(("name", "label"), [("A1", 0), ("A3", 1), ("A4", 1), ("A5", 1)])
def test_background_carries_object_0(name: str, label: int) -> None:
    objects, settings, _, _ = ANCHORS[name]
    found = assign(inputs_of(objects), **settings)
    outside = ~found.fg_mask
    assert (found.target_labels[outside] == label).all()
    assert not found.target_gt_idx[outside].any()
    assert not found.target_scores[outside].any()


# Edge cases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("box", [4, 5])
def test_no_object_at_all_has_the_dtype_of_the_scores(box: int, dtype: torch.dtype) -> None:
    """QA1."""
    given = inputs_of([((0,) * box, 0)])
    given = {name: x.to(dtype) for name, x in given.items()}
    for name in ("gt_labels", "gt_bboxes", "mask_gt"):
        given[name] = given[name][:, :0]
    found = assign(given, topk=3, num_classes=7)
    assert [x.dtype for x in found] == [dtype] * 5
    assert (found.target_labels == 7).all()
    assert found.target_bboxes.shape == (1, 16, box)
    assert found.target_scores.shape == (1, 16, 7)
    assert not any(x.any() for x in found[1:])


def test_an_image_without_objects_beside_one_that_has_some() -> None:
    given = inputs_of([FIRST])
    both = {name: x if name == "anc_points" else torch.cat([x, x]) for name, x in given.items()}
    both["mask_gt"][1] = 0
    both["gt_bboxes"][1] = 0
    found = assign(both, topk=3)
    assert [x.dtype for x in found] == [torch.int64, F64, F64, torch.bool, torch.int64]
    assert not any(x[1].any() for x in found)
    assert given_to(found) == given_to(assign(given, topk=3))


def test_too_few_anchors_for_topk() -> None:
    given = inputs_of([FIRST])
    for settings in ({"topk": 17}, {"topk": 3, "topk2": 17}):
        with pytest.raises(RuntimeError, match="topk"):
            assign(given, **settings)
    given["mask_gt"][:] = 0
    with pytest.raises(RuntimeError):
        assign(given, topk=17)
    assert assign(given, topk=16, topk2=0).fg_mask.sum() == 0


def test_constructor() -> None:
    one = TaskAlignedAssigner()
    settings = (one.topk, one.num_classes, one.alpha, one.beta, one.eps, one.topk2, one.stride_val, list(one.stride))
    assert settings == (13, 80, 1.0, 6.0, 1e-9, 13, 16, [8, 16, 32])
    assert TaskAlignedAssigner(topk=5, topk2=0).topk2 == 5
    assert RotatedTaskAlignedAssigner(stride=[4]).stride_val == 4
    with pytest.raises(IndexError):
        TaskAlignedAssigner(stride=[])


def test_the_number_of_classes_is_read_at_the_call() -> None:
    one = TaskAlignedAssigner(3, 80, 0.5, 6.0)
    one.num_classes = 2
    assert one(*inputs_of([FIRST]).values()).target_scores.shape == (1, 16, 2)


@pytest.mark.parametrize(
    ("label", "scored", "target"), [(-1, 1, 0), (-2, 0, 0), (1.7, 1, 1), (-0.5, 0, 0), (0.9, 0, 0)]
)
def test_labels_out_of_the_domain(label: float, scored: int, target: int) -> None:
    """QA5: truncated toward zero; negative ones take the score from the end, and class 0 as the target."""
    box = (2, 2, 22, 22)
    found = assign(inputs_of([(box, 0)], gt_labels=torch.tensor([[[label]]], dtype=F64)), topk=3)
    want = given_to(assign(inputs_of([(box, scored)]), topk=3))
    assert given_to(found) == want
    assert (found.target_labels == target).all()
    assert not found.target_scores[..., 1 - target].any()


@pytest.mark.parametrize("label", [2, -3, float("nan")])
def test_labels_without_a_score(label: float) -> None:
    for dtype in (F64, torch.int64)[: 1 if label != label else 2]:
        with pytest.raises(IndexError):
            assign(inputs_of([FIRST], gt_labels=torch.tensor([[[label]]]).to(dtype)), topk=3)


def test_labels_of_padding_rows_count_too() -> None:
    given = inputs_of([FIRST, ((0, 0, 0, 0), 5)])
    given["mask_gt"][0, 1] = 0
    with pytest.raises(IndexError):
        assign(given, topk=3)


CANDIDATE, ELSEWHERE = 5, 15


@pytest.mark.parametrize("where", ["score", "coordinate", "infinite coordinate"])
def test_a_nan_on_a_candidate_spoils_the_image(where: str) -> None:
    """QA6."""
    for anchor, spoilt in ((CANDIDATE, True), (ELSEWHERE, False)):
        given = inputs_of([FIRST])
        both = {name: x if name == "anc_points" else torch.cat([x, x]) for name, x in given.items()}
        if where == "score":
            both["pd_scores"][0, anchor, 0] = torch.nan
        else:
            both["pd_bboxes"][0, anchor, 2] = torch.nan if where == "coordinate" else torch.inf
        found = assign(both, topk=3)
        assert bool(found.target_scores[0].isnan().all()) == spoilt
        assert bool(found.target_scores[0].isnan().any()) == spoilt
        assert given_to(found, 1) == given_to(assign(given, topk=3))


def test_a_nan_score_of_another_class_has_no_effect() -> None:
    given = inputs_of([FIRST])
    given["pd_scores"][0, CANDIDATE, 1] = torch.nan
    assert given_to(assign(given, topk=3)) == given_to(assign(inputs_of([FIRST]), topk=3))


def test_more_nan_than_topk() -> None:
    given = inputs_of([FIRST, SECOND])
    given["pd_scores"][0, :, 0] = torch.nan
    assert assign(given, topk=3).target_scores.isnan().all()
    assert assign(given, topk=3, topk2=1).target_scores.isnan().all()


def test_an_infinite_score_spoils_its_anchor() -> None:
    """QA6: NaN there, 0 for the object's other anchors."""
    given = inputs_of([FIRST])
    given["pd_scores"][0, CANDIDATE, 0] = torch.inf
    found = assign(given, topk=3)
    assert found.target_scores[0, CANDIDATE].isnan().all()
    rest = torch.cat([found.target_scores[0, :CANDIDATE], found.target_scores[0, CANDIDATE + 1 :]])
    assert not rest.any()
    assert found.fg_mask.sum() == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("box", [4, 5])
def test_half_precision_with_padding(box: int, dtype: torch.dtype) -> None:
    """QA9, QA10, D9: finite, near the exact targets, one result dtype."""
    objects: list[Object] = [FIRST, SECOND] if box == 4 else [((14, 18, 20, 12, 0.5), 1), ((18, 14, 16, 20, -0.25), 0)]
    exact = inputs_of([*objects, ((0,) * box, 0)])
    exact["mask_gt"][0, 2] = 0
    given = {name: x.to(dtype) for name, x in exact.items()}
    found = assign(given, topk=3)
    want = assign({name: x.double() for name, x in given.items()}, topk=3)
    assert found.target_scores.dtype == found.target_bboxes.dtype == dtype
    assert torch.equal(found.fg_mask, want.fg_mask)
    assert torch.allclose(found.target_scores.double(), want.target_scores, rtol=0, atol=2.0**-8)


def test_scores_may_be_narrower_than_boxes() -> None:
    """The targets have the promoted dtype; QA8: predictions of any dtype are accepted."""
    given = inputs_of([FIRST])
    given["pd_scores"], given["pd_bboxes"] = given["pd_scores"].float(), given["pd_bboxes"].half()
    found = assign(given, topk=3)
    assert found.target_scores.dtype == found.target_bboxes.dtype == F64
    assert same(given_to(found), given_to(assign(inputs_of([FIRST]), topk=3)))


def test_nothing_carries_gradient_and_nothing_is_written() -> None:
    for objects in ([FIRST, THIN], [((16, 16, 4, 12, 0.5), 1)]):
        given = {name: x.requires_grad_() for name, x in inputs_of(objects).items()}
        before = [x.detach().clone() for x in given.values()]
        found = assign(given, topk=3)
        assert not found.target_scores.requires_grad
        assert all(torch.equal(x, y) for x, y in zip(given.values(), before, strict=True))


@pytest.mark.parametrize("name", ["pd_bboxes", "anc_points", "gt_labels", "gt_bboxes", "mask_gt"])
def test_shapes_that_do_not_fit(name: str) -> None:
    given = inputs_of([FIRST, SECOND])
    given[name] = given[name].unsqueeze(0)
    with pytest.raises(ValueError, match=name if name != "gt_bboxes" else "expected"):
        assign(given, topk=3)


def test_strides_do_not_matter() -> None:
    """QA7."""
    given = inputs_of([FIRST, SECOND])
    turned = {name: x.transpose(0, -1).contiguous().transpose(0, -1) for name, x in given.items()}
    assert given_to(assign(turned, topk=3)) == given_to(assign(given, topk=3))


def test_an_inverted_box_has_candidates_without_overlap() -> None:
    found = assign(inputs_of([((18, 18, 12, 12), 1)]), topk=16)
    assert found.fg_mask.nonzero()[:, 1].tolist() == [5, 6, 9, 10]
    assert not found.target_scores.any()


@pytest.mark.parametrize(
    ("box", "count"), [((4, 4, 12, 12), 0), ((8, 8, 8, 8, 0), 4), ((3.875, 4, 12, 12), 0), ((3, 3, 13, 13), 4)]
)
def test_anchors_on_an_edge(box: tuple[float, ...], count: int) -> None:
    """Outside of an upright box, inside of a rotated one (QA13)."""
    assert int(assign(inputs_of([(box, 1)]), topk=16).fg_mask.sum()) == count


def test_a_small_side_is_below_the_first_stride() -> None:
    """QA2: 7.875 becomes 16, 8 stays 8."""
    for side, count in ((7.875, 4), (8, 1), (8.25, 4)):
        box = (16 - side / 2, 16 - side / 2, 16 + side / 2, 16 + side / 2)
        moved = (box[0] - 1, box[1] - 1, box[2] - 1, box[3] - 1)
        assert int(assign(inputs_of([(moved, 1)]), topk=16).fg_mask.sum()) == (count if side != 8.25 else 1)


def test_metrics_of_0_only_count_in_the_mask() -> None:
    """QA3: kept or not, the targets are the same."""
    both = [task_aligned(*far_inputs().values(), 4, 2, zero_metric=rule) for rule in ("kept", "dropped")]
    assert torch.equal(both[0].target_scores, both[1].target_scores)
    assert both[0].fg_mask.all()
    assert not both[1].fg_mask.any()


# The rules -------------------------------------------------------------------------------------------------


def told_apart(given: dict[str, Tensor], **rule: Any) -> Given:
    """What a rule gives, after making sure that the default gives something else."""
    settings: dict[str, Any] = {"num_classes": given["pd_scores"].shape[-1], "alpha": 0.5}
    topk = 1 if given["pd_scores"].shape[-1] == 3 else 4
    usual, other = (given_to(task_aligned(*given.values(), topk, **settings, **r)) for r in ({}, rule))
    assert usual != other
    return other


def test_conflicts_among_those_that_picked() -> None:
    assert told_apart(steal_inputs(), conflict="picked")[5][0] == 0


def test_conflicts_among_those_that_contain() -> None:
    assert {a: g for a, (g, _) in told_apart(far_inputs(), conflict="containing").items()} == {0: 1, 1: 2, 2: 2, 3: 2}


def test_conflicts_among_all_that_overlap() -> None:
    """The winner does not contain the anchor, and has its own metric there."""
    given = inputs_of([((8, 5, 16, 12), 0), ((8, 10, 14, 25), 1), ((12, 3, 30, 22), 0)])
    settings: dict[str, Any] = {"num_classes": given["pd_scores"].shape[-1], "alpha": 0.5}
    usual, found = (
        given_to(task_aligned(*given.values(), 2, **settings, **rule)) for rule in ({}, {"conflict": "overlapping"})
    )
    overlap = bbox_iou(given["gt_bboxes"][0][:, None], given["pd_bboxes"][0][None], xywh=False, CIoU=True)[..., 0]
    moved = [a for a in found if found[a] != usual[a]]
    assert moved
    for a in moved:
        number, (x, y) = found[a][0], given["anc_points"][a]
        left, top, right, bottom = given["gt_bboxes"][0, number]
        assert number == int(overlap[:, a].argmax())
        assert not (left < x < right and top < y < bottom) or found[a][0] == usual[a][0]


def test_plain_iou() -> None:
    best = told_apart(inputs_of([FIRST]), overlap="iou")[5]
    assert best == (0, pytest.approx(17 * 16.625 / (400 + 17 * 16.625 - 17 * 16.625), rel=1e-6))


def test_zero_metrics_dropped() -> None:
    assert told_apart(far_inputs(), zero_metric="dropped") == {}


@pytest.mark.parametrize(("rule", "count"), [("stride1", 4), ("stride0", 1), ("off", 1), ("raised", 4)])
def test_small_boxes(rule: str, count: int) -> None:
    found = task_aligned(*inputs_of([THIN]).values(), 16, 2, small_boxes=rule)
    assert int(found.fg_mask.sum()) == (count if rule != "off" else 0)


def test_raised_sides_have_no_jump() -> None:
    """Releases after 8.4.24: every side below stride[1] counts as stride[1]."""
    told_apart(inputs_of([((11, 11, 19, 19), 1)]), small_boxes="raised")
    for side in (2, 7.5, 8, 9, 15.5, 16):
        box = (15 - side / 2, 15 - side / 2, 15 + side / 2, 15 + side / 2)
        assert int(task_aligned(*inputs_of([(box, 1)]).values(), 16, 2, small_boxes="raised").fg_mask.sum()) == 4


def test_reach() -> None:
    """Only anchors nearer than reach * stride to the centre (12, 12), in both axes."""
    assert sorted(told_apart(inputs_of([FIRST]), reach=0.75)) == [5]
    assert sorted(told_apart(inputs_of([FIRST]), reach=1.0)) == [5]


def test_at_least_one() -> None:
    """(4,4,12,13) contains no anchor; 4 and 5 are equally near to (8, 8.5): the first."""
    assert list(told_apart(inputs_of([((4, 4, 12, 13), 1)]), at_least_one="nearest")) == [4]
    assert list(told_apart(inputs_of([((60, 60, 70, 70), 1)]), at_least_one="nearest")) == [15]


def test_the_best_of_all_anchors() -> None:
    """(4,4,12,13) contains no anchor; its largest metric is elsewhere than at the nearest one."""
    box = (4, 4, 12, 13)
    metric = bbox_iou(torch.tensor(box, dtype=F64), inputs_of([(box, 1)])["pd_bboxes"][0], xywh=False, CIoU=True)
    assert list(told_apart(inputs_of([(box, 1)]), at_least_one="best")) == [int(metric.argmax())]


def test_on_the_edge() -> None:
    """Anchors 0, 1, 4, 5 are the corners of (4,4,12,12)."""
    assert sorted(told_apart(inputs_of([((4, 4, 12, 12), 1)]), edge="closed")) == [0, 1, 4, 5]


# The sparse functions against loops and against dense code ---------------------------------------------------


def by_loops(t: Tensor, o: Tensor, inside: Tensor, topk: int, topk2: int, rules: Rules) -> list[tuple[Any, ...]]:
    """(image, anchor, object, score) by the text of the specification, one anchor after the other."""
    found = []
    for image in range(len(t)):
        metric, overlap, seen = t[image].tolist(), o[image].tolist(), inside[image].tolist()
        objects, anchors = range(len(seen)), range(len(seen[0]) if seen else 0)
        picks = []
        for g in objects:
            order = sorted((a for a in anchors if seen[g][a]), key=lambda a, g=g: -metric[g][a])
            picks.append({a for a in order[:topk] if rules.zero_metric == "kept" or metric[g][a] > 0})
        owner: dict[int, int] = {}
        for a in anchors:
            claims = [g for g in objects if a in picks[g]]
            among = {"all": objects, "containing": [g for g in objects if seen[g][a]], "picked": claims}[rules.conflict]
            if claims:
                owner[a] = claims[0] if len(claims) == 1 else max(among, key=lambda g, a=a: (overlap[g][a], -g))
        if topk2 != topk:
            for g in objects:
                mine = sorted((a for a in owner if owner[a] == g), key=lambda a, g=g: -metric[g][a])
                owner = {a: h for a, h in owner.items() if a not in mine[topk2:]}
        for a, g in sorted(owner.items()):
            mine = [b for b in owner if owner[b] == g]
            top, best = max(metric[g][b] for b in mine), max(overlap[g][b] for b in mine)
            found.append((image, a, g, metric[g][a] * best / (top + 1e-9)))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_select_is_what_the_loops_give(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positives, "CHUNK", 5)  # so that objects have several pieces
    draw, rng = random.Random(seed), torch.Generator().manual_seed(seed)
    shape = draw.choice([(1, 1, 4), (2, 3, 12), (3, 4, 30), (1, 6, 9), (2, 5, 3), (2, 3, 60)])
    inside = torch.rand(shape, generator=rng) < draw.choice([0.1, 0.5, 0.9])
    o = torch.rand(shape, generator=rng, dtype=F64) * inside
    z = torch.rand(shape, generator=rng, dtype=F64) * inside
    topk, topk2 = (draw.randint(1, min(shape[2], 6)) for _ in "ab")
    if seed % 3 == 0:  # equal overlaps and zeros, where nothing is undefined because everything is taken
        o, topk, topk2 = (o * 4).floor() / 4, shape[2], shape[2]
    t = z.sqrt() * o**2
    for conflict in ("all", "containing", "picked"):
        rules = Rules(conflict=conflict, zero_metric=draw.choice(["kept", "dropped"]))
        pairs = Pairs(*inside.nonzero(as_tuple=True))
        found = select(pairs, t[inside], o[inside], shape, topk=topk, topk2=topk2, eps=1e-9, rules=rules)
        rows = list(zip(*(column.tolist() for column in found), strict=True))
        assert rows == [(*row[:3], pytest.approx(row[3])) for row in by_loops(t, o, inside, topk, topk2, rules)]


def test_select_without_anything() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    for shape in ((2, 0, 40), (0, 3, 40), (2, 3, 40)):
        empty = torch.zeros(0)
        found: Positives = select(Pairs(nothing, nothing, nothing), empty, empty, shape, topk=10, topk2=5, eps=1e-9)
        assert [len(column) for column in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_candidates_are_the_anchors_inside(seed: int) -> None:
    """Against the same test written for all pairs, upright and rotated, in a 640 x 640 image."""
    rng = np.random.default_rng(seed)
    points = torch.tensor(np.concatenate([s / 8 * grid_points((640 // s) ** 2) for s in (8, 16, 32)]))
    middle, side = (torch.tensor(rng.integers(lo, hi, (2, 9, 2)) / 8) for lo, hi in ((0, 5120), (1, 900)))
    angle = torch.tensor(rng.integers(-24, 72, (2, 9, 1)) / 32)
    valid = torch.tensor(rng.random((2, 9)) < 0.8)
    apart = points - middle[:, :, None]
    half = torch.where(side < 8, 16.0, side)[:, :, None] / 2
    inside = (apart.abs() < half - 1e-9).all(-1) & valid[..., None]
    found = candidates(points, torch.cat([middle - side / 2, middle + side / 2], -1), valid, (8, 16, 32))
    assert all(map(torch.equal, found, inside.nonzero(as_tuple=True)))
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack([apart[..., 0] * cos + apart[..., 1] * sin, apart[..., 1] * cos - apart[..., 0] * sin], -1)
    inside = (turned.abs() <= half).all(-1) & valid[..., None]
    found = candidates_rotated(points, torch.cat([middle, side, angle], -1), valid, (8, 16, 32))
    assert all(map(torch.equal, found, inside.nonzero(as_tuple=True)))


def test_a_reach_is_in_units_of_the_anchors_own_stride() -> None:
    points = torch.tensor([(4.0, 4.0), (12, 4), (20, 4), (8, 8), (24, 8)])
    steps = torch.tensor([8.0, 8, 8, 16, 16])
    box, real = torch.tensor([[[0.0, 0, 32, 32]]]), torch.ones(1, 1, dtype=torch.bool)
    rules = Rules(reach=1.0)
    assert candidates(points, box, real, (8, 16), rules, steps).anchor.tolist() == [3, 4]
    assert candidates(points, box, real, (8, 16), rules).anchor.tolist() == []
    assert candidates(points, box, real, (8, 16), Rules(reach=1.6)).anchor.tolist() == [0, 1, 2, 3, 4]


SPECS = [(plain.SPEC, plain.DENSE), (rotated.SPEC, rotated.DENSE)]


@pytest.mark.parametrize(("spec", "steps"), SPECS, ids=[row[0].name for row in SPECS])
def test_dense_code_without_a_mistake_is_right(spec: Spec, steps: Steps) -> None:
    """So an impostor is rejected for its one mistake, and for nothing else."""
    right = Target(spec.name, partial(partial, dense(steps)), "dense", tuple(spec.params))
    cases: list[Case] = [case for kind in ("corner", "small", "setting") for case in material(spec, kind, "quick", 0)]
    found = [examine(named("value"), spec, right, case, "float64") for case in cases]
    assert not [(case.id, one.problem) for case, one in zip(cases, found, strict=True) if one.problem]
    assert sum(one.examined > 0 for one in found) > 2 * len(found) / 3


@pytest.mark.parametrize("spec", [plain.SPEC, rotated.SPEC], ids=["task_aligned", "rotated_task_aligned"])
def test_few_drawn_cases_are_ties(spec: Spec) -> None:
    from lossref.oracle.answers import evaluate

    rng, ties = np.random.default_rng(0), 0
    for number in range(60):
        case = draw_case(spec, rng, spec.sizes["small"][number % 2], {})
        try:
            evaluate(spec, case, 128, "raise")
        except Tie:
            ties += 1
    assert ties < 20


def test_undefined_choices_have_no_answer() -> None:
    """Equal metrics at the edge of the top k, and zeros that fill it up."""
    from lossref.oracle.answers import evaluate

    corner = {case.id: case for case in plain.SPEC.corners}["A7"]
    full = {**plain.SPEC.defaults(), **corner.params}
    evaluate(plain.SPEC, replace(corner, params=full), 128, "raise")
    with pytest.raises(Tie, match="metric 0"):
        evaluate(plain.SPEC, replace(corner, params={**full, "topk": 2}), 128, "raise")
    twins = np.tile(corner.inputs["gt_bboxes"][:, 1:2] * 2, (1, 3, 1))
    same_scores = {**corner.inputs, "pd_scores": np.full((1, 4, 2), 0.5), "gt_bboxes": twins}
    same_scores["pd_bboxes"] = np.tile([0.0, 0.0, 20.0, 20.0], (1, 4, 1))
    with pytest.raises(Tie):
        evaluate(plain.SPEC, replace(corner, inputs=same_scores, params={**full, "topk": 2}), 128, "raise")


MISSPELT = [
    ("conflict", "everyone"),
    ("zero_metric", "keep"),
    ("small_boxes", "stride2"),
    ("at_least_one", "yes"),
    ("edge", "shut"),
    ("overlap", "giou"),
]


@pytest.mark.parametrize(("rule", "choice"), MISSPELT, ids=[row[0] for row in MISSPELT])
def test_a_misspelt_rule_is_refused(rule: str, choice: str) -> None:
    """Another choice must not be taken silently."""
    case = next(one for one in plain.SPEC.corners if one.id == "A1")
    given = {name: torch.tensor(np.array(x)) for name, x in case.inputs.items()}
    with pytest.raises(ValueError, match=f"{rule}: expected .* got '{choice}'"):
        task_aligned(**given, **{**case.params, rule: choice})
