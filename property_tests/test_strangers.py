"""What a stranger ran into: forms of results, shrinking, explanations, snippets."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossref.checks.table import cases_for, check, examine, named
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import call, itself
from lossref.losses import spec
from lossref.run.causes.smallest.shrink import shrink
from lossref.run.saved import snippet
from lossref.targets.resolve import resolve
from shared.explaining import sentences


def stranger(one: Spec, function: Any) -> Target:
    """An implementation without parameters, as the default settings have it."""
    return Target(one.name, lambda **params: function, "stranger")


def of(one: Spec, form: str) -> Target:
    """The reference, with its terms in another form."""

    def asked(*inputs: Tensor, **params: Any) -> Any:
        terms = one.reference(*inputs, **params)
        vector = torch.stack(list(terms))
        return {"vector": vector, "pair": (vector, vector.detach()), "dict": terms._asdict()}[form]

    return replace(itself(one), build=partial(partial, asked), label=form)


@pytest.mark.parametrize("form", ["vector", "pair", "dict"])
@pytest.mark.parametrize("name", ["v8_detection", "detr"])
def test_forms_of_several_terms(name: str, form: str) -> None:
    one = spec(name)
    case = cases_for(named("reduced"), one, itself(one), "quick", 0)[0]
    assert examine(named("reduced"), one, of(one, form), case, "float64").problem == ""


def test_loss_and_items_are_terms_where_both_are_specified() -> None:
    one = spec("e2e")
    case = cases_for(named("reduced"), one, itself(one), "quick", 0)[0]

    def asked(*inputs: Tensor, **params: Any) -> Any:
        terms = one.reference(*inputs, **params)
        return torch.stack(list(terms[:3])), torch.stack(list(terms[3:]))

    target = replace(itself(one), build=partial(partial, asked), label="pair")
    np.testing.assert_array_equal(
        call(one, target, case, "float64").value, call(one, itself(one), case, "float64").value
    )


def class_0_weighs_double(*inputs: Tensor) -> Any:
    """Right for one class, wrong where class 0 is one of many."""
    scores = inputs[4].clone()
    scores[..., 0] *= 1 if scores.shape[-1] < 5 else 2
    return spec("bbox").reference(*inputs[:4], scores, *inputs[5:])


def test_a_case_with_a_single_number_is_shrunk() -> None:
    """target_scores_sum is 0-d, and the wrong class is seen at full size only."""
    one, row = spec("bbox"), named("bulk")
    wrong = stranger(one, class_0_weighs_double)
    case = cases_for(row, one, wrong, "quick", 0)[0]
    assert examine(row, one, wrong, case, "float64").problem
    smaller = shrink(one, wrong, row, case, "float64")
    assert examine(row, one, wrong, smaller, "float64").problem
    assert not examine(row, one, itself(one), smaller, "float64").problem


def many_keypoints(points: Tensor, target: Tensor, seen: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """The first sigma for all, where there are 17."""
    wide = sigmas[:1].expand(len(sigmas)) if len(sigmas) == 17 else sigmas
    found: Tensor = spec("keypoint").reference(points, target, seen, area, wide)
    return found


def test_a_shrunk_case_is_a_legal_one() -> None:
    one, row = spec("keypoint"), named("bulk")
    wrong = stranger(one, many_keypoints)
    smaller = shrink(one, wrong, row, cases_for(row, one, wrong, "quick", 0)[0], "float64")
    assert "raised" not in examine(row, one, wrong, smaller, "float64").problem


@pytest.mark.parametrize("name", ["rle_keypoints", "keypoint", "dfl", "crop_mask"])
@pytest.mark.parametrize("strict", [True, False], ids=["as the reference", "takes every size"])
def test_an_axis_that_has_one_size_is_not_cut(name: str, strict: bool) -> None:
    """Coordinates of a point are an axis, too: half of them are no case, and no error of the search either."""
    one, row = spec(name), named("value")
    answers = doubled if strict else five
    wrong = replace(itself(one), build=lambda **params: answers(one, params), label="wrong", trusted=False)
    case = next(
        case for case in cases_for(row, one, wrong, "quick", 0) if examine(row, one, wrong, case, "float64").problem
    )
    smaller = shrink(one, wrong, row, case, "float64")
    assert examine(row, one, wrong, smaller, "float64").problem
    assert not examine(row, one, itself(one), smaller, "float64").problem


def doubled(one: Spec, params: Any) -> Any:
    """Twice the right numbers, and one more."""

    def asked(*inputs: Tensor) -> Any:
        found = one.reference(*inputs, **params)
        return found * 2 + 1 if isinstance(found, Tensor) else type(found)(*(term * 2 + 1 for term in found))

    return asked


def five(one: Spec, params: Any) -> Any:
    """5, whatever is given."""
    return lambda *inputs: 5 + 0 * sum(x.sum() for x in inputs)


def test_logits_that_cancel_are_no_failure_at_full_size() -> None:
    """ce(z, k) = logsumexp(z) - z_k, literally, with logits of 10000."""

    def literal(logits: Tensor, target: Tensor) -> Tensor:
        t = target.clamp(0, 16 - 1 - 0.01)
        low = t.detach().floor()
        z, k = logits.reshape(*target.shape, -1), low.long()[..., None]
        left, right = (z.logsumexp(-1) - z.gather(-1, at)[..., 0] for at in (k, k + 1))
        return (left * (low + 1 - t) + right * (t - low)).mean(-1, keepdim=True)

    one, row = spec("dfl"), named("bulk")
    for dtype in row.dtypes:
        verdict, _ = check(row, one, stranger(one, literal), cases_for(row, one, itself(one), "quick", 0), dtype)
        assert verdict.status == "pass", verdict


def test_a_missing_gradient_is_no_reduction() -> None:
    def half(points: Tensor, target: Tensor, seen: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
        x, y = points[..., :1], points[..., 1:].detach()
        found: Tensor = spec("keypoint").reference(torch.cat([x, y], -1), target, seen, area, sigmas)
        return found

    said = sentences(spec("keypoint"), stranger(spec("keypoint"), half), "gradient")
    assert not any("times" in one or "mean" in one for one in said)


def test_an_error_of_a_thousandth_is_not_float32() -> None:
    def off(*inputs: Tensor) -> Any:
        terms = spec("v8_detection").reference(*inputs)
        return terms._replace(box=terms.box * (1 + 2.0**-13))

    said = sentences(spec("v8_detection"), stranger(spec("v8_detection"), off), "value")
    assert said == {"box is 1.0001221 times the right value"}


SOURCE = """
import lossref


@lossref.target("ciou")
def my_ciou(box1, box2):
    return lossref.bbox_iou(box1, box2, CIoU=True) * 0
"""


def test_a_snippet_finds_a_file_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.py"
    file.write_text(SOURCE)
    (target,) = resolve(str(file))
    case = Case(
        "ciou", {"box1": np.array([[1.0, 2, 4, 6]]), "box2": np.array([[2.0, 1, 5, 5]])}, spec("ciou").defaults()
    )
    done = subprocess.run(
        [sys.executable, "-c", snippet(spec("ciou"), target, case, named("value"), "float64")],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tensor([[0.]]" in done.stdout
