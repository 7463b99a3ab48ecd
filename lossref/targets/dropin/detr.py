"""The set-prediction losses, their matcher, and the flow."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from lossref.losses.keypoints.flow import parameters_of as parameters_of_flow
from lossref.targets.dropin.entry import Entry, Mismatch, Shapes, parameters_of

TERMS = ("loss_class", "loss_bbox", "loss_giou", "loss_class_aux", "loss_bbox_aux", "loss_giou_aux")
GAINS = ("class", "bbox", "giou")


def groups(batch_idx: Tensor, images: int) -> list[int]:
    """Objects per image, from the sorted image indices."""
    counts: list[int] = torch.bincount(batch_idx.long(), minlength=images).tolist()
    return counts


def objects(x: Mapping[str, Tensor], images: int) -> dict[str, Any]:
    """The batch dictionary of the set-prediction losses."""
    return {"cls": x["cls"].long(), "bboxes": x["bboxes"], "gt_groups": groups(x["batch_idx"], images)}


def denoising(counts: list[int], dn_num_group: int) -> dict[str, Any]:
    """Where the denoising queries of each object are: group by group, each as long as the fullest image.

    As in training, the index tables are on the CPU, whatever the device of what they index.
    """
    longest = max(counts, default=0)
    listed = [[group * longest + one for group in range(dn_num_group) for one in range(count)] for count in counts]
    positions = [torch.tensor(one, dtype=torch.long, device="cpu") for one in listed]
    ends = zip(counts, accumulate(counts), strict=True)
    known = [torch.arange(last - count, last, device="cpu") for count, last in ends]
    return {"dn_pos_idx": positions, "dn_num_group": dn_num_group, "dn_num_split": [0, 0], "dn_gt_idx": known}


def _accepts(kind: Any) -> tuple[str, ...]:
    return (*(name for name in parameters_of(kind) if name != "loss_gain"), *(f"{gain}_gain" for gain in GAINS))


def _make(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    chosen = {name: params[name] for name in parameters_of(kind) if name in params}
    gains = {gain: params[f"{gain}_gain"] for gain in GAINS if f"{gain}_gain" in params}
    loss = kind(**{**chosen, "nc": shapes["pred_scores"][-1]}, **({"loss_gain": gains} if gains else {}))
    return loss


def _in_order(found: Mapping[str, Tensor], names: tuple[str, ...]) -> tuple[Tensor, ...]:
    if tuple(found) != names:
        raise Mismatch(f"the keys are {', '.join(found)}; expected {', '.join(names)}")
    return tuple(found.values())


def _detr(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    found = loss(x["pred_bboxes"], x["pred_scores"], objects(x, x["pred_bboxes"].shape[1]))
    return _padded(_in_order(found, _names(params)))


def _rtdetr(loss: Any, params: Mapping[str, Any], **x: Tensor) -> Any:
    batch = objects(x, x["pred_bboxes"].shape[1])
    meta = denoising(batch["gt_groups"], params["dn_num_group"])
    found = loss((x["pred_bboxes"], x["pred_scores"]), batch, x["dn_bboxes"], x["dn_scores"], meta)
    names = _names(params)
    losses = _in_order(found, (*names, *(f"{name}_dn" for name in names)))
    return (*_padded(losses[: len(names)]), *_padded(losses[len(names) :]))


def _names(params: Mapping[str, Any]) -> tuple[str, ...]:
    return TERMS if params.get("aux_loss", True) else TERMS[:3]


def _padded(found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Zeros for the auxiliary losses that there are not."""
    return (*found, *(found[0].new_zeros(()) for _ in range(len(TERMS) - len(found))))


def _matcher(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    gains = {gain: params[f"{gain}_gain"] for gain in GAINS}
    return kind(cost_gain=gains, **{name: params[name] for name in ("use_fl", "alpha", "gamma") if name in params})


def _matched(matcher: Any, params: Mapping[str, Any], **x: Tensor) -> Tensor:
    images, queries = x["pred_bboxes"].shape[:2]
    counts = groups(x["batch_idx"], images)
    pairs = matcher(x["pred_bboxes"], x["pred_scores"], x["bboxes"], x["cls"].long(), counts)
    found = torch.full((images, queries), -1, device="cpu")
    for image, (query, one) in enumerate(pairs):
        found[image, query.cpu()] = one.cpu()
    return found.to(x["pred_bboxes"].device)


MATCHER_PARAMS = ("class_gain", "bbox_gain", "giou_gain", "use_fl", "alpha", "gamma")


def _flow(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str) -> Any:
    """The flow with the named parameters; its first weights are drawn, so it is made before it is called."""
    with torch.device(device):
        flow = kind().double()
    flow.load_state_dict(parameters_of_flow(params["state"]), strict=False)
    return flow


def _log_prob(flow: Any, params: Mapping[str, Any], x: Tensor) -> Tensor:
    """The density in the dtype of the errors."""
    found: Tensor = deepcopy(flow).to(x.dtype).log_prob(x)
    return found


ENTRIES = (
    Entry("realnvp", "RealNVP", lambda kind: ("state",), _flow, _log_prob),
    Entry(
        "hungarian",
        "HungarianMatcher",
        lambda kind: MATCHER_PARAMS,
        _matcher,
        _matched,
    ),
    Entry("detr", "DETRLoss", _accepts, _make, _detr, classes_at=("pred_scores", -1)),
    Entry(
        *("rtdetr", "RTDETRDetectionLoss", lambda kind: (*_accepts(kind), "dn_num_group"), _make, _rtdetr),
        classes_at=("pred_scores", -1),
    ),
)
