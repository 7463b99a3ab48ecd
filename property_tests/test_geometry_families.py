"""Families of rotated boxes, points, distances, angles and mask boxes: exact, legal, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from lossref.core.nouns import Domain, Spec
from lossref.losses.coordinates import bbox2dist, dist2bbox, dist2rbox, rbox2dist, xywh2xyxy, xywhr2xyxyxyxy
from lossref.losses.coordinates import xyxy2xywh as xyxy
from lossref.losses.masks import crop_mask
from lossref.losses.overlap import probiou
from shared.box_families import Array, Meaning
from shared.geometry_families import MEANINGS, VARIETY

SPECS = [
    module.SPEC
    for module in (bbox2dist, crop_mask, dist2bbox, dist2rbox, probiou, rbox2dist, xywh2xyxy, xywhr2xyxyxyxy, xyxy)
]
DRAWN = [(spec, name, family) for spec in SPECS for name, domain in spec.inputs.items() for family in domain.families]


def meaning_of(domain: Domain) -> Mapping[str, Meaning]:
    return next(meaning for families, meaning in MEANINGS if families is domain.families)


@cache
def many(spec: Spec, name: str) -> tuple[Array, Array, tuple[str, ...]]:
    """Some hundred rows, the rows they are drawn in relation to, and their families."""
    domain, rng = spec.inputs[name], np.random.default_rng(5)
    dims: dict[str, Any] = {**spec.dims(spec.defaults(), spec.sizes["single"][0]), "n": 500}
    other = spec.inputs[domain.given].bulk(rng, dims)[0] if domain.given else None
    drawn, families = domain.bulk(rng, dims, other)
    rows = drawn.reshape(len(families), -1)
    return rows, rows if other is None else other.reshape(len(families), -1), families


@pytest.mark.parametrize(("spec", "name", "family"), DRAWN, ids=lambda x: getattr(x, "name", x))
def test_family_is_what_it_is_called(spec: Spec, name: str, family: str) -> None:
    rows, related, families = many(spec, name)
    mine = [i for i, drawn in enumerate(families) if drawn == family]
    assert len(mine) >= 50
    wrong = [(rows[i], related[i]) for i in mine if not meaning_of(spec.inputs[name])[family](rows[i], related[i], 0)]
    assert not wrong, wrong[0]
    assert np.array_equal(rows, rows.astype(np.float32).astype(np.float64))
    assert spec.inputs[name].legal(rows, spec.defaults()) is None


@pytest.mark.parametrize(("name", "key", "family", "aspect", "count"), VARIETY, ids=lambda x: str(x)[:24])
def test_family_has_variety(name: str, key: str, family: str, aspect: Any, count: int) -> None:
    spec = next(spec for spec in SPECS if spec.name == name)
    rows, _, families = many(spec, key)
    found = {aspect(rows[i]) for i, drawn in enumerate(families) if drawn == family}
    assert len(found) >= count


def test_a_box_without_an_area_is_not_legal() -> None:
    """QG4: it has no gradient."""
    legal = probiou.SPEC.inputs["obb1"].legal
    assert legal(np.array([[0.0, 0, 1, 1, 0]]), {}) is None
    for flat in ([0.0, 0, 0, 1, 0], [0.0, 0, 1, 0, 0], [0.0, 0, -1, 1, 0]):
        assert "no gradient" in str(legal(np.array([flat]), {}))
