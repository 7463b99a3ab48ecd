"""Parts that are replaced and methods that are overridden act, as they do in the installed package."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import lossref

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")

from ultralytics.models.utils import loss as their_detr
from ultralytics.utils import loss as theirs

CLASSES, SIDE, STRIDES, ANCHORS = 3, 64, (8.0, 16.0, 32.0), 84
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "pose": 12.0, "kobj": 1.0, "rle": 1.0, "angle": 1.0}
Call = dict[str, Any]


class Flow(nn.Module):
    """A density with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def log_prob(self, x: Tensor) -> Tensor:
        return -((x * self.scale) ** 2).sum(-1) / 2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model_of(classes: int = CLASSES, **more: Any) -> Any:
    head = SimpleNamespace(stride=torch.tensor(STRIDES), nc=classes, reg_max=16, kpt_shape=[4, 3], flow_model=Flow())
    args = SimpleNamespace(**GAINS, overlap_mask=True, epochs=10)
    return SimpleNamespace(args=args, model=[head], parameters=lambda: iter([torch.zeros(1)]), **more)


def preds_of(**more: Tensor) -> Call:
    """Sides of about two cells, so that every overlap that counts is above 0: no choice is tied."""
    feats = [torch.zeros(2, 1, int(SIDE / s), int(SIDE / s)) for s in STRIDES]
    near = torch.arange(16.0).repeat(4)[:, None] / 2
    return {"boxes": drawn(2, 64, ANCHORS) - near, "scores": drawn(2, CLASSES, ANCHORS, seed=1), "feats": feats, **more}


def batch_of(**more: Tensor) -> Call:
    """Objects of 20 px and more, which all releases treat alike, on whole mask pixels."""
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.375, 0.5, 0.5, 0.75], [0.625, 0.625, 0.375, 0.375]])
    given = {"batch_idx": torch.tensor([0.0, 1.0, 1.0]), "cls": torch.tensor([[1.0], [2.0], [0.0]]), "bboxes": boxes}
    return {**given, **more}


