"""Keypoints in cells of the image from what the pose head says about each anchor.

form "v8" (v8PoseLoss): x -> 2 x + p_x - 1/2; form "26" (PoseLoss26): x -> x + p_x; y alike; a visibility
logit stays as it is. The two heads differ in the factor 2 and the offset, which is what sources confuse.
Source: spec/40-yolo.md sections 3.2 and 4.2, spec/05-decisions.md D8, D9; arXiv 2204.06806.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.laws import differs
from lossref.core.nouns import Array, Domain, Param, Spec
from lossref.core.picking import Pick
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.keypoints.oracle import oracle_point

FORMS = {"v8": (2.0, -0.5), "26": (1.0, 0.0)}  # factor, offset


def kpts_decode(anchor_points: Tensor, pred_kpts: Tensor, form: str = "v8") -> Tensor:
    """Positions of keypoints (b, A, K, D >= 2) at anchors (A, 2), both in cells; returns (b, A, K, D).

    Further values than x and y are copied. The result is a new tensor of the promoted dtype; half
    precision is computed in float32 and rounded once. Raises ValueError for shapes that do not match.
    """
    if anchor_points.ndim != 2 or anchor_points.shape[1] != 2:
        raise ValueError(f"anchor_points: expected shape (A, 2), got {tuple(anchor_points.shape)}")
    if pred_kpts.ndim != 4 or pred_kpts.shape[1] != len(anchor_points) or pred_kpts.shape[3] < 2:
        raise ValueError(f"pred_kpts: expected (b, {len(anchor_points)}, K, 2 or more), got {tuple(pred_kpts.shape)}")
    require_floating(anchor_points=anchor_points, pred_kpts=pred_kpts)
    compute, result = compute_dtype(anchor_points, pred_kpts)
    return decoded(anchor_points.to(compute)[:, None], pred_kpts.to(compute), form).to(result)


def decoded(points: Tensor, raw: Tensor, form: str) -> Tensor:
    """The same for any leading axes: raw (..., D) beside points (..., 2) of the same dtype."""
    factor, offset = FORMS[form]
    return torch.cat((raw[..., :2] * factor + (points + offset), raw[..., 2:]), -1)


def oracle(m: Arithmetic, anchor_points: Any, pred_kpts: Any, form: str = "v8") -> Any:
    """The positions in scalars."""
    return tuple(
        tuple(
            tuple(oracle_point(m, kpt, p, form) for kpt in kpts) for kpts, p in zip(image, anchor_points, strict=True)
        )
        for image in pred_kpts
    )


# Laws ------------------------------------------------------------------------------------------------


def moved_anchor(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving the anchors by (3, -5) moves the positions by as much, and nothing else."""
    step = np.zeros(x["pred_kpts"].shape[-1])
    step[:2] = 3, -5
    moved = {**x, "anchor_points": x["anchor_points"] + [3, -5]}
    return differs(f(moved), f(x) + step, 3 * tol, "moving the anchors")


