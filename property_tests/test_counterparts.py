"""Which public loss classes of the installed release have no counterpart here: the README lists them."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import ModuleType

import lossref

os.environ.setdefault("YOLO_OFFLINE", "true")

from ultralytics.models.utils import loss as detr
from ultralytics.utils import loss as yolo

README = (Path(__file__).parents[1] / "README.md").read_text()
WITHOUT = ["DepthLoss26", "SegmentLoss26", "SemanticSegmentationLoss"]


def classes(module: ModuleType) -> set[str]:
    """Names of the public classes that a module defines; nothing but the names is looked at."""
    found = {name for name in dir(module) if inspect.isclass(getattr(module, name)) and not name.startswith("_")}
    return {name for name in found if getattr(module, name).__module__ == module.__name__}


def test_the_readme_lists_what_has_no_counterpart() -> None:
    public = classes(yolo) | classes(detr)
    assert len(public) > 20
    assert sorted(public - set(lossref.LOSSES)) == WITHOUT
    listed = " ".join(README.split()).partition("have no counterpart here: ")[2].partition(".")[0]
    assert [name.strip("` ") for name in listed.split(",")] == WITHOUT