def masks() -> Tensor:
    i, j = torch.arange(16)[:, None], torch.arange(16)[None]
    return torch.stack([(i // 3 + j // 2) % 2, (i // 2 + j // 3) % 3]).float()


def keypoints() -> Tensor:
    points = torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(2))
    points[..., 2] = (torch.arange(12).reshape(3, 4) % 3).float()
    return points


ROTATED = torch.cat([batch_of()["bboxes"], torch.tensor([[0.25], [-0.5], [1.25]])], 1)
SEGMENTS = {"mask_coefficient": drawn(2, 4, ANCHORS, seed=3), "proto": drawn(2, 4, 16, 16, seed=4)}
SEMANTIC = {**SEGMENTS, "proto": (SEGMENTS["proto"], drawn(2, CLASSES, 16, 16, seed=5))}
KPTS = {"kpts": drawn(2, 12, ANCHORS, seed=6)}
CLASS_MAP = (torch.arange(16)[:, None] + torch.arange(16)[None]).remainder(3).expand(2, 16, 16).contiguous()


class Given(NamedTuple):
    """What a class is made and called with, its own parts, and those of its methods that a user may override."""

    model: Callable[..., Any]
    preds: Call
    batch: Call
    parts: tuple[str, ...]
    methods: tuple[str, ...]


DETECTION = ("bce", "assigner", "bbox_loss")
DECODING = ("preprocess", "bbox_decode")
ASSIGNED = (*DECODING, "get_assigned_targets_and_loss")
KEYPOINT = ("kpts_decode", "calculate_keypoints_loss")
CLASSES_OF: dict[str, Given] = {
    "v8DetectionLoss": Given(model_of, preds_of(), batch_of(), DETECTION, ASSIGNED),
    "v8SegmentationLoss": Given(
        model_of,
        preds_of(**SEMANTIC),
        batch_of(masks=masks(), sem_masks=CLASS_MAP),
        (*DETECTION, "bcedice_loss"),
        (*ASSIGNED, "calculate_segmentation_loss", "single_mask_loss"),
    ),
    "v8PoseLoss": Given(
        model_of,
        preds_of(**KPTS),
        batch_of(keypoints=keypoints()),
        (*DETECTION, "keypoint_loss", "bce_pose"),
        (*ASSIGNED, *KEYPOINT),
    ),
    "PoseLoss26": Given(
        model_of,
        preds_of(**KPTS, kpts_sigma=drawn(2, 8, ANCHORS, seed=7)),
        batch_of(keypoints=keypoints()),
        (*DETECTION, "keypoint_loss", "bce_pose", "rle_loss", "flow_model"),
        (*ASSIGNED, *KEYPOINT, "calculate_rle_loss"),
    ),
    "v8OBBLoss": Given(
        model_of,
        preds_of(angle=drawn(2, 1, ANCHORS, seed=8)),
        batch_of(bboxes=ROTATED),
        DETECTION,
        (*DECODING, "calculate_angle_loss"),
    ),
    "TVPDetectLoss": Given(lambda: model_of(5), preds_of(), batch_of(), DETECTION, ("_get_vp_features", "loss")),
    "TVPSegmentLoss": Given(
        lambda: model_of(5), preds_of(**SEGMENTS), batch_of(masks=masks()), DETECTION, ("_get_vp_features", "loss")
    ),
}
FOLLOWED = {name for name in CLASSES_OF if name != "PoseLoss26"}
"""Classes whose numbers are those of the installed release: PoseLoss26 assigns by keypoints there."""


def leaves(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(leaves(part) for part in x)
    return x.clone().requires_grad_() if isinstance(x, Tensor) else x


def copied(batch: Call) -> Call:
    return {name: x.clone() for name, x in batch.items()}


class Result(NamedTuple):
    """The loss, its items, and the gradients that its sum gives the predictions."""

    loss: Tensor
    items: Tensor
    gradients: list[Tensor]


def result(criterion: Any, given: Given, batch: Call | None = None) -> Result:
    preds = {name: leaves(x) for name, x in given.preds.items()}
    loss, items = criterion(preds, copied(given.batch if batch is None else batch))
    loss.sum().backward()
    tensors = [x for value in preds.values() for x in (value if isinstance(value, tuple) else (value,))]
    return Result(
        loss.detach(), vector(items), [x.grad for x in tensors if isinstance(x, Tensor) and x.grad is not None]
    )


def vector(items: Any) -> Tensor:
    """Items as a vector; later releases give a dict."""
    return torch.stack(list(items.values())) if isinstance(items, Mapping) else items.detach()


def inner(criterion: Any) -> Any:
    return getattr(criterion, "vp_criterion", criterion)


def as_subclass(part: Any) -> Any:
    """An equal part of another class."""
    other = copy.copy(part)
    other.__class__ = type("Other", (type(part),), {})
    return other


def equal(one: Result, other: Result) -> None:
    for a, b in zip((*one[:2], *one.gradients), (*other[:2], *other.gradients), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max())), (a - b).abs().max()


EQUAL = [(name, part) for name, given in CLASSES_OF.items() for part in (*given.parts, "proj")]
MINE: dict[str, Result] = {}


def untouched(name: str) -> Result:
    if name not in MINE:
        MINE[name] = result(getattr(lossref, name)(CLASSES_OF[name].model()), CLASSES_OF[name])
    return MINE[name]


@pytest.mark.parametrize(("name", "part"), EQUAL, ids=[f"{name}: {part}" for name, part in EQUAL])
def test_an_equal_part_gives_equal_numbers(name: str, part: str) -> None:
    criterion = getattr(lossref, name)(CLASSES_OF[name].model())
    owner = inner(criterion)
    own = getattr(owner, part)
    setattr(owner, part, own.clone() if isinstance(own, Tensor) else as_subclass(own))
    assert owner._replaced() or part in ("rle_loss", "flow_model")  # the two are asked anyway
    equal(result(criterion, CLASSES_OF[name]), untouched(name))


@pytest.mark.parametrize("name", CLASSES_OF)
def test_nothing_is_replaced_at_first(name: str) -> None:
    """Nor in a deep copy, nor under settings that are read at the call."""
    criterion = copy.deepcopy(inner(getattr(lossref, name)(CLASSES_OF[name].model())))
    criterion.assigner.topk = 5
    assert not criterion._replaced()


OVERRIDDEN = [(name, method) for name, given in CLASSES_OF.items() for method in given.methods]


@pytest.mark.parametrize(("name", "method"), OVERRIDDEN, ids=[f"{name}: {method}" for name, method in OVERRIDDEN])
@pytest.mark.parametrize("where", ["subclass", "object"])
def test_an_overridden_method_is_called(name: str, method: str, where: str) -> None:
    """In every class as in the package, and with what it is given there; one that calls its own changes nothing."""
    given, seen = CLASSES_OF[name], {}
    for package in (lossref, theirs):
        kind, calls = getattr(package, name), []
        raw = getattr(kind, method)
        static = isinstance(next(vars(one)[method] for one in kind.__mro__ if method in vars(one)), staticmethod)

        def spy(*args: Any, calls: list[Any] = calls, own: Any = raw, **more: Any) -> Any:
            calls.append([described(x) for x in (*args, *more.values())])
            return own(*args, **more)

        sub = type(name, (kind,), {method: staticmethod(spy) if static else lambda *a, spy=spy, **k: spy(*a, **k)})
        criterion = (sub if where == "subclass" else kind)(given.model())
        if where == "object":
            setattr(criterion, method, spy if static else lambda *a, c=criterion, spy=spy, **k: spy(c, *a, **k))
        found = result(criterion, given)
        seen[package.__name__] = [[x for x in call if x is not None] for call in calls]
        if package is lossref:
            equal(found, untouched(name))
    mine, other = seen.values()
    assert mine
    if name in FOLLOWED and method not in LATER:
        assert mine == other


LATER = ("calculate_keypoints_loss",)
"""What later releases give other arguments."""


def described(x: Any) -> Any:
    """Shape and dtype of tensors, however nested; the object itself, and what is alike in any case, is None."""
    if isinstance(x, Tensor):
        return str(x.dtype), tuple(x.shape)
    return None


# What another part changes --------------------------------------------------------------------------------


class Constant(nn.Module):
    """A part that answers with numbers, and a path to its first argument."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, x: Tensor, *rest: Any) -> Any:
        found = tuple(number + 0 * x.sum() for number in self.numbers)
        return found if len(found) > 1 else found[0]


class Halves(nn.Module):
    """In place of distribution focal loss: half of each target, one number for each box."""

    reg_max = 16

    def forward(self, pred_dist: Tensor, target: Tensor) -> Tensor:
        assert len(pred_dist) == target.numel()
        return target.mean(-1, keepdim=True) / 2 + 0 * pred_dist.sum()


def weighted(reduction: str = "none") -> nn.Module:
    return nn.BCEWithLogitsLoss(reduction=reduction, pos_weight=torch.tensor(2.0))


def put(path: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Replace a part, found by a dotted path, by what is made of it."""

    def change(criterion: Any) -> None:
        *owners, name = path.split(".")
        owner = criterion
        for step in owners:
            owner = getattr(owner, step)
        setattr(owner, name, make(getattr(owner, name)))

    return change


def halved(assigner: Any) -> Any:
    """An object of a subclass whose target scores are half of those that its class gives."""

    class Half(type(assigner)):  # type: ignore[misc]
        def forward(self, *args: Any) -> Any:
            labels, boxes, scores, *rest = super().forward(*args)
            return (labels, boxes, scores / 2, *rest)

    other = copy.copy(assigner)
    other.__class__ = Half
    return other


def as_function(assigner: Any) -> Any:
    """Any callable that answers like an assigner: no module, no settings."""
    other = halved(assigner)
    return lambda *args: other(*args)


def twice(result: Any) -> Any:
    return tuple(2 * x for x in result) if isinstance(result, tuple) else 2 * result


def after(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Override a method in the object: what it gives is changed."""
    return put(name, lambda own: lambda *args, **more: change(own(*args, **more)))


def without_last(table: Tensor) -> Tensor:
    kept = table.clone()
    kept[:, -1] = 0
    return kept


def written(proj: Tensor) -> Tensor:
    return proj.mul_(1.5)


def hooked(part: nn.Module) -> nn.Module:
    part.register_forward_hook(lambda module, args, out: twice(out))
    return part


DETECTING: dict[str, Callable[[Any], None]] = {
    "bbox_loss": put("bbox_loss", lambda own: Constant(0.25, 0.5)),
    "bbox_loss that a hook changes": put("bbox_loss", hooked),
    "bbox_loss.dfl_loss": put("bbox_loss.dfl_loss", lambda own: Halves()),
    "bce, pos_weight": put("bce", lambda own: weighted()),
    "bce, weight of a class": put("bce.weight", lambda own: torch.tensor([1.0, 2.0, 3.0])),
    "bce, mean": put("bce", lambda own: nn.BCEWithLogitsLoss()),
    "bce, a function": put("bce", lambda own: lambda x, t: (x.sigmoid() - t) ** 2),
    "class_weights": put("class_weights", lambda own: torch.tensor([[[0.5, 2.0, 1.0]]])),
    "assigner, subclass": put("assigner", halved),
    "assigner, function": put("assigner", as_function),
    "assigner, forward": put("assigner.forward", lambda own: halved(own.__self__).forward),
    "assigner, eps": put("assigner.eps", lambda own: 0.01),
    "proj": put("proj", lambda own: own * 0.75),
    "proj, in place": put("proj", written),
    "bbox_decode": after("bbox_decode", lambda boxes: boxes * 1.125),
    "preprocess": after("preprocess", without_last),
}
OF_ALL: dict[str, Callable[[Any], None]] = {
    "get_assigned_targets_and_loss": after(
        "get_assigned_targets_and_loss", lambda found: (found[0], 2 * found[1], found[2])
    ),
}
SEGMENTING: dict[str, Callable[[Any], None]] = {
    "bcedice_loss": put("bcedice_loss", lambda own: lambda x, t: t.mean() + 0 * x.sum()),
    "bcedice_loss.bce": put("bcedice_loss.bce", lambda own: weighted("mean")),
    "bcedice_loss.dice": put("bcedice_loss.dice", lambda own: Constant(2.0)),
    "bcedice_loss.weight_bce": put("bcedice_loss.weight_bce", lambda own: 2.0),
    "single_mask_loss": after("single_mask_loss", twice),
    "calculate_segmentation_loss": after("calculate_segmentation_loss", twice),
}
POSING: dict[str, Callable[[Any], None]] = {
    "keypoint_loss": put("keypoint_loss", lambda own: Constant(0.5)),
    "keypoint_loss.sigmas": put("keypoint_loss.sigmas", lambda own: own * 2),
    "bce_pose": put("bce_pose", lambda own: weighted("mean")),
    "kpts_decode": after("kpts_decode", lambda kpts: kpts * 0.5),
    "calculate_keypoints_loss": after("calculate_keypoints_loss", twice),
}
ROTATING = {"calculate_angle_loss": after("calculate_angle_loss", twice)}
LIKELIHOOD: dict[str, Callable[[Any], None]] = {
    "rle_loss": put("rle_loss", lambda own: Constant(3.0)),
    "calculate_rle_loss": put("calculate_rle_loss", lambda own: lambda *args: args[0].sum() * 0 + 3.0),
}
TABLE: dict[str, dict[str, Callable[[Any], None]]] = {
    "v8DetectionLoss": {**DETECTING, **OF_ALL},
    "v8SegmentationLoss": {**DETECTING, **OF_ALL, **SEGMENTING},
    "v8PoseLoss": {**DETECTING, **OF_ALL, **POSING},
    "v8OBBLoss": {**{k: v for k, v in DETECTING.items() if k != "bbox_decode"}, **ROTATING},
    "TVPDetectLoss": {
        f"vp_criterion.{word}": change
        for word, change in {**DETECTING, **OF_ALL}.items()
        if word not in ("assigner, function", "assigner, forward")  # they would have to know another class count
    },
    "TVPSegmentLoss": {"vp_criterion.single_mask_loss": SEGMENTING["single_mask_loss"]},
}
CHANGES = {f"{name}: {word}": (name, change) for name, table in TABLE.items() for word, change in table.items()}
KEPT = {"v8OBBLoss": slice(1, None)}
"""Terms that are compared, where not all are: the installed release adds 0.01 to the variances of rotated boxes."""


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=list(CHANGES))
def test_another_part_changes_what_it_changes_in_the_package(name: str, change: Callable[[Any], None]) -> None:
    given, found = CLASSES_OF[name], []
    for package in (lossref, theirs):
        criterion = getattr(package, name)(given.model())
        change(inner(criterion))
        found.append(result(criterion, given))
    mine, other = (one.loss.reshape(-1) for one in found)
    kept = KEPT.get(name, slice(None))
    assert torch.allclose(mine[kept], other[kept], rtol=2e-5, atol=1e-6), (mine, other)
    if not name.startswith("TVP"):  # whose loss is one entry of several
        assert not torch.allclose(mine, untouched(name).loss, rtol=1e-4), "it changes nothing"
    items = [one.items[: len(found[1].items)] for one in found]  # the package has no semantic item of prompts
    assert torch.allclose(items[0][kept], items[1][kept], rtol=2e-5, atol=1e-6), items
    assert all(x.isfinite().all() for x in found[0].gradients)


@pytest.mark.parametrize("word", LIKELIHOOD)
def test_another_likelihood(word: str) -> None:
    """The installed release assigns other anchors, so the number itself is what it is to be."""
    criterion = lossref.PoseLoss26(model_of())
    LIKELIHOOD[word](criterion)
    found, base = result(criterion, CLASSES_OF["PoseLoss26"]).items, untouched("PoseLoss26").items
    assert found[5] == 3.0
    assert torch.equal(found[:5], base[:5]) or torch.allclose(found[:5], base[:5], rtol=1e-5)


def test_parts_of_branches_act() -> None:
    """E2EDetectLoss and E2ELoss ask the criteria that they hold, whose parts act as they do alone."""
    given = CLASSES_OF["v8DetectionLoss"]
    for name in ("E2EDetectLoss", "E2ELoss"):
        found = []
        for package in (lossref, theirs):
            criterion = getattr(package, name)(model_of())
            criterion.one2many.bbox_loss = Constant(0.25, 0.5)
            criterion.one2one.bce = weighted()
            loss, _ = criterion({"one2many": given.preds, "one2one": given.preds}, copied(given.batch))
            found.append(loss)
        assert torch.allclose(*found, rtol=1e-5), name


def test_another_criterion_of_prompts() -> None:
    """Any callable may stand in the place of `vp_criterion`; that class counts change for a call is not seen later."""
    criterion = lossref.TVPDetectLoss(model_of(5))
    before = vars(criterion.vp_criterion.assigner).copy()
    DETECTING["bce, mean"](criterion.vp_criterion)
    result(criterion, CLASSES_OF["TVPDetectLoss"])
    assert vars(criterion.vp_criterion.assigner) == before
    assert (criterion.vp_criterion.nc, criterion.vp_criterion.no) == (5, 69)
    criterion.vp_criterion = lambda preds, batch: (preds["scores"].sum() * torch.ones(3), torch.arange(3.0))
    loss, items = criterion.loss(CLASSES_OF["TVPDetectLoss"].preds, batch_of())
    assert torch.equal(loss, preds_of()["scores"].sum())
    assert items.tolist() == [0, 1, 2]


# What is refused ------------------------------------------------------------------------------------------


def with_step(criterion: Any) -> None:
    criterion.assigner.iou_calculation = lambda *args: None


def of_steps(criterion: Any) -> None:
    kind = type("Other", (lossref.TaskAlignedAssigner,), {"get_box_metrics": lambda *args: None})
    criterion.assigner = kind(10, CLASSES, 0.5, 6.0, STRIDES)


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "a step of the assigner, object": (with_step, NotImplementedError, "iou_calculation: lossref's assigner has no"),
    "a step of the assigner, class": (of_steps, NotImplementedError, "get_box_metrics: lossref's assigner has no"),
    "nc": (put("nc", lambda own: 2), ValueError, "scores: expected 2 channels"),
    "reg_max": (put("reg_max", lambda own: 8), ValueError, "logits: expected shape"),
    "num_classes": (put("assigner.num_classes", lambda own: 2), IndexError, "expected 0 to 1"),
    "use_dfl": (put("use_dfl", lambda own: False), ValueError, "distance: expected size 4"),
    "no dfl_loss": (put("bbox_loss.dfl_loss", lambda own: None), ValueError, "dfl_loss: expected one for 16 bins"),
    "dfl_loss of 8 bins": (put("bbox_loss.dfl_loss.reg_max", lambda own: 8), ValueError, "expected one for 16 bins"),
}


@pytest.mark.parametrize(("change", "error", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_act_is_refused(change: Callable[[Any], Any], error: type[Exception], said: str) -> None:
    criterion = lossref.v8DetectionLoss(model_of())
    change(criterion)
    with pytest.raises(error, match=said):
        criterion(preds_of(), batch_of())


# DETR -----------------------------------------------------------------------------------------------------

QUERIES = {"pred_bboxes": torch.rand(3, 2, 6, 4, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.1}
LOGITS = drawn(3, 2, 6, 4, seed=9)
TARGETS = {
    "cls": torch.tensor([1, 0, 3]),
    "bboxes": torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.375, 0.25, 0.5], [0.375, 0.5, 0.5, 0.25]]),
    "gt_groups": [2, 1],
}


class Pairs(nn.Module):
    """A matcher that always gives the same pairs."""

    def forward(self, *args: Any) -> Any:
        return [(torch.tensor([1, 4]), torch.tensor([1, 0])), (torch.tensor([2]), torch.tensor([2]))]


class Cost(nn.Module):
    """A class cost of two or three arguments."""

    def forward(self, x: Tensor, first: Tensor, second: Tensor | None = None) -> Tensor:
        return ((x.sigmoid() - (first if second is None else first + second)) ** 2).mean(1).sum()


def added(found: Any) -> Any:
    return {key: 2 * value for key, value in found.items()}


DETR: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "matcher": ({}, put("matcher", lambda own: Pairs())),
    "matcher, one for all": ({"use_uni_match": True}, put("matcher", lambda own: Pairs())),
    "matcher.cost_gain": ({}, put("matcher.cost_gain", lambda own: {"class": 9, "bbox": 0.1, "giou": 0.1})),
    "fl": ({}, put("fl", lambda own: Cost())),
    "fl.gamma": ({}, put("fl.gamma", lambda own: 0.5)),
    "fl.alpha": ({}, put("fl.alpha", lambda own: torch.tensor(0.75))),
    "fl.alpha, in place": ({}, put("fl.alpha", written)),
    "no fl": ({}, put("fl", lambda own: None)),
    "vfl": ({"use_vfl": True}, put("vfl", lambda own: Cost())),
    "vfl.gamma": ({"use_vfl": True}, put("vfl.gamma", lambda own: 2.5)),
    "vfl.alpha": ({"use_vfl": True}, put("vfl.alpha", lambda own: 0.5)),
    "no vfl": ({"use_vfl": True}, put("vfl", lambda own: None)),
    "loss_gain": ({}, put("loss_gain", lambda own: {"class": 3, "bbox": 1, "giou": 1})),
    "_get_loss_class": ({}, after("_get_loss_class", added)),
    "_get_loss_bbox": ({}, after("_get_loss_bbox", added)),
    "_get_loss": ({}, after("_get_loss", added)),
    "_get_loss_aux": ({}, after("_get_loss_aux", added)),
    "_get_index": ({}, after("_get_index", lambda found: (found[0], found[1].flip(0)))),
}


def detr_of(package: Any, change: Callable[[Any], Any], denoise: bool = False, **params: Any) -> dict[str, Tensor]:
    kind = package.RTDETRDetectionLoss if denoise else package.DETRLoss
    criterion = kind(nc=4, **params)
    change(criterion)
    given = QUERIES["pred_bboxes"].clone().requires_grad_(), LOGITS.clone().requires_grad_()
    if not denoise:
        found = criterion(*given, TARGETS)
    else:
        meta = {"dn_pos_idx": [torch.arange(4), torch.tensor([0, 2])], "dn_num_group": 2}
        meta["dn_gt_idx"] = [torch.tensor([0, 1]), torch.tensor([2])]
        found = criterion(given, TARGETS, QUERIES["pred_bboxes"].flip(2), LOGITS.flip(2), meta)
    sum(found.values()).backward()
    gradients = {f"d {i}": x.grad for i, x in enumerate(given) if x.grad is not None}
    return {**{name: x.detach() for name, x in found.items()}, **gradients}


@pytest.mark.parametrize(("params", "change"), DETR.values(), ids=list(DETR))
@pytest.mark.parametrize("denoise", [False, True], ids=["DETR", "RT-DETR"])
def test_parts_of_detr(denoise: bool, params: dict[str, Any], change: Callable[[Any], Any]) -> None:
    mine, other = (detr_of(package, change, denoise, **params) for package in (lossref, their_detr))
    base = detr_of(lossref, lambda criterion: None, denoise, **params)
    assert mine.keys() == other.keys()
    for name, value in other.items():
        assert torch.allclose(mine[name], value, rtol=2e-5, atol=1e-5), name
    assert any(not torch.allclose(mine[name], base[name], rtol=1e-4) for name in base), "it changes nothing"


@pytest.mark.parametrize("part", ["matcher", "fl", "vfl"])
def test_an_equal_part_of_detr(part: str) -> None:
    def change(criterion: Any) -> None:
        put(part, as_subclass)(criterion)
        assert criterion._replaced() == part

    for params in ({"use_vfl": True}, {"use_vfl": True, "use_uni_match": True, "uni_match_ind": 1}):
        mine, base = detr_of(lossref, change, **params), detr_of(lossref, lambda criterion: None, **params)
        for name, value in base.items():
            assert torch.allclose(mine[name], value, rtol=1e-5, atol=1e-6), name


# Settings on the model ------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([0.5, 2.0, 1.0])
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}: class_weights": (name, {"class_weights": WEIGHTS}) for name in sorted(FOLLOWED)},
    "one weight": ("v8DetectionLoss", {"class_weights": torch.tensor([2.0])}),
    "kpt_oks_sigmas": ("v8PoseLoss", {"kpt_oks_sigmas": torch.tensor([0.1, 0.2, 0.3, 0.4])}),
}


@pytest.mark.parametrize(("name", "settings"), SETTINGS.values(), ids=list(SETTINGS))
def test_settings_on_the_model(name: str, settings: dict[str, Any]) -> None:
    given, found = CLASSES_OF[name], []
    for package in (lossref, theirs):
        model = given.model()
        model.__dict__.update(settings)
        criterion = getattr(package, name)(model)
        found.append(vector(criterion({k: leaves(x) for k, x in given.preds.items()}, copied(given.batch))[1]))
    kept = KEPT.get(name, slice(None))
    mine, other = (x[: len(found[1])][kept] for x in found)
    assert torch.allclose(mine, other, rtol=2e-5, atol=1e-6)
    assert not torch.allclose(found[0], untouched(name).items, rtol=1e-4)


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "too few weights": (
        "v8DetectionLoss",
        {"class_weights": torch.ones(2)},
        "class_weights: expected 3, one for each class",
    ),
    "too few sigmas": ("v8PoseLoss", {"kpt_oks_sigmas": [0.1, 0.2]}, "model.kpt_oks_sigmas: expected 4 positive"),
    "a sigma of 0": ("v8PoseLoss", {"kpt_oks_sigmas": [0.1, 0.2, 0.0, 1.0]}, "model.kpt_oks_sigmas: expected 4"),
}


@pytest.mark.parametrize(("name", "settings", "said"), WRONG.values(), ids=list(WRONG))
def test_settings_that_do_not_fit(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        result(getattr(lossref, name)(model_of(**settings)), CLASSES_OF[name])


class Recorded:
    """An object that remembers which of its attributes were asked for."""

    def __init__(self, own: Any, seen: set[str], name: str) -> None:
        self.__dict__.update(_own=own, _seen=seen, _name=name)

    def __getattr__(self, name: str) -> Any:
        self._seen.add(f"{self._name}.{name}")
        return getattr(self._own, name)


@pytest.mark.parametrize("name", CLASSES_OF)
def test_no_setting_that_the_package_reads_is_ignored(name: str) -> None:
    """Of model, head and args lossref reads at construction what the installed release reads, absent or not."""
    read = []
    for package in (lossref, theirs):
        given, seen = CLASSES_OF[name].model(), set[str]()
        model = Recorded(given, seen, "model")
        given.model = [Recorded(given.model[0], seen, "head")]
        given.args = Recorded(given.args, seen, "args")
        getattr(package, name)(model)
        read.append(seen)
    assert read[1] <= read[0]


# Editions -------------------------------------------------------------------------------------------------


def test_edition_83_refuses_by_name() -> None:
    older = lossref.edition("8.3")
    maps = [drawn(2, 67, int(SIDE / s), int(SIDE / s), seed=10) for s in STRIDES]
    for word in ("bbox_loss", "bce, pos_weight", "assigner, subclass", "proj", "bbox_decode"):
        criterion = older.v8DetectionLoss(model_of())
        criterion(maps, batch_of())
        DETECTING[word](criterion)
        with pytest.raises(NotImplementedError, match=f"{word.split(',')[0]}: edition 8.3 computes with its own parts"):
            criterion(maps, batch_of())


@pytest.mark.parametrize("name", CLASSES_OF)
def test_items_by_name(name: str) -> None:
    """Edition 8.4.190 has the numbers of the current one, under the names of that release and in its order."""
    given = CLASSES_OF[name]
    mine = getattr(lossref.edition("8.4.190"), name)(given.model())
    other = getattr(theirs, name)(given.model())
    loss, items = mine({k: leaves(x) for k, x in given.preds.items()}, copied(given.batch))
    _, shown = other({k: leaves(x) for k, x in given.preds.items()}, copied(given.batch))
    assert list(items) == list(shown) == list(mine.loss_names) == list(other.loss_names)
    assert torch.equal(vector(items), untouched(name).items[: len(items)])
    assert torch.equal(loss, untouched(name).loss)


def test_items_by_name_of_branches() -> None:
    preds = {"one2many": preds_of(), "one2one": preds_of()}
    for name in ("E2ELoss", "E2EDetectLoss"):
        mine, plain, other = (getattr(p, name)(model_of()) for p in (lossref.edition("8.4.190"), lossref, theirs))
        loss, items = mine(preds, batch_of())
        assert list(items) == list(other(preds, copied(batch_of()))[1])
        assert torch.equal(vector(items), plain(preds, batch_of())[1])
        assert torch.equal(loss, plain(preds, batch_of())[0])


@pytest.mark.parametrize("rotated", [False, True], ids=["upright", "rotated"])
def test_what_a_small_side_counts_as(rotated: bool) -> None:
    """`stride_val` is the size, stride[0] the bound: what another entry of `stride` is makes no difference."""
    name = "v8OBBLoss" if rotated else "v8DetectionLoss"
    box = [0.5, 0.5, 0.0625, 0.0625]  # 4 px, below the first stride

    def anchors(**settings: Any) -> int:
        criterion = getattr(lossref, name)(model_of())
        vars(criterion.assigner).update(settings)
        batch = {"batch_idx": torch.zeros(1), "cls": torch.zeros(1, 1)}
        batch["bboxes"] = torch.tensor([[*box, 0.25] if rotated else box])
        preds = {**preds_of(), "angle": CLASSES_OF["v8OBBLoss"].preds["angle"]}
        return int(criterion.get_assigned_targets_and_loss(preds, batch)[0][0].sum())

    usual = anchors()
    assert anchors(stride=[8.0, 99.0, 32.0]) == usual
    assert anchors(stride_val=40.0) > usual
    assert anchors(stride_val=5.0) < usual
    assert anchors(stride=[2.0, 16.0, 32.0]) < usual