def doubled_offset(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The position is linear in the prediction: f(2 x) - f(x) = f(x) - f(0)."""
    base, once = f({**x, "pred_kpts": 0 * x["pred_kpts"]}), f(x)
    twice = f({**x, "pred_kpts": 2 * x["pred_kpts"]})
    return differs(twice, 2 * once - base, 6 * tol, "doubling the prediction")


def exchanged_axes(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x and y of anchors and predictions exchanges them in the result."""
    order = [1, 0, *range(2, x["pred_kpts"].shape[-1])]
    turned = {"anchor_points": x["anchor_points"][:, ::-1].copy(), "pred_kpts": x["pred_kpts"][..., order].copy()}
    return differs(f(turned)[..., order], f(x), 2 * tol, "exchanging x and y")


def keypoints_independent(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Reversing the keypoints and the images reverses the result."""
    turned = {**x, "pred_kpts": x["pred_kpts"][::-1, :, ::-1].copy()}
    return differs(f(turned)[::-1, :, ::-1], f(x), 2 * tol, "reversing keypoints and images")


# Impostors -------------------------------------------------------------------------------------------


def one_decoding_for_both_losses(anchor_points: Tensor, pred_kpts: Tensor, form: str) -> Tensor:
    return kpts_decode(anchor_points, pred_kpts, "26" if form == "v8" else "v8")


def offset_forgotten(anchor_points: Tensor, pred_kpts: Tensor, form: str) -> Tensor:
    factor, _ = FORMS[form]
    return torch.cat((pred_kpts[..., :2] * factor + anchor_points[:, None], pred_kpts[..., 2:]), -1)


def anchor_axes_exchanged(anchor_points: Tensor, pred_kpts: Tensor, form: str) -> Tensor:
    return kpts_decode(anchor_points.flip(-1), pred_kpts, form)


def visibility_squashed(anchor_points: Tensor, pred_kpts: Tensor, form: str) -> Tensor:
    position = kpts_decode(anchor_points, pred_kpts, form)[..., :2]
    return torch.cat((position, pred_kpts[..., 2:].sigmoid()), -1)


def decodes_in_place(anchor_points: Tensor, pred_kpts: Tensor, form: str) -> Tensor:
    pred_kpts[..., :2] = kpts_decode(anchor_points, pred_kpts, form)[..., :2]
    return pred_kpts


# Material --------------------------------------------------------------------------------------------


def _centres(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return pick(0, 63, rows * dims["row"]).reshape(rows, -1) + 0.5


def _borders(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    return np.asarray(pick(0, 1, rows * dims["row"]).reshape(rows, -1) * 64.0)


def _eighths(reach: int) -> Any:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return pick(-8 * reach, 8 * reach, rows * dims["row"]).reshape(rows, -1) / 8

    return draw


_P = [(1.5, 0.5)]
_26 = {"form": "26"}

FORM = {"v8": "a keypoint lies at 2 x + p - 1/2", "26": "a keypoint lies at x + p"}

SPEC = Spec(
    name="kpts_decode",
    summary="Keypoint positions from the raw output of the pose heads",
    cite="spec/40-yolo.md sections 3.2 and 4.2; arXiv 2204.06806",
    inputs={
        "anchor_points": Domain("A 2", "anchor points in cells", {"centres": _centres, "borders": _borders}),
        "pred_kpts": Domain("b A K D", "x, y in cells and further values", {"near": _eighths(4), "far": _eighths(512)}),
    },
    wrt=("pred_kpts",),
    params={"form": Param("v8", ("26",), "which loss decodes: v8PoseLoss or PoseLoss26", means=FORM, stated=False)},
    terms=("kpts",),
    reference=kpts_decode,
    oracle=oracle,
    sizes={
        "single": ({"b": 1, "A": 1, "K": 1, "D": 2},),
        "small": ({"b": 2, "A": 3, "K": 2, "D": 3}, {"b": 1, "A": 4, "K": 3, "D": 5}),
        "bulk": ({"b": 4, "A": 84, "K": 17, "D": 3},),
        "empty": ({"b": 0, "A": 3, "K": 2, "D": 3}, {"b": 2, "A": 0, "K": 2, "D": 3}),
    },
    laws=(moved_anchor, doubled_offset, exchanged_axes, keypoints_independent),
    corners=(
        corner("example", "the worked example", anchor_points=_P, pred_kpts=[[[(0.75, 0.875, 1)]]]),
        corner("example, 26", "no factor, no offset", params=_26, anchor_points=_P, pred_kpts=[[[(0.75, 0.875, 1)]]]),
        corner("raw zero", "half a cell left of and above the anchor", anchor_points=_P, pred_kpts=[[[(0, 0)]]]),
        corner("raw zero, 26", "the anchor itself", params=_26, anchor_points=_P, pred_kpts=[[[(0, 0)]]]),
        corner(
            "sigma logits",
            "values after the second are copied, five of them",
            params=_26,
            anchor_points=_P,
            pred_kpts=[[[(0.75, -2, 3, -1.5, 40)]]],
        ),
        corner(
            "non-square",
            "x belongs to the first coordinate of the anchor",
            anchor_points=[(7.5, 0.5), (0.5, 3.5)],
            pred_kpts=[[[(1, -1, 0)], [(0.25, 2, -3)]]],
        ),
    ),
    impostors=(
        impostor(
            "one decoding for both losses",
            "the decoding of the other head",
            "value params",
            one_decoding_for_both_losses,
        ),
        impostor("offset forgotten", "2 x + p without - 1/2", "value", offset_forgotten),
        impostor("x and y of the anchor exchanged", "row before column", "value", anchor_axes_exchanged),
        impostor("visibility squashed", "sigmoid of the visibility logit", "value", visibility_squashed),
        impostor("decodes in place", "writes into its argument", "pure", decodes_in_place),
    ),
    api="v8PoseLoss.kpts_decode(anchor_points, pred_kpts)",
    returns="(b, A, K, D): x, y in cells, the rest as given",
)
