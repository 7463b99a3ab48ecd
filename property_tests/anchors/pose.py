"""Every number and edge case of the pose losses that the specification states.

Sources: spec/40-yolo.md sections 3, 4, 10, 11 (D5, D6) and rows 10 to 13 and 21 of its table of mistakes,
spec/00-conventions.md QC3, spec/05-decisions.md D5, D6, D8, D10, D11, D12. Fixture F: shared/fixture_f.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossref.hosts.probe import call, itself
from lossref.losses.detection.v8_detection import v8DetectionLoss
from lossref.losses.keypoints.keypoint import KeypointLoss
from lossref.losses.keypoints.realnvp import RealNVP
from lossref.losses.keypoints.rle import RLELoss
from lossref.losses.keypoints.tables import OKS_SIGMA, RLE_WEIGHT
from lossref.losses.pose.pose26 import PoseLoss26
from lossref.losses.pose.v8_pose import v8PoseLoss
from lossref.oracle.answers import true_value
from shared import fixture_f as F
from shared.corners import corner_of
from shared.digits import printed

Preds = dict[str, Any]
BOTH = pytest.mark.parametrize("Loss", [v8PoseLoss, PoseLoss26])
NO_OBJECT = "57.348874101"


def criterion(Loss: Any = v8PoseLoss, kpt_shape: Any = (3, 3), flow: Any = None, **more: Any) -> Any:
    """A loss over the model of F; kpt_shape is handed over as a list."""
    given = list(kpt_shape) if isinstance(kpt_shape, tuple) else kpt_shape.shape
    return Loss(F.model(kpt_shape=given, flow_model=flow), **more)


class AsIs:
    """Marks a kpt_shape that is handed over as it is."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


def predictions(values: int = 3, sigma: bool = False) -> Preds:
    """Leaves with 3 keypoints of that many values."""
    more = {"kpts_sigma": F.kpts_sigma()} if sigma else {}
    return F.leaves(F.predictions(kpts=F.kpts(3 * values), **more))


def objects(values: int = 3, **more: Any) -> dict[str, Any]:
    return F.batch(keypoints=F.keypoints(values=values), **more)


