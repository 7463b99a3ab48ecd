"""pycocotools: object keypoint similarity of its evaluation; values only (NumPy).

Declared conventions: one image for each object, so that each pair is read off a table of one; the loss is 1 - OKS,
averaged; 1e-9 is added to the area here; an object without a visible keypoint costs nothing.
"""

from __future__ import annotations

import contextlib
import io
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.targets import packages
from lossref.targets.packages import Row

KNOWN = dict.fromkeys(
    ("gradient", "reduced", "bulk", "varied", "connected"), "gives values only: NumPy takes no gradient"
)


def similarity(kind: Any, pred: Tensor, gt: Tensor, mask: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """The mean of 1 - OKS over all objects."""
    seen = mask.sum(1).tolist()
    objects = [i for i, count in enumerate(seen) if count]
    shown, found = (torch.cat((x[..., :2].detach().double(), 2 * mask[..., None]), -1).flatten(1) for x in (gt, pred))
    entry = {"category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1], "score": 1.0}
    sizes = area.double() + (1e-9 - np.spacing(1))  # COCO adds the spacing of 1
    with contextlib.redirect_stdout(io.StringIO()):
        truth = packages.find("pycocotools.coco.COCO")()
        truth.dataset = {"images": [{"id": i} for i in objects], "categories": [{"id": 1}]}
        truth.dataset["annotations"] = [
            {**entry, "id": i + 1, "image_id": i, "keypoints": shown[i].tolist(), "area": sizes[i].item()}
            | {"num_keypoints": int(seen[i])}
            for i in objects
        ]
        truth.createIndex()
        guesses = [{**entry, "image_id": i, "keypoints": found[i].tolist()} for i in objects]
        evaluation = kind(truth, truth.loadRes(guesses) if guesses else truth, "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas.double().cpu().numpy()
        evaluation.evaluate()
    poison = sum((x[..., :2] if x is gt or x is pred else x).sum() * 0 for x in (pred, gt, area, sigmas))
    lost = [float(poison)]  # NaN where any of them is
    lost += [(1 - evaluation.ious[i, 1].item()) * seen[i] / (seen[i] + 1e-9) for i in objects]
    mean = sum(lost) / len(seen) if seen else np.nan
    return torch.tensor(mean, dtype=torch.promote_types(pred.dtype, torch.float32), device=pred.device)


ROWS = (Row("keypoint", "pycocotools.cocoeval.COCOeval", similarity, known=KNOWN),)
version, targets = partial(packages.version, "pycocotools"), partial(packages.targets, ROWS, "pycocotools")
