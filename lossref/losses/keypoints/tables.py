"""The 17 keypoints of COCO: how wide each is, and how much its position error counts.

Source: spec/00-conventions.md section 7, QC4, QC5, D8. Order: nose, eyes, ears, shoulders, elbows,
wrists, hips, knees, ankles; left before right.
"""

from __future__ import annotations

import torch

_TENTHS = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5)

# Divided in float32: the first entry is 0.025999998673796654, not the float32 nearest to 0.026.
OKS_SIGMA = torch.tensor(_TENTHS, dtype=torch.float32) / 10.0
OKS_SIGMA_83 = torch.tensor(_TENTHS, dtype=torch.float64) / 10.0  # as releases 8.3 have it
RLE_WEIGHT = torch.tensor(_WEIGHTS, dtype=torch.float64)