def run(loss: Any, preds: Preds, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The call, and the gradient of the sum of the vector in the leaves."""
    vector, items = loss(preds, batch)
    vector.sum().backward()
    return vector, items


# Fixture F ----------------------------------------------------------------------------------------------


def test_v8_on_f() -> None:
    preds = predictions()
    vector, items = run(criterion(), preds, objects())
    assert not printed(items, "3.45467433272", "5.7810171676", "0.703856476632", "16.8840331677", "2.34181976633")
    assert torch.equal(vector, 2 * items)
    assert vector.requires_grad
    assert not items.requires_grad
    grad = preds["kpts"].grad
    assert not printed(
        grad[[0, 0, 1], [3, 5, 0], [10, 10, 12]], "-0.222614516573", "-0.0164629611098", "-0.166493641625"
    )
    assert not printed(preds["boxes"].grad[0, 0, 10], "0.0529433198252")
    assert not printed(preds["scores"].grad[0, 1, 10], "0.126949352761")


def test_26_on_f() -> None:
    preds, flow = predictions(sigma=True), F.ZeroFlow()
    vector, items = run(criterion(PoseLoss26, flow=flow), preds, objects())
    numbers = ("3.45467433272", "4.61249604684", "0.703856476632", "16.8840331677", "2.34181976633", "29.9281879478")
    assert not printed(items, *numbers)
    assert torch.equal(vector, 2 * items)
    assert not printed(preds["kpts"].grad[0, 3, 10], "-0.774455207569")
    assert not printed(preds["kpts_sigma"].grad[0, 2, 10], "-0.380742030353")
    assert flow.scale.grad is not None


def test_26_without_sigma_has_a_last_entry_of_zero() -> None:
    """Row 21 of the mistakes: the flow decides how long the vector is, not kpts_sigma."""
    for given in ({}, {"kpts_sigma": None}):
        preds, flow = {**predictions(), **given}, F.ZeroFlow()
        _, items = run(criterion(PoseLoss26, flow=flow), preds, objects())
        assert len(items) == 6
        assert not printed(items[[1, 2, 5]], "4.61249604684", "0.703856476632", "0")
        assert flow.scale.grad is not None


def test_26_without_a_flow_has_five_entries() -> None:
    preds = predictions(sigma=True)
    _, items = run(criterion(PoseLoss26), preds, objects())
    assert not printed(items, "3.45467433272", "4.61249604684", "0.703856476632", "16.8840331677", "2.34181976633")
    assert preds["kpts_sigma"].grad is None, "it is ignored by contract"


def test_two_values_a_keypoint() -> None:
    _, items = criterion(kpt_shape=(3, 2))(predictions(2), objects(2))
    assert not printed(items[1:3], "5.63763124886", "0")


def test_two_values_a_keypoint_with_sigma() -> None:
    """D6."""
    preds = predictions(2, sigma=True)
    _, items = run(criterion(PoseLoss26, (3, 2), F.ZeroFlow()), preds, objects(2))
    numbers = ("3.45467433272", "4.98283747034", "0", "16.8840331677", "2.34181976633", "36.3519914952")
    assert not printed(items, *numbers)
    assert not printed(preds["kpts"].grad[0, 2, 10], "-0.293177606826")
    assert not printed(preds["kpts_sigma"].grad[0, 2, 10], "-0.0489706528002")


@BOTH
def test_nothing_visible(Loss: Any) -> None:
    hidden = F.keypoints()
    hidden[..., 2] = 0
    preds = predictions(sigma=True)
    _, items = run(criterion(Loss, flow=F.ZeroFlow()), preds, F.batch(keypoints=hidden))
    assert not printed(items[1:3], "0", "0.679550921077")
    assert items[5:].tolist() == [0.0] * (Loss is PoseLoss26)
    assert preds["kpts"].grad.isfinite().all()


@BOTH
def test_order_of_the_objects_does_not_matter(Loss: Any) -> None:
    batch, order = objects(), torch.tensor([2, 0, 1])
    turned = {name: x[order] for name, x in batch.items()}
    loss = criterion(Loss, flow=F.ZeroFlow())
    _, want = loss(predictions(sigma=True), batch)
    _, got = loss(predictions(sigma=True), turned)
    assert torch.allclose(got, want, rtol=1e-14, atol=0)


@BOTH
def test_foreign_objects_are_ignored(Loss: Any) -> None:
    batch = objects()
    more = {name: torch.cat([x, x[:1]]) for name, x in batch.items()}
    more["batch_idx"][-1] = 5
    loss = criterion(Loss, flow=F.ZeroFlow())
    assert torch.equal(loss(predictions(sigma=True), more)[1], loss(predictions(sigma=True), batch)[1])


# Without positives --------------------------------------------------------------------------------------


def zero_but_scores(preds: Preds) -> None:
    """D10: every prediction has a gradient, and only that of the scores is not zero."""
    for name in preds.keys() - {"feats", "scores"}:
        assert preds[name].grad is not None, f"{name}: None"
        assert not preds[name].grad.any(), name
    assert preds["scores"].grad.any()


def test_no_object_v8() -> None:
    preds = predictions()
    _, items = run(criterion(), preds, F.no_object())
    assert not printed(items, "0", "0", "0", NO_OBJECT, "0")
    zero_but_scores(preds)


@pytest.mark.parametrize("sigma", [True, False])
@pytest.mark.parametrize("flow", [F.ZeroFlow, lambda: RealNVP().double()], ids=["zero", "RealNVP"])
def test_no_object_26(sigma: bool, flow: Callable[[], nn.Module]) -> None:
    preds, model = predictions(sigma=sigma), flow()
    _, items = run(criterion(PoseLoss26, flow=model), preds, F.no_object())
    assert not printed(items, "0", "0", "0", NO_OBJECT, "0", "0")
    zero_but_scores(preds)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


FAR = (0, 1, 40.0, 40.0, 0.25, 0.25)  # an object outside of the image contains no anchor


@BOTH
def test_objects_without_positives(Loss: Any) -> None:
    """The keypoints are not read: they may be missing."""
    preds = predictions(sigma=True)
    if Loss is v8PoseLoss:
        del preds["kpts_sigma"]
    _, items = run(criterion(Loss, flow=F.ZeroFlow()), preds, F.batch(FAR))
    assert not printed(items[:5], "0", "0", "0", NO_OBJECT, "0")
    zero_but_scores(preds)


@BOTH
def test_zero_terms_read_no_value(Loss: Any) -> None:
    """D11: an infinity where there is no positive changes nothing."""
    preds = F.predictions(kpts=F.kpts(), kpts_sigma=F.kpts_sigma())
    preds["kpts"][0, 0, 0] = math.inf
    preds["kpts_sigma"][0, 0, 0] = math.inf
    preds = F.leaves(preds)
    loss = criterion(Loss, flow=F.ZeroFlow())
    for batch in (F.no_object(), objects()):
        vector, items = loss(preds, batch)
        assert items.isfinite().all()
        vector.sum().backward()
        assert preds["kpts"].grad.isfinite().all()


def test_missing_keypoints() -> None:
    with pytest.raises(KeyError, match="keypoints"):
        criterion()(predictions(), F.batch())


# Parts of v8PoseLoss ------------------------------------------------------------------------------------


def test_attributes() -> None:
    loss = criterion()
    assert isinstance(loss, v8DetectionLoss)
    assert loss.kpt_shape == [3, 3]
    assert isinstance(loss.bce_pose, nn.BCEWithLogitsLoss)
    assert loss.bce_pose.reduction == "mean"
    assert isinstance(loss.keypoint_loss, KeypointLoss)
    assert loss.assigner.topk2 == 10
    later = criterion(PoseLoss26, flow=F.ZeroFlow())
    assert isinstance(later, v8PoseLoss)
    assert isinstance(later.rle_loss, RLELoss)
    assert later.target_weights.tolist() == [1.0, 1.0, 1.0]
    without = criterion(PoseLoss26)
    assert without.rle_loss is None
    assert without.flow_model is None
    assert not hasattr(without, "target_weights")


def test_signatures() -> None:
    assert str(
        inspect.signature(v8PoseLoss).replace(parameters=list(inspect.signature(v8PoseLoss).parameters.values()))
    )
    defaults = {
        Loss: {name: p.default for name, p in inspect.signature(Loss).parameters.items() if name != "model"}
        for Loss in (v8PoseLoss, PoseLoss26)
    }
    assert defaults[v8PoseLoss] == {"tal_topk": 10, "tal_topk2": 10}
    assert defaults[PoseLoss26] == {"tal_topk": 10, "tal_topk2": None}
    names = ["masks", "target_gt_idx", "keypoints", "batch_idx", "stride_tensor", "target_bboxes", "pred_kpts"]
    for Loss in (v8PoseLoss, PoseLoss26):
        assert list(inspect.signature(Loss.calculate_keypoints_loss).parameters)[1:] == names
        assert list(inspect.signature(Loss.kpts_decode).parameters) == ["anchor_points", "pred_kpts"]


def test_list_and_tuple_of_17() -> None:
    """QC3: only the list has the constants of COCO."""
    listed, tupled = criterion(kpt_shape=(17, 3)), criterion(kpt_shape=AsIs((17, 3)))
    assert torch.equal(listed.keypoint_loss.sigmas, OKS_SIGMA)
    assert not printed(listed.keypoint_loss.sigmas[:2].double(), "0.025999998673796654", "0.025000000372529030")
    assert tupled.keypoint_loss.sigmas.float()[0].item() == pytest.approx(0.0588235296, rel=2e-9)
    flow = F.ZeroFlow()
    assert torch.equal(criterion(PoseLoss26, (17, 3), flow).target_weights, RLE_WEIGHT)
    assert criterion(PoseLoss26, AsIs((17, 3)), flow).target_weights.tolist() == [1.0] * 17


def test_17_keypoints_differ_between_list_and_tuple() -> None:
    preds = F.leaves(F.predictions(kpts=F.kpts(51)))
    batch = F.batch(keypoints=F.keypoints(17))
    _, listed = criterion(kpt_shape=(17, 3))(preds, batch)
    _, tupled = criterion(kpt_shape=AsIs((17, 3)))(preds, batch)
    assert (listed != tupled).tolist() == [False, True, False, False, False]


def test_decoding() -> None:
    points = torch.tensor([[1.5, 0.5]], dtype=torch.float64)
    raw = torch.tensor([[[[0.75, 0.875, 1.0]]]], dtype=torch.float64)
    assert v8PoseLoss.kpts_decode(points, raw).tolist() == [[[[2.5, 1.75, 1.0]]]]
    assert PoseLoss26.kpts_decode(points, raw).tolist() == [[[[2.25, 1.375, 1.0]]]]
    assert raw.tolist() == [[[[0.75, 0.875, 1.0]]]]


@pytest.mark.parametrize("columns", [(), (1,)])
def test_selected_keypoints(columns: tuple[int, ...]) -> None:
    """Objects by image in the order of the batch; zeros where the image has fewer; foreign ones dropped."""
    keypoints = torch.arange(24, dtype=torch.float64).reshape(4, 2, 3)
    batch_idx = torch.tensor([1.0, 0.0, 9.0, 1.0]).reshape(4, *columns)
    index = torch.tensor([[0, 1, 0], [1, 0, 0]])
    got = criterion(kpt_shape=(2, 3))._select_target_keypoints(keypoints, batch_idx, index, torch.zeros(2, 3))
    nothing = torch.zeros(2, 3, dtype=torch.float64)
    want = [torch.stack([keypoints[1], nothing, keypoints[1]]), torch.stack([keypoints[3], keypoints[0], keypoints[0]])]
    assert got.dtype == torch.float64
    assert torch.equal(got, torch.stack(want))


def test_selecting_from_nothing_or_beyond_is_refused() -> None:
    loss, index = criterion(kpt_shape=(2, 3)), torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(RuntimeError):
        loss._select_target_keypoints(torch.zeros(0, 2, 3), torch.zeros(0), index, torch.zeros(2, 3))
    with pytest.raises(RuntimeError):
        loss._select_target_keypoints(torch.zeros(3, 2, 3), torch.tensor([0.0, 0.0, 1.0]), index + 2, torch.zeros(2, 3))


def dense(loss: Any, preds: Preds, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The arguments of calculate_keypoints_loss on F."""
    (fg_mask, index, boxes, points, strides), _, _ = loss.get_assigned_targets_and_loss(preds, batch)
    raw = preds["kpts"].permute(0, 2, 1).reshape(2, 40, *loss.kpt_shape)
    if preds.get("kpts_sigma") is not None:
        raw = torch.cat([raw, preds["kpts_sigma"].permute(0, 2, 1).reshape(2, 40, -1, 2)], -1)
    keypoints = batch["keypoints"].clone()
    keypoints[..., :2] *= torch.tensor([64.0, 32.0], dtype=keypoints.dtype)
    return {
        "masks": fg_mask,
        "target_gt_idx": index,
        "keypoints": keypoints,
        "batch_idx": batch["batch_idx"],
        "stride_tensor": strides,
        "target_bboxes": boxes,
        "pred_kpts": loss.kpts_decode(points, raw),
    }


def test_dense_terms_on_f() -> None:
    """calculate_keypoints_loss gives what the loss computes from positives; nothing is written to (QY5)."""
    loss = criterion()
    given = dense(loss, predictions(), objects())
    before = {name: x.clone() for name, x in given.items()}
    pose, kobj = loss.calculate_keypoints_loss(**given)
    assert not printed(torch.stack([12 * pose, kobj]), "5.7810171676", "0.703856476632")
    assert all(torch.equal(given[name], x) for name, x in before.items()), "QY5: an argument was written to"
    later = criterion(PoseLoss26, flow=F.ZeroFlow())
    terms = later.calculate_keypoints_loss(**dense(later, predictions(sigma=True), objects()))
    assert not printed(
        torch.stack(terms) * torch.tensor([12.0, 1, 1]), "4.61249604684", "0.703856476632", "29.9281879478"
    )


@BOTH
def test_dense_terms_without_positives(Loss: Any) -> None:
    loss = criterion(Loss, flow=F.ZeroFlow())
    given = dense(loss, predictions(), objects())
    given["masks"] = torch.zeros_like(given["masks"])
    terms = loss.calculate_keypoints_loss(**given)
    assert [term.item() for term in terms] == [0.0] * (2 + (Loss is PoseLoss26))
    given["masks"] = given["masks"].double()
    assert [term.item() for term in loss.calculate_keypoints_loss(**given)] == [0.0] * len(terms)


def test_visibility_is_zero_or_not() -> None:
    loss, batch = criterion(), objects()
    want = loss(predictions(), batch)[1]
    for number in (1.0, 2.0, -1.0):
        other = batch["keypoints"].clone()
        other[..., 2] = (other[..., 2] != 0) * number
        assert torch.equal(loss(predictions(), {**batch, "keypoints": other})[1], want)


def test_labels_without_visibility_and_a_head_with_it() -> None:
    """All visible, and kobj against ones."""
    seen = F.keypoints()
    seen[..., 2] = 1
    want = criterion()(predictions(), F.batch(keypoints=seen))[1]
    assert torch.equal(criterion()(predictions(), objects(2))[1], want)


def test_labels_with_visibility_and_a_head_without_it() -> None:
    """Location uses the visibility, kobj is 0."""
    short = predictions(2)
    with_visibility = criterion(kpt_shape=(3, 2))(short, objects(3))[1]
    without = criterion(kpt_shape=(3, 2))(short, objects(2))[1]
    assert with_visibility[2] == without[2] == 0
    assert with_visibility[1] != without[1]


def test_an_object_without_visible_keypoints_counts_in_the_mean() -> None:
    loss = criterion()
    given = dense(loss, predictions(), objects())
    pose, _ = loss.calculate_keypoints_loss(**given)
    hidden = {**given, "keypoints": given["keypoints"].clone()}
    hidden["keypoints"][2, :, 2] = 0
    image_0 = {**given, "masks": given["masks"] & torch.tensor([[True], [False]])}
    assert given["masks"].sum(1).tolist() == [14, 10]
    partial, _ = loss.calculate_keypoints_loss(**hidden)
    alone, _ = loss.calculate_keypoints_loss(**image_0)
    assert partial.item() == pytest.approx(alone.item() * 14 / 24, rel=1e-12)
    assert partial.item() != pytest.approx(pose.item())


@pytest.mark.parametrize("topk", [10, 5])
def test_second_round_of_the_assigner(topk: int) -> None:
    """tal_topk2 is 10: with another tal_topk the second round runs, and needs 10 anchors."""
    model = F.model(strides=(16.0,), kpt_shape=[3, 3])
    tensors = {"boxes": F.boxes(), "scores": F.scores(), "kpts": F.kpts()}
    preds = {name: x[..., :8] for name, x in tensors.items()}
    preds["feats"] = [torch.zeros(2, 1, 2, 4)]
    with pytest.raises(RuntimeError):
        v8PoseLoss(model, tal_topk=topk)(preds, objects())
    v8PoseLoss(model, tal_topk=5, tal_topk2=None)(preds, objects())


@BOTH
@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [3, 17])
def test_float64_is_not_narrowed_by_the_default_dtype(Loss: Any, default: torch.dtype, count: int) -> None:
    def items() -> Tensor:
        preds = F.predictions(kpts=F.kpts(3 * count), kpts_sigma=F.kpts_sigma(count))
        found: Tensor = criterion(Loss, (count, 3), F.ZeroFlow())(preds, F.batch(keypoints=F.keypoints(count) * 1.1))[1]
        return found

    want, before = items(), torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        got = items()
    finally:
        torch.set_default_dtype(before)
    assert got.dtype == torch.float64
    assert torch.equal(got, want)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_half_precision_gives_float32(Loss: Any, dtype: torch.dtype) -> None:
    """D9: the numbers of float32 on the same inputs; F is exact in float16 and bfloat16."""
    loss = criterion(Loss, flow=F.ZeroFlow())
    exact = F.predictions(kpts=F.kpts(), kpts_sigma=F.kpts_sigma())
    preds = {name: x if name == "feats" else x.to(dtype) for name, x in exact.items()}
    wide = {name: x if name == "feats" else x.float() for name, x in exact.items()}
    got = loss(preds, objects())[1]
    assert got.dtype == torch.float32
    assert torch.equal(got, loss(wide, objects())[1])


