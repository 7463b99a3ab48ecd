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

from lossref.cases import conventions, material, strategy
from lossref.catalog import spec as spec_named
from lossref.catalog import specs
from lossref.checks import CHECKS, examine
from lossref.checks.evidence import Evidence
from lossref.core import Case, Spec, Target
from lossref.oracle import weights
from lossref.probe import tensors

SEARCH = settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
DTYPES = ("float64", "float32")
ASKED = {"single": ("value", "gradient", "kinks", "single"), "small": ("reduced",)}
RESULT_DTYPE = {"varifocal": torch.float32}  # the others answer in the dtype they were given (D9)
HALF = (torch.float16, torch.bfloat16)


def reference_of(spec: Spec) -> Target:
    return Target(spec.name, partial(partial, spec.reference), "reference", tuple(spec.params))


def any_case(spec: Spec, kind: str) -> st.SearchStrategy[Case]:
    """Cases of every size of one kind, under every convention."""
    return st.one_of([strategy(spec, dims, params) for params in conventions(spec) for dims in spec.sizes[kind]])


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("name", specs())
def test_reference_is_within_budget(name: str, kind: str) -> None:
    """Each drawn case in both dtypes, so that the oracle is asked once."""
    spec = spec_named(name)
    checks = [check for check in CHECKS if check.name in ASKED[kind]]
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


def run(spec: Spec, inputs: dict[str, Tensor], params: Any) -> tuple[Tensor, list[Tensor]]:
    """Value, and gradient of the weighted sum of all outputs; the weights are exact in every dtype."""
    leaves = {name: x.detach().requires_grad_(name in spec.wrt) for name, x in inputs.items()}
    out = spec.reference(*(leaves[name] for name in spec.inputs), **params)
    upstream = torch.as_tensor(weights(tuple(out.shape)), dtype=out.dtype)
    return out.detach(), list(torch.autograd.grad(out, [leaves[name] for name in spec.wrt], upstream))


def differences(spec: Spec, case: Case, dtype: torch.dtype) -> list[str]:
    """What is not the float32 result of the same numbers, rounded once."""
    half = {name: x.to(dtype) for name, x in tensors(spec, case, "float64").items()}
    value, gradients = run(spec, half, case.params)
    exact_value, exact_gradients = run(spec, {name: x.float() for name, x in half.items()}, case.params)
    wanted = [exact_value.to(RESULT_DTYPE.get(spec.name, dtype)), *(g.to(dtype) for g in exact_gradients)]
    found = []
    for what, got, want in zip(("value", *spec.wrt), (value, *gradients), wanted, strict=True):
        if got.dtype != want.dtype or not torch.equal(got, want):
            found.append(f"{what}: got {got.flatten()} {got.dtype}, want {want.flatten()} {want.dtype}")
    return found


def fits(spec: Spec, case: Case, dtype: torch.dtype) -> bool:
    """Whether no input overflows: 65504 is the largest number of float16."""
    return all(bool(x.to(dtype).isfinite().all()) for x in tensors(spec, case, "float64").values())


@pytest.mark.parametrize("name", specs())
def test_half_precision_is_float32_rounded_once(name: str) -> None:
    spec = spec_named(name)

    @SEARCH
    @given(case=any_case(spec, "small"))
    def search(case: Case) -> None:
        assume(fits(spec, case, torch.float16))
        for dtype in HALF:
            assert differences(spec, case, dtype) == []

    search()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", specs())
def test_corners_in_half_precision_are_float32_rounded_once(name: str, dtype: torch.dtype) -> None:
    spec = spec_named(name)
    cases = [
        *material(spec, "corner", "quick", 0),
        *material(spec, "shape", "quick", 0),
        *material(spec, "empty", "quick", 0),
    ]
    assert {case.id: differences(spec, case, dtype) for case in cases if not_nan(spec, case)} == {
        case.id: [] for case in cases if not_nan(spec, case)
    }


def not_nan(spec: Spec, case: Case) -> bool:
    """A mean over nothing is NaN in every dtype, and equal to nothing."""
    value, _ = run(spec, tensors(spec, case, "float32"), case.params)
    return not bool(value.isnan().any())
