"""Import paths from before lossref had rooms: they go on working, with a `DeprecationWarning` that names the new one.

A spec, a target or a script that somebody else wrote must not break because files were moved, and need not be
edited at once. Python asks `Moved` last, when no file of that name was found: what was never moved costs nothing,
and a name that never was stays an ordinary `ModuleNotFoundError`.

Limit: names of a module that became a room are lent to `from lossref.core import Spec`, not to `lossref.core.Spec`
after `import lossref.core`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Old folder, new folder, and the modules that moved: NAME, or OLD:NEW. The chapters of composites (their oracle,
# cases, laws, impostors) and parts of one file (`ciou_alpha`) are not among them: only their own spec imported them.
MOVES = (
    ("lossref", "lossref", "catalog:losses"),
    ("lossref", "lossref.core", "axes declare domains:families laws picking precision scenes"),
    ("lossref", "lossref.oracle", "arith:tape budgets number:numbers"),
    ("lossref", "lossref.hosts", "limits probe"),
    ("lossref", "lossref.checks", "cases:material"),
    ("lossref", "lossref.targets", "notation packages resolve torchvision_ops"),
    ("lossref", "lossref.run", "atomic golden saved session"),
    ("lossref", "lossref.run.saved", "replay"),
    ("lossref.run", "lossref.run.saved", "replay"),
    ("lossref", "lossref.run.causes", "explain"),
    ("lossref", "lossref.run.causes.smallest", "faults:shrink"),
    ("lossref", "lossref.report", "terminal"),
    ("lossref.report", "lossref.report.between", "difference"),
    (
        "lossref",
        "lossref.bench",
        "bench_lines:lines bench_page:page bench_rows:rows standing timing workloads",
    ),
    ("lossref", "lossref.hosts.worker", "footprint:timed"),
    ("lossref.dropin", "lossref.targets.dropin", "boxes detr elementary entry models yolo"),
    (
        "lossref.targets",
        "lossref.targets.adapters",
        "kornia libreyolo monai pycocotools segmentation_models_pytorch torch torchvision transformers ultralytics",
    ),
    (
        "lossref.blocks",
        "lossref.losses.coordinates",
        "bbox2dist box_maps:maps dfl_decode dist2bbox dist2rbox make_anchors rbox2dist rotated_boxes:rotated "
        "xywh2xyxy xywhr2xyxyxyxy xyxy2xywh",
    ),
    ("lossref.blocks", "lossref.losses.overlap", "bbox_iou box_pairs:pairs ciou diou giou iou probiou"),
    ("lossref.blocks", "lossref.losses.masks", "crop_mask mask_boxes:boxes mask_tiles:tiles"),
    (
        "lossref.blocks",
        "lossref.losses.assignment",
        "assignment:answer candidates positives rotated_task_aligned task_aligned",
    ),
    ("lossref.blocks", "lossref.losses.detr", "hungarian matching queries:domains"),
    ("lossref.blocks", "lossref.losses.keypoints", "flow_states realnvp"),
    ("lossref.losses", "lossref.losses.classification", "bce class_term focal varifocal"),
    (
        "lossref.losses",
        "lossref.losses.box_terms",
        "angle bbox box_parts:parts dense_boxes:domains dfl rotated_bbox",
    ),
    ("lossref.losses", "lossref.losses.masks", "bce_dice dice mask mask_sums:sums mask_term:batch_term semantic_term"),
    ("lossref.losses", "lossref.losses.keypoints", "keypoint keypoint_tables:tables kpts_decode rle rle_keypoints"),
    (
        "lossref.losses",
        "lossref.losses.detection",
        "e2e e2e_detect tvp_detect v8_detection yolo:batch",
    ),
    ("lossref.losses", "lossref.losses.segmentation", "segmentation_terms:terms tvp_segment v8_segmentation"),
    (
        "lossref.losses",
        "lossref.losses.pose",
        "keypoint_overlap keypoint_scenes:domains keypoint_terms pose26 pose_parts:terms v8_pose",
    ),
    ("lossref.losses", "lossref.losses.obb", "rotated_detection:terms v8_obb"),
    ("lossref.losses", "lossref.losses.detr", "detr_layers:layers detr_terms:terms rtdetr"),
)
MODULES = {
    f"{old}.{names.partition(':')[0]}": f"{new}.{names.rpartition(':')[2]}"
    for old, new, moved in MOVES
    for names in moved.split()
}
FOLDERS = ("lossref.blocks", "lossref.dropin")
"""Folders that are no more."""
NAMES = {
    "lossref.core": "lossref.core.nouns",
    "lossref.oracle": "lossref.oracle.answers",
    "lossref.checks": "lossref.checks.table",
    "lossref.run": "lossref.run.jobs",
    "lossref.report": "lossref.report.page",
    "lossref.bench": "lossref.bench.contests",
    "lossref.editions": "lossref.editions.editions",
    "lossref.dropin": "lossref.targets.dropin",
    "lossref.targets.dropin": "lossref.targets.adapters.dropin",
    "lossref.losses.classification": "lossref.losses.classification.classification",
    "lossref.losses.detection": "lossref.losses.detection.terms",
    "lossref.losses.detr": "lossref.losses.detr.detr",
}
"""Modules that became rooms of the same name, and where their names are now."""


class Moved:
    """Finds what moved, and loads it; to be asked after all others.

    It has the methods of `importlib.abc.MetaPathFinder` and `Loader`, whose import takes longer than lossref's own.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a module that moved; a name that moved is lent to its old room, where `from` looks next."""
        if fullname in MODULES or fullname in FOLDERS:
            loader: Any = self
            return ModuleSpec(fullname, loader, is_package=fullname in FOLDERS)
        room, _, name = fullname.rpartition(".")
        if room in NAMES and not name.startswith("_"):
            now = importlib.import_module(NAMES[room])
            if hasattr(now, name):
                warnings.warn(f"{fullname} is now {now.__name__}.{name}", DeprecationWarning, stacklevel=2)
                setattr(sys.modules[room], name, getattr(now, name))
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """None: an ordinary empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new path in the place of the old one; of a folder only its name is left."""
        old = module.__name__
        if old in MODULES:
            warnings.warn(f"{old} is now {MODULES[old]}", DeprecationWarning, stacklevel=2)
            sys.modules[old] = importlib.import_module(MODULES[old])


def follow() -> None:
    """From here on old paths are found; once is enough."""
    if not any(isinstance(finder, Moved) for finder in sys.meta_path):
        sys.meta_path.append(Moved())
