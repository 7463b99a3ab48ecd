"""What each value of a rule of the assigners does, in words, for every spec that has the rule.

Source: spec/20-assignment.md section 1.10 and D9, `Rules` in candidates.
"""

from __future__ import annotations

CONFLICT = {
    "all": "an anchor that several objects picked goes to the object with the largest overlap of all, which is 0 "
    "where the anchor lies outside of it; to the first object where all are 0",
    "overlapping": "an anchor that several objects picked goes to the object with the largest overlap of all, also of "
    "those that do not contain it",
    "containing": "an anchor that several objects picked goes to the largest overlap of the objects that contain it",
    "picked": "an anchor that several objects picked goes to the largest overlap of those that picked it",
}
OVERLAP = {
    "ciou": "the metric and the conflicts take CIoU, cut off below 0",
    "iou": "the metric and the conflicts take plain IoU",
    "oks": "the metric takes the similarity of the keypoints where any is visible, else CIoU",
    "ciou and oks": "the metric takes the mean of CIoU and of the similarity of the keypoints",
}
ZERO_METRIC = {
    "kept": "candidates with metric 0 fill up the top k, and are positive with target 0",
    "dropped": "candidates with metric 0 are never positive",
}
SMALL_BOXES = {
    "stride1": "a side below stride[0] counts as stride[1] when candidates are looked for",
    "stride0": "a side below stride[0] counts as stride[0] when candidates are looked for",
    "raised": "a side below stride[1] counts as stride[1] when candidates are looked for",
    "off": "every side counts as it is when candidates are looked for",
}
REACH = {
    None: "every anchor inside an object is a candidate, however far from its centre",
    1.5: "a candidate lies nearer than 1.5 cells to the centre of its object, in x and in y",
}
AT_LEAST_ONE = {
    "off": "an object without candidates gets no anchor",
    "nearest": "an object without candidates gets the anchor nearest to its centre",
    "best": "an object whose candidates all have metric 0 gets the anchor with the largest metric of all",
}
EDGE = {
    "open": "an anchor on the edge of a box is outside of it",
    "closed": "an anchor on the edge of a box is inside of it",
}
LEVELS = {
    "all": "an object may have anchors of all levels",
    "by size": "an object has anchors of the levels on which the root of its area is 2 to 12 cells",
}
SMALL_RBOXES = {
    "true": "small sides are enlarged when candidates are looked for, and nowhere else",
    "enlarged": "small sides are enlarged for the overlap and in the boxes that are learnt, too",
}
