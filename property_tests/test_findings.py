"""Findings: rows of one cause are one, ids stay, what does most to training comes first, and the words say so."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from lossref.core.nouns import Failure, Finding, Verdict
from lossref.run.findings import findings, headline, owner, settings_of, where_of, words

RAISED = ("small_boxes='raised'",)


def row(
    spec: str, check: str, *failures: Failure, status: str = "fail", dtype: str = "float64", **more: str
) -> Verdict:
    first = failures[0] if failures else Failure("", more.pop("note", ""))
    known = {"note": first.problem, "explanation": first.explanation, "where": "/x/loss.py:12 Loss.forward", **more}
    return Verdict(spec, "pkg", check, dtype, status, 3, 2.0, failures=failures, **known)  # type: ignore[arg-type]


def failure(kind: str, problem: str = "box: got 2, want 1", relative: float = 1.0, **more: object) -> Failure:
    counts = {"cases": 4, "of": 83, "usual": 3, "of_usual": 60}
    return Failure(kind, problem, relative=relative, **{**counts, **more})  # type: ignore[arg-type]


def only(*rows: Verdict) -> Finding:
    (found,) = findings(rows)
    return found


DIALECT = [
    row(spec, check, failure("value box", settings=RAISED), status="dialect", dtype=dtype)
    for spec in ("v8_detection", "e2e", "task_aligned")
    for check in ("value", "bulk")
    for dtype in ("float64", "float32")
]


def test_a_setting_is_one_finding_over_specs_checks_and_dtypes() -> None:
    found = only(*DIALECT)
    assert (found.kind, len(found.rows)) == ("dialect", len(DIALECT))
    assert (
        "small_boxes is 'raised' where the specification has 'stride1': a side below stride[1] counts as stride[1]"
        in found.sentence
    )
    assert words.accounts(found) == "v8_detection, e2e, task_aligned: 12 rows"


def test_a_failure_of_two_settings_belongs_to_both() -> None:
    both = failure("value iou", settings=(*RAISED, "cov_floor=0.01"))
    found = findings([row("v8_obb", "value", both, status="dialect")])
    assert sorted(one.sentence.split()[0] for one in found) == ["cov_floor", "small_boxes"]


def test_a_second_fault_stands_beside_the_dialect() -> None:
    left = failure("gradient boxes", "d/dboxes[0]: got 2, want 1", under=RAISED)
    found = findings([row("v8_detection", "value", left, failure("value box", settings=RAISED))])
    assert {one.kind for one in found} == {"dialect", "wrong gradient"}
    assert headline("pkg", "1.2", found) == "pkg 1.2: a dialect of 1 setting, 1 finding (1 wrong gradient)"
    assert any("also when small_boxes='raised'" in one.sentence for one in found)


def test_an_explanation_is_one_finding_over_specs() -> None:
    rows = [
        row(spec, "value", failure("value loss", f"loss: got {n}, want 1", explanation="agrees with twice the value"))
        for n, spec in enumerate(("focal", "varifocal"), 2)
    ]
    assert only(*rows).sentence == "the value of loss agrees with twice the value"


def test_gradients_belong_to_the_one_wrong_term() -> None:
    rows = [row("ciou", "value", failure("value ciou")), row("ciou", "gradient", failure("gradient box1"))]
    rows += [row("ciou", "laws", failure("law transposed", "transposed: exchanging x and y changes the value"))]
    assert only(*rows).kind == "wrong number"
    assert {one.kind for one in findings([rows[1]])} == {"wrong gradient"}


def test_unexplained_numbers_of_two_specs_are_two_findings() -> None:
    assert (
        len(findings([row("ciou", "value", failure("value ciou")), row("giou", "value", failure("value giou"))])) == 2
    )


@pytest.mark.parametrize(
    ("check", "one", "other", "kind"),
    [
        ("state", "made.assigner.bs was None before the calls and is 2 after them",
         "made.one2many.assigner.bs was None before the calls and is 5 after them", "behaviour"),
        ("state", "made.assigner.bs was None before the calls and is 2 after them",
         "made.assigner.n_max_boxes was None before the calls and is 5 after them", "behaviour"),
        ("dtype", "float64 inputs give float32 for box, expected float64",
         "float64 inputs give float32 for dfl, expected float64", "behaviour"),
        ("refuses", "a NaN in boxes gives 0.5, expected an error or NaN",
         "a NaN in bboxes gives 1, expected an error or NaN", "behaviour"),
        ("value", "raised IndexError: index 3 is out of range", "raised IndexError: index 7 is out of range", "crash"),
    ],
)  # fmt: skip
def test_the_same_manners_are_one_finding(check: str, one: str, other: str, kind: str) -> None:
    found = only(row("focal", check, failure(one, one)), row("e2e", check, failure(other, other)))
    assert found.kind == kind


def test_attributes_of_one_object_are_one_finding() -> None:
    bs, most, drawn = (
        failure(f"state {name}", f"{name} was None before the calls and is 2 after them")
        for name in ("made.bs", "made.n_max_boxes", "the random state")
    )
    found = findings([row(spec, "state", bs, most) for spec in ("task_aligned", "rotated_task_aligned")])
    assert [one.sentence for one in found] == [
        "made.bs was None before the calls and is 2 after them; so is n_max_boxes"
    ]
    assert len(findings([row("focal", "state", bs, drawn)])) == 2
    assert len(findings([row("focal", "state", bs), row("iou", "state", most)])) == 2


PRECISELY = "to float32 precision: a part is computed in float32"


@pytest.mark.parametrize(
    ("claim", "kind", "sentence"),
    [
        (f"agrees, {PRECISELY}", "precision", "a part is computed in float32"),
        (f"box agrees, {PRECISELY}", "precision", "a part is computed in float32"),
        (f"agrees with the known mistake 'area ignored', {PRECISELY}", "wrong number", "'area ignored'"),
        (f"agrees when small_boxes is 'raised', {PRECISELY}", "dialect", "small_boxes is 'raised'"),
    ],
)
def test_a_mistake_that_agrees_to_the_precision_of_a_type_is_the_mistake(claim: str, kind: str, sentence: str) -> None:
    found = only(row("v8_detection", "value", failure("value box", "box: got 1, want 2", 0.5, explanation=claim)))
    assert found.kind == kind
    assert sentence in found.sentence


def test_a_claim_about_numbers_explains_no_exception() -> None:
    claim = "agrees to float32 precision only: a part of it is computed in float32"
    raised = failure("raises IndexError", "raised IndexError: index 3 is out of range", explanation=claim)
    number = failure("value loss", "loss: got 1, want 2", 0.5, explanation=claim)
    found = findings([row("focal", "value", raised, number)])
    assert [one.kind for one in found] == ["crash", "precision"]


@pytest.mark.parametrize("status", ["crashed", "timeout", "blocked"])
def test_an_end_is_a_crash(status: str) -> None:
    assert only(row("focal", "value", status=status, note="exit code -11")).kind == "crash"


@pytest.mark.parametrize("status", ["pass", "known", "unsupported", "inconclusive"])
def test_what_stands_against_nobody_is_no_finding(status: str) -> None:
    assert findings([row("focal", "value", status=status)]) == []


def test_ids_do_not_depend_on_numbers_order_or_other_rows() -> None:
    other = [replace(one, where="/y/loss.py:99 Loss", note="iou: got 7, want 8") for one in DIALECT[:3]]
    more = [row("ciou", "value", failure("value ciou", "ciou[3]: got 0.125, want -2e-7")), *other]
    again = [row("ciou", "value", failure("value ciou", "ciou[11]: got 5, want 4")), *DIALECT]
    random.Random(0).shuffle(again)
    assert {one.id for one in findings(more)} == {one.id for one in findings(again)}
    assert {one.id for one in findings(more)}.isdisjoint(
        one.id for one in findings([replace(one, target="another") for one in more])
    )


def test_what_does_most_to_training_comes_first() -> None:
    rows = [
        row("iou", "refuses", failure("NaN", "a NaN in box1 gives 0, expected an error or NaN", math.inf)),
        row("giou", "value", failure("value giou", relative=1e-7)),
        row("diou", "value", failure("value diou", relative=0.8, usual=0, cases=2)),
        row("ciou", "value", failure("value ciou", relative=0.8)),
    ]
    assert [one.rows[0].spec for one in findings(rows)] == ["ciou", "diou", "giou", "iou"]


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            failure("value ciou", relative=1e-7, usual=0, cases=2),
            "1e-7 of the value of ciou (ciou), only on 2 of 23 corners",
        ),
        (
            failure("gradient box1", relative=0.8, usual=60),
            "80 % of the gradient of ciou (box1), on all 60 drawn cases",
        ),
        (failure("value ciou", relative=11.0), "11 times the value of ciou (ciou), on 3 of 60 drawn cases"),
    ],
)
def test_size_in_words(one: Failure, says: str) -> None:
    assert only(row("ciou", "value", one)).size == says


def test_headline_of_nothing_and_of_much() -> None:
    assert headline("pkg", "", []) == "pkg conforms"
    assert headline("pkg", "1", [], "incomplete") == "pkg 1 incomplete"
    crash = [row("focal", "value", status="crashed", note=note) for note in ("exit code", "killed")]
    assert headline("pkg", "", findings(crash)) == "pkg: 2 findings (2 crashes)"


def test_the_smallest_case_and_whose_it_is() -> None:
    large = row("ciou", "bulk", failure("value ciou", case="cases/large.json"))
    small = row("ciou", "value", failure("value ciou", case="cases/small.json"))
    found = only(large, small)
    assert found.smallest is not None
    assert found.smallest.case == "cases/small.json"
    assert owner(found) is small


def test_where() -> None:
    assert where_of("/a b/c:d.py:12 Loss.forward") == ("/a b/c:d.py", 12, "Loss.forward")
    assert where_of("") == ("", 0, "")


def test_a_term_and_its_part_of_the_gradient_are_one_finding() -> None:
    claims = ["box is 2 times the right value", "the gradient to boxes: the part of box is 2 times the right value"]
    kinds = ["value box", "gradient boxes"]
    (found,) = findings(
        [
            row("v8_detection", "value", failure(kind, "box: got 2, want 1", explanation=claim))
            for kind, claim in zip(kinds, claims, strict=True)
        ]
    )
    assert found.sentence == claims[0]


def test_only_settings_of_a_spec_are_settings() -> None:
    assert settings_of("agrees when metric_overlap is 'ciou and oks' and eps is 1e-09") == [
        "metric_overlap='ciou and oks'",
        "eps=1e-09",
    ]
    assert not settings_of("agrees when scores is taken in degrees")
    assert not settings_of("agrees when eps is 1e-09, at xywh = True only")
