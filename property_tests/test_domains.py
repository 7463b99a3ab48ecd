"""The generators themselves: every family is drawn, is exact and legal, and means what its name says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from lossref.checks.material import conventions, families_of, has_kind, material, shares, strategy, with_defaults
from lossref.core.families import (
    BIN_TARGET_FAMILIES,
    BOX_FAMILIES,
    HARD_LABEL_FAMILIES,
    LABEL_FAMILIES,
    LOGIT_FAMILIES,
    PAIR_FAMILIES,
    QUALITY_FAMILIES,
    xyxy_to_xywh,
)
from lossref.core.nouns import Case, Domain, Spec
from lossref.core.picking import spread
from lossref.losses import spec as spec_named
from lossref.losses import specs
from shared.box_families import BOXES, PAIRS, Array, Meaning, on_grid, size_of
from shared.geometry_families import MEANINGS as GEOMETRY_MEANINGS
from shared.geometry_families import VARIETY as GEOMETRY_VARIETY

SEEDS = (0, 1, 2)
FAMILIES = [
    (name, key, family)
    for name, spec in specs().items()
    for key, domain in spec.inputs.items()
    for family in domain.families
]
# Hypothesis searches the inputs of everything but composites: a head has thousands of numbers.
SEARCHED = [name for name, spec in specs().items() if not spec.composite]
INPUTS = [(name, key) for name, spec in specs().items() for key in spec.inputs]


def exact_in_float32(case: Case) -> bool:
    return all(np.array_equal(x, x.astype(np.float32).astype(np.float64)) for x in case.inputs.values())


def dims_for(spec: Spec) -> dict[str, Any]:
    """The first one-item size of a spec."""
    return spec.dims(spec.defaults(), spec.sizes["single"][0])


# What is drawn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "key", "family"), FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_family_is_drawn(seed: int, name: str, key: str, family: str) -> None:
    spec = spec_named(name)
    drawn = shares(list(material(spec, "single", "full" if spec.composite else "quick", seed)))
    assert drawn[f"{key}={family}"] > 0


def allowed_families(spec: Spec, key: str) -> set[str]:
    """The families that exist under at least one convention."""
    domain, found = spec.inputs[key], set()
    for params in conventions(spec):
        absent = domain.leave_out(with_defaults(spec, params))
        found |= {family for family in domain.families if family not in absent}
    return found


@pytest.mark.parametrize(("name", "key"), INPUTS)
def test_no_family_is_left_out_under_every_convention(name: str, key: str) -> None:
    assert allowed_families(spec_named(name), key) == set(spec_named(name).inputs[key].families)


def test_conventions_leave_out_what_does_not_exist() -> None:
    """In xywh, w / h of a flat box is undefined for CIoU; in xyxy its height is eps."""
    drawn = {xywh: Counter[str]() for xywh in (True, False)}
    for case in material(spec_named("ciou"), "single", "quick", 0):
        drawn[case.params["xywh"]] += shares([case])
    assert drawn[True]["box1=zero area"] == 0
    assert drawn[False]["box1=zero area"] > 0


KINDS = ("single", "small", "bulk", "empty", "setting", "corner", "shape", "rare")
MATERIAL = [(name, kind) for name, spec in specs().items() for kind in KINDS if has_kind(spec, kind)]


@pytest.mark.parametrize(("name", "kind"), MATERIAL)
def test_cases_are_legal_and_exact(name: str, kind: str) -> None:
    spec = spec_named(name)
    cases = material(spec, kind, "quick", 0)
    assert cases, f"there is no case of kind {kind!r}"
    for case in cases:
        assert kind == "shape" or spec.why_not(case) is None
        assert exact_in_float32(case)


@pytest.mark.parametrize(("name", "kind"), [row for row in MATERIAL if row[1] in specs()[row[0]].sizes])
def test_drawn_arrays_have_the_declared_shape(name: str, kind: str) -> None:
    spec = spec_named(name)
    for case in material(spec, kind, "quick", 0):
        shapes = {key: x.shape for key, x in case.inputs.items()}
        wanted = [
            {key: domain.shape(spec.dims(case.params, dims)) for key, domain in spec.inputs.items()}
            for dims in spec.sizes[kind]
        ]
        assert shapes in wanted


@pytest.mark.parametrize("name", specs())
def test_material_is_the_same_for_the_same_seed_only(name: str) -> None:
    def numbers(seed: int) -> list[list[float]]:
        cases = material.__wrapped__(spec_named(name), "small", "quick", seed)  # past the cache
        return [x.ravel().tolist() for case in cases for x in case.inputs.values()]

    assert numbers(5) == numbers(5)
    assert numbers(5) != numbers(6)


@settings(max_examples=50, deadline=None, database=None)
@given(families=st.integers(1, 9), rows=st.integers(0, 60), seed=st.integers(0, 1000))
def test_families_are_spread_evenly(families: int, rows: int, seed: int) -> None:
    order = spread(np.random.default_rng(seed), families, rows)
    counts = np.bincount(order, minlength=families)
    assert len(order) == rows
    assert len(counts) == families
    assert counts.max() - counts.min() <= 1


# What a family means ------------------------------------------------------------------------------------

LOGITS: dict[str, Meaning] = {
    "moderate": lambda row, other, bins: on_grid(row, 8) and bool(np.abs(row).max() <= 4),
    "zero": lambda row, other, bins: not row.any(),
    "+-20": lambda row, other, bins: bool(np.all(np.abs(row) == 20)),
    "+-88": lambda row, other, bins: bool(np.all(np.abs(row) == 88)),
    "+-1e4": lambda row, other, bins: bool(np.all(np.abs(row) == 1e4)),
}
HARD_LABELS: dict[str, Meaning] = {
    "hard": lambda row, other, bins: bool(np.isin(row, (0, 1)).all()),
    "all zero": lambda row, other, bins: not row.any(),
    "all one": lambda row, other, bins: bool((row == 1).all()),
}
LABELS: dict[str, Meaning] = {
    **HARD_LABELS,
    "soft": lambda row, other, bins: on_grid(row, 16) and bool((row >= 0).all() and (row <= 1).all()),
}
QUALITY: dict[str, Meaning] = {
    "soft": lambda row, other, bins: on_grid(row, 16) and bool((row >= 0).all() and (row <= other).all()),
    "hard": lambda row, other, bins: np.array_equal(row, other),
    "all zero": lambda row, other, bins: not row.any(),
}
BIN_TARGETS: dict[str, Meaning] = {
    "inside": lambda row, other, bins: bool(row.min() >= 0 and row.max() <= bins - 1.25),
    "integral": lambda row, other, bins: on_grid(row, 1) and bool(row.min() >= 0 and row.max() <= bins - 2),
    "near the upper bound": lambda row, other, bins: bool(abs(row - (bins - 1.01)).max() < 0.02),
    "above": lambda row, other, bins: bool(row.min() >= bins - 1),
    "below": lambda row, other, bins: bool(row.max() <= 0),
}
MEANINGS: list[tuple[Mapping[str, Any], dict[str, Meaning]]] = [
    (BOX_FAMILIES, BOXES),
    (PAIR_FAMILIES, PAIRS),
    (LOGIT_FAMILIES, LOGITS),
    (LABEL_FAMILIES, LABELS),
    (HARD_LABEL_FAMILIES, HARD_LABELS),
    (QUALITY_FAMILIES, QUALITY),
    (BIN_TARGET_FAMILIES, BIN_TARGETS),
    *GEOMETRY_MEANINGS,
]
ROWS = 700


def meanings_of(domain: Domain) -> dict[str, Meaning]:
    """Empty for families that belong to one loss alone."""
    return next((meaning for families, meaning in MEANINGS if families is domain.families), {})


class Rows(NamedTuple):
    """Rows of one input as drawn, the rows they are drawn in relation to, their families, and the number of bins."""

    rows: Array
    related: Array
    families: tuple[str, ...]
    bins: int


@cache
def many_rows(name: str, key: str) -> Rows:
    """Some hundred rows; an input that is drawn as a whole is drawn that often."""
    spec, rng = spec_named(name), np.random.default_rng(11)
    domain, dims = spec.inputs[key], {**dims_for(spec), "xywh": False}  # under which every family of boxes exists
    drawn, related, families = [], [], []
    while len(families) < ROWS:
        other = spec.inputs[domain.given].bulk(rng, dims)[0] if domain.given else None
        array, names = domain.bulk(rng, dims, other)
        drawn.append(array.reshape(len(names), -1))
        related.append(drawn[-1] if other is None else other.reshape(len(names), -1))
        families += names
    return Rows(np.concatenate(drawn), np.concatenate(related), tuple(families), dims.get("R", 0))


@pytest.mark.parametrize(
    ("name", "key", "family"), [row for row in FAMILIES if meanings_of(specs()[row[0]].inputs[row[1]])]
)
def test_family_means_what_it_says(name: str, key: str, family: str) -> None:
    meanings = meanings_of(spec_named(name).inputs[key])
    assert family in meanings, "a family without a meaning here"
    rows, related, families, bins = many_rows(name, key)
    mine = [i for i, drawn in enumerate(families) if drawn == family]
    assert len(mine) >= 50
    wrong = [(rows[i].tolist(), related[i].tolist()) for i in mine if not meanings[family](rows[i], related[i], bins)]
    assert not wrong, f"{len(wrong)} of {len(mine)} are not {family!r}, for example {wrong[0]}"


SPREADS: list[tuple[str, str, str, Callable[[Array], Any], int]] = [
    *GEOMETRY_VARIETY,
    ("iou", "box1", "thin 1:50", lambda row: bool(size_of(row)[0] > size_of(row)[1]), 2),
    ("iou", "box1", "huge", lambda row: bool(size_of(row).max() > 32768), 2),
    ("iou", "box1", "negative", lambda row: bool(row.max() < 0), 2),
    ("iou", "box2", "edge", lambda row: float(size_of(row)[0]), 20),
    ("focal", "pred", "moderate", lambda row: float(row[0]), 40),
    ("focal", "pred", "+-20", lambda row: float(row[0]), 2),
    ("focal", "label", "hard", lambda row: float(row[0]), 2),
    ("focal", "label", "soft", lambda row: float(row[0]), 17),
    ("dfl", "target", "integral", lambda row: float(row[0]), 15),
    ("dfl", "target", "near the upper bound", lambda row: bool(row[0] > 14.99), 2),
]


@pytest.mark.parametrize(("name", "key", "family", "aspect", "count"), SPREADS, ids=lambda x: str(x)[:24])
def test_family_is_not_one_point(name: str, key: str, family: str, aspect: Callable[[Array], Any], count: int) -> None:
    """Both orientations, both signs, every class: a family has the variety that it is there for."""
    rows, _, families, _ = many_rows(name, key)
    found = {aspect(row) for row, drawn in zip(rows, families, strict=True) if drawn == family}
    assert len(found) >= count


@settings(max_examples=60, deadline=None, database=None)
@given(
    corner=st.tuples(*[st.integers(-(2**20), 2**20)] * 2),
    size=st.tuples(*[st.integers(0, 2**18)] * 2),
    exponent=st.integers(-20, 4),
)
def test_layouts_are_the_same_box(corner: tuple[int, int], size: tuple[int, int], exponent: int) -> None:
    x, y, w, h = np.array([*corner, *size]) * 2.0**exponent
    cx, cy, width, height = xyxy_to_xywh(np.array([x, y, x + w, y + h]))
    assert (width, height) == (w, h)
    assert (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) == (x, y, x + w, y + h)


# Hypothesis ---------------------------------------------------------------------------------------------


PATIENT = settings(
    max_examples=2000,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@cache
def any_case(name: str, kinds: tuple[str, ...] = ("single", "small")) -> st.SearchStrategy[Case]:
    """Cases of every convention and size of the given kinds."""
    spec = spec_named(name)
    choices = [
        strategy(spec, dims, params) for params in conventions(spec) for kind in kinds for dims in spec.sizes[kind]
    ]
    return st.one_of(choices)


@pytest.mark.parametrize("name", SEARCHED)
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hypothesis_draws_legal_and_exact_cases(name: str, data: st.DataObject) -> None:
    spec = spec_named(name)
    case = data.draw(any_case(name))
    assert spec.why_not(case) is None
    assert exact_in_float32(case)
    for key, domain in spec.inputs.items():
        assert families_of(case, key) <= set(domain.families)


@pytest.mark.parametrize("name", SEARCHED)
def test_hypothesis_reaches_every_family(name: str) -> None:
    spec = spec_named(name)
    missing = {f"{key}={family}" for key, domain in spec.inputs.items() for family in domain.families}

    def nothing_missing(case: Case) -> bool:
        missing.difference_update(case.flags)
        return not missing

    # The search ends as soon as all were drawn; `find` raises where that never happens.
    find(any_case(name, ("single",)), nothing_missing, settings=PATIENT)
    assert missing == set()


@pytest.mark.parametrize("name", SEARCHED)
def test_hypothesis_can_be_limited_to_the_families_of_a_case(name: str) -> None:
    spec = spec_named(name)
    like = material(spec, "single", "quick", 0)[0]

    @settings(max_examples=10, deadline=None, database=None)
    @given(case=strategy(spec, spec.sizes["small"][0], like.params, like))
    def examine(case: Case) -> None:
        assert set(case.flags) <= set(like.flags)

    examine()


# Legality -----------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
ILLEGAL: list[tuple[str, str, Any, Any, str]] = [
    ("iou", "box1", np.ones((3, 5)), {}, "expected shape (n, 4), got (3, 5)"),
    ("giou", "box2", np.ones(3), {}, "expected shape (n, 4), got (3,)"),
    ("diou", "box1", np.float64(1), {}, "expected shape (n, 4), got ()"),
    ("dfl", "target", np.ones((4, 3)), {}, "expected shape (n, 4), got (4, 3)"),
    ("focal", "pred", np.float64(1), {}, "expected shape (b, q, c), got ()"),
    ("iou", "box1", np.array([[1, 2, NAN, 4]]), {}, "NaN or infinity"),
    ("varifocal", "gt_score", np.array([[[NAN]]]), {}, "NaN or infinity"),
    ("dice", "pred", np.array([[[[INF]]]]), {}, "NaN or infinity"),
    ("dfl", "pred_dist", np.array([[-INF] * 16] * 4), {}, "NaN or infinity"),
    ("iou", "box1", np.ones((1, 4), dtype=complex), {}, "got dtype complex128"),
    ("focal", "label", np.array([[["1"]]]), {}, "got dtype <U1"),
    ("bce_dice", "pred", np.ones((1, 1, 1, 1), dtype=object), {}, "got dtype object"),
    ("iou", "box1", np.array([[3.0, 0, 1, 2]]), {"xywh": False}, "x1 <= x2"),
    ("ciou", "box2", np.array([[0.0, 3, 1, 2]]), {"xywh": False}, "y1 <= y2"),
    ("giou", "box1", np.array([[0.0, 0, 1, -1]]), {"xywh": True}, "w, h >= 0"),
    ("ciou", "box1", np.array([[0.0, 0, 0, 0]]), {"xywh": True}, "expected h > 0"),
    ("ciou", "box1", np.array([[0.0, 0, 1, 0]]), {}, "expected h > 0"),
]


@pytest.mark.parametrize(("name", "key", "bad", "params", "sentence"), ILLEGAL, ids=lambda x: str(x)[:28])
def test_illegal_input_is_named_and_explained(name: str, key: str, bad: Array, params: Any, sentence: str) -> None:
    spec = spec_named(name)
    good = next(c for c in material(spec, "single", "quick", 0) if c.params.items() >= params.items())
    reason = spec.why_not(Case(name, {**good.inputs, key: np.asarray(bad)}, params))
    assert reason is not None
    assert reason.startswith(f"{name}: {key}: ")
    assert sentence in reason
    assert spec.inputs[key].units in reason


@pytest.mark.parametrize(("name", "key"), INPUTS)
def test_missing_input_is_named(name: str, key: str) -> None:
    spec = spec_named(name)
    good = material(spec, "single", "quick", 0)[0]
    inputs = {other: x for other, x in good.inputs.items() if other != key}
    reason = spec.why_not(Case(name, inputs, good.params))
    assert reason == f"{name}: the input {key!r} is missing; it needs {', '.join(spec.inputs)}"


LEGAL: list[tuple[str, str, Any, Any]] = [
    ("iou", "box1", np.array([[0, 0, 0, 0]]), {"xywh": True}),
    ("ciou", "box1", np.array([[1.0, 2, 1, 2]]), {"xywh": False}),
    ("ciou", "box1", np.array([[1.0, 2, 0, 1]]), {"xywh": True}),
    ("ciou", "box1", np.ones((2, 3, 4)), {"xywh": True}),
    ("focal", "label", np.array([[[True]]]), {}),
    ("dice", "target", np.ones((1, 1, 1, 1), dtype=np.uint8), {}),
    ("focal", "pred", np.zeros((0, 3, 2)), {}),
]


@pytest.mark.parametrize(("name", "key", "good", "params"), LEGAL, ids=lambda x: str(x)[:28])
def test_unusual_but_legal_input_is_accepted(name: str, key: str, good: Array, params: Any) -> None:
    domain = spec_named(name).inputs[key]
    assert domain.why_not(good, {**spec_named(name).defaults(), **params}) is None


# Axes ---------------------------------------------------------------------------------------------------


def domain_of(axes: str, row: int = 1) -> Domain:
    return Domain(axes, "numbers", LOGIT_FAMILIES, row=row)


AXES: list[tuple[str, dict[str, int], tuple[int, ...]]] = [
    ("4", {}, (4,)),
    ("n", {"n": 3}, (3,)),
    ("n 4", {"n": 3}, (3, 4)),
    ("n 4", {"n": 0}, (0, 4)),
    ("4n R", {"n": 3, "R": 16}, (12, 16)),
    ("4n R", {"n": 0, "R": 16}, (0, 16)),
    ("17n", {"n": 2}, (34,)),
    ("b q c", {"b": 2, "q": 3, "c": 5}, (2, 3, 5)),
    ("b c h1 W_2", {"b": 1, "c": 2, "h1": 3, "W_2": 4}, (1, 2, 3, 4)),
    ("n n", {"n": 3}, (3, 3)),
    ("", {}, ()),
]


@pytest.mark.parametrize(("axes", "dims", "shape"), AXES, ids=str)
def test_axes(axes: str, dims: dict[str, int], shape: tuple[int, ...]) -> None:
    assert domain_of(axes).shape(dims) == shape


@pytest.mark.parametrize("axis", ["n*4", "n4*", "-1", "...", "4.5", "(n)", "4 _n"])
def test_unreadable_axis_is_quoted(axis: str) -> None:
    with pytest.raises(ValueError, match="cannot read the axis"):
        domain_of(axis).shape({"n": 1})


def test_axis_without_a_size_is_named() -> None:
    with pytest.raises(KeyError, match="q"):
        domain_of("b q").shape({"b": 1})


@pytest.mark.parametrize(
    ("axes", "row", "rows"), [("n 4", 1, 3), ("n 4", 0, 12), ("n 4", 2, 1), ("4n R", 1, 12), ("4n R", 0, 24)], ids=str
)
def test_rows_are_counted_over_the_leading_axes(axes: str, row: int, rows: int) -> None:
    dims = {"n": 3, "R": 2}
    domain = domain_of(axes, row)
    drawn, families = domain.bulk(np.random.default_rng(0), dims)
    assert (domain.count(dims), len(families)) == (rows, rows)
    assert drawn.shape == domain.shape(dims)
