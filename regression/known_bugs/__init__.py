"""Silent bugs of losses that became public, rebuilt in our own words: each must be rejected, and its cure must pass."""

from __future__ import annotations

from known_bugs import assignment, boxes, classes, detection, distances, keypoints, masks, overlap
from known_bugs.bug import Bug as Bug

BUGS: tuple[Bug, ...] = (
    *overlap.BUGS,
    *distances.BUGS,
    *boxes.BUGS,
    *classes.BUGS,
    *masks.BUGS,
    *keypoints.BUGS,
    *assignment.BUGS,
    *detection.BUGS,
)
