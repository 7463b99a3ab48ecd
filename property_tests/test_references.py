"""Every torch reference against its oracle, on cases that Hypothesis searches; and in half precision."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossref.checks.evidence import Evidence
from lossref.checks.material import conventions, material, strategy
from lossref.checks.table import CHECKS, applies, examine
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import call_of
from lossref.hosts.worker.carry import gradients
from lossref.hosts.worker.messages import Call
from lossref.hosts.worker.tensors import given as tensors_of
from lossref.losses import spec as spec_named
from lossref.losses import specs

SEARCH = settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
DTYPES = ("float64", "float32")
ASKED = {"single": ("value", "gradient", "kinks", "single"), "small": ("reduced",)}
RESULT_DTYPE = dict.fromkeys(("varifocal", "keypoint", "rle_keypoints"), torch.float32)  # D9
BLOCKS = (
    "bbox",
    "rotated_bbox",
    "mask",
    "rle_keypoints",
    "realnvp",
)  # composites that answer in the dtype they were given
HALF = (torch.float16, torch.bfloat16)


def reference_of(spec: Spec) -> Target:
    return Target(spec.name, partial(partial, spec.reference), "reference", tuple(spec.params))


def any_case(spec: Spec, kind: str) -> st.SearchStrategy[Case]:
    """Cases of every size of one kind, under every convention."""
    return st.one_of([strategy(spec, dims, params) for params in conventions(spec) for dims in spec.sizes[kind]])


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("name", [name for name, spec in specs().items() if not spec.composite])
def test_reference_is_within_budget(name: str, kind: str) -> None:
    """Each drawn case in both dtypes, so that the oracle is asked once."""
    spec = spec_named(name)
    checks = [check for check in CHECKS if check.name in ASKED[kind] and applies(check, spec)]
    seen = {dtype: Evidence() for dtype in DTYPES}

    @SEARCH
    @given(case=any_case(spec, kind))
    def search(case: Case) -> None:
        for check, dtype in itertools.product(checks, DTYPES):
            found = examine(check, spec, reference_of(spec), case, dtype)
            assert not found.problem, f"{check.name} in {dtype}: {found.problem}"
            seen[dtype] += found

    search()
    for dtype, total in seen.items():
        # How much is left out is bounded in test_conformance, where the families are spread evenly.
        assert total.examined > 0, f"{dtype}: {total}"


# Half precision -----------------------------------------------------------------------------------------


def run(spec: Spec, inputs: dict[str, Tensor], params: Any) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """The terms, and the gradient of the weighted sum of all outputs; the weights are exact in every dtype."""
    leaves = {name: x.detach().requires_grad_(name in spec.wrt) for name, x in inputs.items()}
    found = spec.reference(*(leaves[name] for name in spec.inputs), **params)
    outs = (found,) if len(spec.terms) == 1 else tuple(found)
    grads = gradients(outs, {name: leaves[name] for name in spec.wrt}, Call({}, {}))
    shown = [torch.zeros_like(leaves[name]) if grads.get(name) is None else grads[name] for name in spec.wrt]
    return tuple(out.detach() for out in outs), shown


def result_dtype(spec: Spec, term: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Loss vectors are float32, integers stay what they are, the rest has the dtype of the inputs (D9)."""
    if not term.is_floating_point():
        return term.dtype
    return RESULT_DTYPE.get(
        spec.name, torch.float32 if spec.composite and spec.wrt and spec.name not in BLOCKS else dtype
    )


def differences(spec: Spec, case: Case, dtype: torch.dtype) -> list[str]:
    """What is not the float32 result of the same numbers, rounded once."""
    exact = tensors_of(call_of(spec, case.inputs, "float64"), "cpu")
    half = {name: x.to(dtype) if x.is_floating_point() else x for name, x in exact.items()}
    values, gradients = run(spec, half, case.params)
    wide = {name: x.float() if x.is_floating_point() else x for name, x in half.items()}
    exact_values, exact_gradients = run(spec, wide, case.params)
    wanted = [value.to(result_dtype(spec, value, dtype)) for value in exact_values]
    found = []
    for what, got, want in zip(
        (*spec.terms, *spec.wrt), (*values, *gradients), (*wanted, *(g.to(dtype) for g in exact_gradients)), strict=True
    ):
        if got.dtype != want.dtype or not torch.equal(got, want):
            found.append(f"{what}: got {got.flatten()} {got.dtype}, want {want.flatten()} {want.dtype}")
    return found


def fits(spec: Spec, case: Case, dtype: torch.dtype) -> bool:
    """Whether no input overflows: 65504 is the largest number of float16."""
    return all(
        bool(x.to(dtype).isfinite().all()) for x in tensors_of(call_of(spec, case.inputs, "float64"), "cpu").values()
    )


@pytest.mark.parametrize("name", [name for name, spec in specs().items() if not spec.composite])
def test_half_precision_is_float32_rounded_once(name: str) -> None:
    spec = spec_named(name)

    @SEARCH
    @given(case=any_case(spec, "small"))
    def search(case: Case) -> None:
        assume(fits(spec, case, torch.float16))
        for dtype in HALF:
            assert differences(spec, case, dtype) == []

    search()


@pytest.mark.parametrize("name", specs())
def test_corners_in_half_precision_are_float32_rounded_once(name: str) -> None:
    spec = spec_named(name)
    cases = [
        *material(spec, "corner", "quick", 0),
        *material(spec, "shape", "quick", 0),
        *material(spec, "empty", "quick", 0),
    ]
    asked = [case for case in cases if fits(spec, case, torch.float16) and not_nan(spec, case)]
    assert asked
    found = {(case.id, str(dtype)): differences(spec, case, dtype) for case in asked for dtype in HALF}
    assert {key: wrong for key, wrong in found.items() if wrong} == {}


def not_nan(spec: Spec, case: Case) -> bool:
    """A mean over nothing is NaN in every dtype, and equal to nothing."""
    values, _ = run(spec, tensors_of(call_of(spec, case.inputs, "float32"), "cpu"), case.params)
    return not any(bool(value.isnan().any()) for value in values)