@BOTH
def test_nothing_is_changed(Loss: Any) -> None:
    """D12: not the predictions, not the batch; the second call gives what the first gave."""
    loss = criterion(Loss, flow=F.ZeroFlow())
    preds, batch = F.predictions(kpts=F.kpts(), kpts_sigma=F.kpts_sigma()), objects()
    before = {**{k: v.clone() for k, v in preds.items() if k != "feats"}, **{k: v.clone() for k, v in batch.items()}}
    first, again = loss(preds, batch)[1], loss(preds, batch)[1]
    assert torch.equal(first, again)
    assert all(torch.equal({**preds, **batch}[name], x) for name, x in before.items())


@BOTH
def test_wrong_shapes_are_refused(Loss: Any) -> None:
    loss = criterion(Loss, flow=F.ZeroFlow())
    good = predictions(sigma=True)
    with pytest.raises(RuntimeError, match="kpts"):
        loss({**good, "kpts": good["kpts"][:, :8]}, objects())
    with pytest.raises(RuntimeError, match="kpts"):
        loss({**good, "kpts": good["kpts"][..., :39]}, objects())
    with pytest.raises(ValueError, match="keypoints"):
        loss(good, F.batch(keypoints=F.keypoints(4)))
    wrong = F.keypoints()
    wrong[0, 0, 2] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        loss(good, F.batch(keypoints=wrong))


