"""The least numbers of cases that a record has to hold, spec by spec: a record that was made smaller is not whole.

Whoever takes cases away and writes all digests anew has to change this table, too, where it is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TABLE = """
angle: 67 all, 8 corner, 3 setting, 48 single, 8 batch
bbox: 81 all, 12 corner, 79 kink, 13 setting, 48 single, 8 batch
bbox2dist: 70 all, 2 witness, 7 corner, 2 kink, 6 setting, 48 single, 8 batch
bce_dice: 79 all, 2 witness, 6 corner, 29 kink, 12 setting, 48 single, 12 batch
ciou: 110 all, 6 witness, 19 corner, 79 kink, 24 setting, 48 single, 16 batch
classification: 64 all, 2 witness, 7 corner, 48 single, 8 batch
crop_mask: 94 all, 29 corner, 59 kink, 9 setting, 48 single, 8 batch
detr: 59 all, 15 corner, 1 kink, 15 setting, 18 single, 9 batch, 2 full size, 2 reference
dfl: 68 all, 4 witness, 7 corner, 64 kink, 3 setting, 48 single, 8 batch
dfl_decode: 70 all, 2 witness, 7 corner, 1 kink, 6 setting, 48 single, 8 batch
dice: 89 all, 4 witness, 10 corner, 6 kink, 21 setting, 48 single, 8 batch
diou: 95 all, 4 witness, 17 corner, 71 kink, 12 setting, 48 single, 16 batch
dist2bbox: 71 all, 2 witness, 6 corner, 1 kink, 48 single, 16 batch
dist2rbox: 64 all, 2 witness, 7 corner, 1 kink, 48 single, 8 batch
e2e: 36 all, 13 corner, 17 setting, 3 single, 1 batch, 2 full size, 2 reference
e2e_detect: 31 all, 10 corner, 15 setting, 3 single, 1 batch, 2 full size, 2 reference
focal: 93 all, 4 witness, 11 corner, 49 kink, 24 setting, 48 single, 8 batch
giou: 96 all, 6 witness, 17 corner, 68 kink, 12 setting, 48 single, 16 batch
hungarian: 54 all, 14 corner, 7 setting, 18 single, 13 batch, 2 full size, 2 reference
iou: 96 all, 6 witness, 17 corner, 65 kink, 12 setting, 48 single, 16 batch
keypoint: 65 all, 2 witness, 8 corner, 48 single, 8 batch
kpts_decode: 65 all, 6 corner, 3 setting, 48 single, 8 batch
make_anchors: 77 all, 7 corner, 18 setting, 48 single, 4 batch
mask: 79 all, 10 corner, 59 kink, 13 setting, 48 single, 8 batch
pose26: 51 all, 25 corner, 1 labels, 20 setting, 3 single, 1 batch, 2 full size, 2 reference
probiou: 83 all, 4 witness, 10 corner, 2 kink, 15 setting, 48 single, 8 batch
rbox2dist: 69 all, 7 corner, 2 kink, 6 setting, 48 single, 8 batch
realnvp: 32 all, 6 corner, 15 single, 9 batch, 2 full size, 2 reference
rle: 73 all, 2 witness, 7 corner, 25 kink, 9 setting, 48 single, 8 batch
rle_keypoints: 72 all, 7 corner, 11 kink, 9 setting, 48 single, 8 batch
rotated_bbox: 36 all, 10 corner, 15 single, 9 batch, 2 full size, 2 reference
rotated_task_aligned: 55 all, 17 corner, 15 setting, 15 single, 8 batch
rtdetr: 57 all, 14 corner, 17 setting, 15 single, 9 batch, 2 full size, 2 reference
task_aligned: 55 all, 24 corner, 11 setting, 13 single, 7 batch
tvp_detect: 33 all, 10 corner, 17 setting, 3 single, 1 batch, 2 full size, 2 reference
tvp_segment: 42 all, 13 corner, 23 setting, 3 single, 1 batch, 2 full size, 2 reference
v8_detection: 46 all, 32 corner, 8 setting, 3 single, 1 batch, 2 full size, 2 reference
v8_obb: 42 all, 22 corner, 14 setting, 3 single, 1 batch, 2 full size, 2 reference
v8_pose: 43 all, 18 corner, 1 labels, 19 setting, 3 single, 1 batch, 2 full size, 2 reference
v8_segmentation: 49 all, 23 corner, 1 kink, 20 setting, 3 single, 1 batch, 2 full size, 2 reference
varifocal: 77 all, 2 witness, 8 corner, 34 kink, 12 setting, 48 single, 8 batch
xywh2xyxy: 63 all, 2 witness, 6 corner, 2 kink, 48 single, 8 batch
xywhr2xyxyxyxy: 64 all, 4 witness, 6 corner, 1 kink, 48 single, 8 batch
xyxy2xywh: 63 all, 2 witness, 6 corner, 2 kink, 48 single, 8 batch
"""


def _counts(line: str) -> tuple[str, dict[str, int]]:
    spec, _, groups = line.partition(": ")
    pairs = (word.split(" ", 1) for word in groups.split(", "))
    return spec, {group: int(number) for number, group in pairs}


LEAST: Mapping[str, Mapping[str, int]] = dict(map(_counts, TABLE.strip().splitlines()))
"""Spec -> group -> the least number of cases: all of them, and those of each group of `grouped`."""


def grouped(row: Mapping[str, Any]) -> Iterator[str]:
    """The groups that a case counts for."""
    yield "all"
    yield from (flag for flag in row["flags"] if "=" not in flag)
    if row["origin"] != "certified":
        yield row["origin"].partition(":")[0]


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many cases there are of each group."""
    found: dict[str, int] = {}
    for row in rows:
        for group in grouped(row):
            found[group] = found.get(group, 0) + 1
    return found


def too_few(spec: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One sentence for each group of which there are fewer cases than the code wants."""
    found = counts(rows)
    for group, least in LEAST.get(spec, {}).items():
        if found.get(group, 0) < least:
            yield f"{spec}.json: {group}: {found.get(group, 0)} cases, at least {least} belong to the record"
