"""Cases that a spec itself names."""

from __future__ import annotations

from dataclasses import replace

from lossref.core.nouns import Case, Spec
from lossref.losses import spec as spec_named


def corner_of(name: str, corner: str) -> tuple[Spec, Case]:
    """A spec, and its corner of that id with all parameters."""
    spec = spec_named(name)
    case = next(case for case in spec.corners if case.id == corner)
    return spec, replace(case, params={**spec.defaults(), **case.params})