def test_own_sigmas_are_used() -> None:
    loss = criterion()
    usual = loss(predictions(), objects())[1]
    loss.keypoint_loss = KeypointLoss(torch.full((3,), 1 / 3, dtype=torch.float64))
    assert torch.equal(loss(predictions(), objects())[1], usual)
    loss.keypoint_loss = KeypointLoss(torch.full((3,), 0.5))
    assert loss(predictions(), objects())[1][1] < usual[1]


# calculate_rle_loss ---------------------------------------------------------------------------------------

PRED = ((0.5, 0.25, 0, 0.5, -0.5), (1, 2, 0, 0, 1)), ((3, 1, 0, -1, 0.25), (0.25, 0.75, 0, 0, 0))
TRUE = ((0.25, 0.75, 2), (1.5, 1, 0)), ((2, 2, 1), (0.25, 0.25, 1))


def tensor(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def likelihood(pred: Any, true: Any, mask: Any = None, shape: Any = (2, 3), flow: Any = None) -> tuple[Tensor, Tensor]:
    """The loss and its gradient to the prediction."""
    loss = criterion(PoseLoss26, shape, flow or F.ZeroFlow())
    leaf = (pred if isinstance(pred, Tensor) else tensor(pred)).clone().requires_grad_()
    true = tensor(true) if not isinstance(true, Tensor) else true
    seen = true[..., 2] != 0 if mask is None else mask
    value = loss.calculate_rle_loss(leaf, true.to(leaf.dtype), seen)
    value.backward()
    assert value.shape == ()
    return value.detach(), leaf.grad if leaf.grad is not None else torch.zeros(0)


def test_likelihood_example() -> None:
    value, grad = likelihood(PRED, TRUE)
    assert not printed(value, "11.2889714135")
    assert not printed(grad[0, 0], "0.965667011095", "-3.22148186546", "0", "0.160549137044", "-0.587647833603")
    assert not printed(grad[1, 0], "10.4565070402", "-2.7023550697", "0", "-7.15694676009", "-0.891272217618")
    assert not grad[0, 1].any()


SURE = [[(1.0, 2.0, 0.0, -6.0, -6.0), (0.5, 0.25, 0.0, -6.0, -6.0)]]
SURE_TRUE = [[(1.0, 2.0, 2.0), (0.5, 0.25, 1.0)]]


def test_likelihood_may_be_negative() -> None:
    assert not printed(likelihood(SURE, SURE_TRUE)[0], "-18.9478542466")


def test_likelihood_of_17_keypoints() -> None:
    """Weights sum to 19.8, divided by 17 rows (row 13: weights ignored)."""
    pred, true = torch.zeros(1, 17, 5, dtype=torch.float64), torch.zeros(1, 17, 3, dtype=torch.float64)
    pred[..., 0], true[..., 2] = 0.5, 2
    value, _ = likelihood(pred, true, shape=(17, 3))
    assert not printed(value, "4.99595902123")
    uniform, _ = likelihood(pred, true, shape=AsIs((17, 3)))
    assert float(uniform) == pytest.approx(float(value) * 17 / 19.8, rel=1e-12)


def test_likelihood_is_clamped_by_the_caller() -> None:
    """QY8: a negative batch value is 0 and gives no gradient to anything."""
    preds, batch = F.predictions(kpts=F.kpts()), objects()
    loss = criterion(PoseLoss26, flow=RealNVP().double())
    (mask, index, _, points, strides), _, _ = loss.get_assigned_targets_and_loss(preds, batch)
    truth = loss._select_target_keypoints(batch["keypoints"], batch["batch_idx"], index, mask)[..., :2]
    hit = truth * torch.tensor([64.0, 32.0]) / strides[:, None] - points[:, None]
    kpts = F.kpts().reshape(2, 3, 3, 40)
    kpts[:, :, :2] = hit.permute(0, 2, 3, 1)
    sigma = torch.full((2, 6, 40), -6.0, dtype=torch.float64)
    preds = F.leaves({**preds, "kpts": kpts.reshape(2, 9, 40), "kpts_sigma": sigma})
    _, items = run(loss, preds, batch)
    assert items[5] == 0
    assert not preds["kpts_sigma"].grad.any()
    assert all(p.grad is not None and not p.grad.any() for p in loss.flow_model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_sigma_that_underflows(dtype: torch.dtype) -> None:
    """D5, QY7: bounded below by the smallest normal number of the dtype; gradients are numbers."""
    pred = tensor([[(1.0, 2.0, -800.0, -800.0)]]).to(dtype)
    value, grad = likelihood(pred, tensor([[(1.0, 2.0, 1.0)]]), shape=(1, 2))
    if dtype == torch.float64:
        assert not printed(value, "-2828.52362564")
    want = 4 * math.log(torch.finfo(dtype).tiny) + 2 * (math.log(2 * math.pi) + math.log(2))
    assert float(value) == pytest.approx(want, rel=1e-6)
    assert grad.isfinite().all()
    assert not grad[..., 2:].any(), "below the bound no gradient passes"


def test_sigma_that_underflows_in_the_loss() -> None:
    preds = F.predictions(kpts=F.kpts(), kpts_sigma=torch.full((2, 6, 40), -800.0, dtype=torch.float64))
    leaves = F.leaves(preds)
    _, items = run(criterion(PoseLoss26, flow=F.ZeroFlow()), leaves, objects())
    assert items.isfinite().all()
    assert leaves["kpts_sigma"].grad.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rows_with_a_bad_error_are_dropped(bad: float) -> None:
    """The row counts neither in the sum nor in the divisor, and its gradient is zero, not NaN."""
    pred = tensor(PRED)
    pred[1, 0, 1] = bad
    value, grad = likelihood(pred, TRUE)
    want, _ = likelihood(PRED, TRUE, mask=torch.tensor([[True, False], [False, True]]))
    assert value == want
    assert grad.isfinite().all()
    assert not grad[1, 0].any()


def test_nothing_valid_is_zero() -> None:
    value, grad = likelihood(tensor(PRED) * math.nan, TRUE)
    assert value == 0
    assert not grad.any()
    value, grad = likelihood(PRED, TRUE, mask=torch.zeros(2, 2, dtype=torch.bool))
    assert value == 0
    assert not grad.any()


def test_error_is_clamped_at_100() -> None:
    """Beyond, xy has no gradient; ln sigma keeps its own: 2 w / rows for both coordinates, times 1 - sigma."""
    far, further = tensor([[(1e6, 0.0, 0.0, 0.0)]]), tensor([[(1e9, 0.0, 0.0, 0.0)]])
    true = tensor([[(0.0, 0.0, 1.0)]])
    value, grad = likelihood(far, true, shape=(1, 2))
    assert value == likelihood(further, true, shape=(1, 2))[0]
    assert grad[0, 0, 0] == 0
    assert grad[0, 0, 2].item() == pytest.approx(2 * 0.5, rel=1e-12)
    log_phi = -(100.0**2) / 2 - math.log(2 * math.pi)
    want = 4 * math.log(0.5) + 2 * math.log(2) - 2 * log_phi + 100
    assert float(value) == pytest.approx(want, rel=1e-12)


def test_floating_mask_is_refused() -> None:
    with pytest.raises(IndexError, match="boolean"):
        likelihood(PRED, TRUE, mask=torch.ones(2, 2))


# The flow -------------------------------------------------------------------------------------------------


def filled_flow() -> RealNVP:
    """A RealNVP whose parameters are small numbers that differ from each other."""
    flow = RealNVP().double()
    for number, parameter in enumerate(flow.parameters()):
        ramp = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
        with torch.no_grad():
            parameter.copy_(((3 * ramp + number) % 7 - 3) / 64)
    return flow


def test_gradient_of_the_flow() -> None:
    """d L / d parameter is -(D / rows) sum of weight d log p / d parameter, here D = 2, the errors held fixed."""
    flow = filled_flow()
    loss = criterion(PoseLoss26, (2, 3), flow)
    pred, true = tensor(PRED), tensor(TRUE)
    loss.calculate_rle_loss(pred, true, true[..., 2] != 0).backward()
    got = {name: p.grad.clone() for name, p in flow.named_parameters()}
    seen = true[..., 2] != 0
    error = (pred[seen][:, :2] - true[seen][:, :2]) / (pred[seen][:, 3:].sigmoid() + 1e-9)
    flow.zero_grad()
    (flow.log_prob(error).sum() * (-2 / 3)).backward()
    for name, p in flow.named_parameters():
        assert torch.allclose(got[name], p.grad, rtol=1e-12, atol=1e-15), name
    assert any(g.any() for g in got.values())


def test_loss_trains_the_flow() -> None:
    """Every parameter that its density depends on gets a gradient, by finite differences along a direction."""
    flow = filled_flow()
    preds, loss = predictions(sigma=True), criterion(PoseLoss26, flow=flow)
    vector, _ = run(loss, preds, objects())
    parameter = dict(flow.named_parameters())["s.0.4.bias"]
    step = torch.tensor([1.0, -0.5], dtype=torch.float64) * 2.0**-12
    slope = float((parameter.grad * step).sum())
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * step)
            ends.append(float(loss(preds, objects())[0][5]))
            parameter.sub_(sign * step)
    assert slope != 0
    assert (ends[0] - ends[1]) / 2 == pytest.approx(slope, rel=1e-5)
    assert vector[5] > 0


# The oracle and the impostors ---------------------------------------------------------------------------

SECTION_3 = ("3.45467433272", "5.7810171676", "0.703856476632", "16.8840331677", "2.34181976633")
SECTION_4 = ("3.45467433272", "4.61249604684", "0.703856476632", "16.8840331677", "2.34181976633", "29.9281879478")
SECTION_11 = ("3.45467433272", "4.98283747034", "0", "16.8840331677", "2.34181976633", "36.3519914952")
BY_ORACLE = [
    ("v8_pose", "worked example", SECTION_3),
    ("v8_pose", "two values", (SECTION_3[0], "5.63763124886", "0", *SECTION_3[3:])),
    ("v8_pose", "nothing visible", (SECTION_3[0], "0", "0.679550921077", *SECTION_3[3:])),
    ("v8_pose", "no object", ("0", "0", "0", NO_OBJECT, "0")),
    ("pose26", "worked example", SECTION_4),
    ("pose26", "two values", SECTION_11),
    ("pose26", "no flow", (*SECTION_4[:5], "0")),
    ("pose26", "no object", ("0", "0", "0", NO_OBJECT, "0", "0")),
]


@pytest.mark.parametrize(("name", "corner", "numbers"), BY_ORACLE, ids=[f"{n}, {c}" for n, c, _ in BY_ORACLE])
def test_oracle_and_reference_give_the_printed_numbers(name: str, corner: str, numbers: tuple[str, ...]) -> None:
    spec, case = corner_of(name, corner)
    for value in (true_value(spec, case), call(spec, itself(spec), case, "float64").value):
        assert not printed(value / 2, *numbers)


MISTAKES = [
    ("v8_pose", "decoding of the other head", 1, "4.61249604684"),
    ("v8_pose", "offset forgotten", 1, "5.20153857726"),
    ("v8_pose", "area in pixels", 1, "0.145359872106"),
    ("v8_pose", "area times 0.53", 1, "7.52095233805"),
    ("v8_pose", "W and H exchanged", 1, "7.72753216671"),
    ("v8_pose", "kobj over visible keypoints", 2, "0.723820825009"),
    ("v8_pose", "visible above 1", 2, "0.691703698854"),
    ("v8_pose", "raw visibility", 2, "0.71600925441"),
    ("pose26", "exp", 5, "14.1219777192"),
    ("pose26", "divided by all keypoints", 5, "19.9521252985"),
]


@pytest.mark.parametrize(("name", "mistake", "term", "number"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_impostor_gives_the_mistaken_number(name: str, mistake: str, term: int, number: str) -> None:
    """Rows 10 to 13 of the table of mistakes, and that nothing but this term moves."""
    spec, case = corner_of(name, "worked example")
    wrong = next(one for one in spec.impostors if one.label == mistake)
    got, right = call(spec, wrong, case, "float64").value / 2, true_value(spec, case) / 2
    assert not printed(got[term], number)
    assert got[term] != pytest.approx(right[term], rel=1e-6)
    others = [i for i in range(len(got)) if i != term and not (name == "pose26" and i in (1, 2))]
    assert got[others] == pytest.approx(right[others], rel=1e-12)
