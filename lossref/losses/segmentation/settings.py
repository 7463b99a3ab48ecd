"""The choices of the segmentation losses as parameters, and in words what each value does.

Source: spec/05-decisions.md D1, D3, D4, D14.
"""

from __future__ import annotations

from lossref.core.nouns import Param
from lossref.losses.masks.crop_mask import CROP
from lossref.losses.masks.mask import ZERO_AREA_MASK

SEPARATE = {
    "all": "images that have no mask of their number take part, too",
    "truncated": "images beyond the number of masks are left out of the mask term",
}
BACKGROUND = {
    "empty": "where an image has no object no pixel of it is trained",
    "class0": "an image without objects is trained on its classes as they are",
}

MASK_PARAMS = {
    "overlap": Param(True, (False,), "masks number the objects of an image; False: one binary mask for each object"),
    "crop": CROP,
    "separate_masks": Param(
        "all", ("truncated",), "truncated: images beyond the number of masks are left out (D3)", means=SEPARATE
    ),
    "zero_area_mask": ZERO_AREA_MASK,
}
SEMANTIC_PARAMS = {
    "semantic": Param(True, (False,), "whether the semantic logits are given to the loss"),
    "semantic_background": Param(
        "empty", ("class0",), "class0: an image without objects is trained as it is (D4)", means=BACKGROUND
    ),
}
