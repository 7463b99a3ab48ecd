"""Settings that a target follows are found one behind the other, adopted, and do not hide what else is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from lossref.checks import table
from lossref.checks.attempts import Attempts
from lossref.checks.evidence import Evidence
from lossref.checks.material import material
from lossref.checks.table import Known, check, named
from lossref.core.nouns import Case, Failure, Target, Verdict
from lossref.losses import spec as find
from lossref.run.ask import asked
from lossref.run.causes import causes
from lossref.run.causes.dialect_files import BadDialect, read, shipped, written
from lossref.run.causes.explain.variants.mistakes import EPSILONS as ITS_EPSILONS
from lossref.run.causes.judged import Judged, Tracing
from lossref.run.causes.settings import adoption
from lossref.run.causes.settings.found import EPSILONS
from lossref.run.findings import accepted, findings
from lossref.run.plan import Job, plan, rows_of
from lossref.run.saved.finished import Outcome
from lossref.run.session import Session

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("ciou", {"alpha": "gated"}),
    ("ciou", {"alpha": "attached", "eps": 1e-9}),
    ("varifocal", {"weight_gradient": "detached"}),
    ("task_aligned", {"small_boxes": "raised"}),
    ("task_aligned", {"small_boxes": "raised", "edge": "closed", "zero_metric": "dropped"}),
]
CHECKS = "value,gradient"
FEW = 50  # masks


def following(name: str, change: dict[str, Any], after: Callable[..., Any] | None = None) -> Target:
    """Somebody's implementation that knows no parameters but notation, and follows other settings."""
    spec = find(name)
    kept = tuple(one for one, param in spec.params.items() if param.convention or one not in change)

    def build(**params: Any) -> Callable[..., Any]:
        def loss(*inputs: Tensor) -> Any:
            found = spec.reference(*inputs, **{**spec.defaults(), **params, **change})
            return after(found, *inputs) if after else found

        return loss

    return Target(name, build, "theirs", kept)


def judged(target: Target, check: str = CHECKS, **more: Any) -> list[Verdict]:
    rows = rows_of(find(target.spec), check, ("float64",))
    return asked(Job("theirs", target.spec, target.label, rows, "quick", 0, "", **more), target)[0]


def settings(verdicts: list[Verdict]) -> set[str]:
    return {setting for one in verdicts for failure in one.failures for setting in failure.settings}


@pytest.mark.parametrize(("name", "change"), SETTINGS, ids=[f"{name} {'+'.join(change)}" for name, change in SETTINGS])
def test_settings_are_found_and_adopted(name: str, change: dict[str, Any]) -> None:
    found = judged(following(name, change))
    assert {one.status for one in found} <= {"dialect", "pass"}
    assert settings(found) == {f"{key}={value!r}" for key, value in change.items()}


Row = tuple[str, dict[str, Any], set[str], str]
TAKEN_AWAY: dict[str, Row] = {
    "a term that a known mistake leaves out": ("hungarian", {"giou_gain": 0.0}, set(), "known mistake 'no GIoU'"),
    "a term that no known mistake leaves out": ("detr", {"matcher_giou_gain": 0.0}, {"matcher_giou_gain=0.0"}, ""),
    "half a term, as much as twice another one": ("hungarian", {"bbox_gain": 2.5}, {"bbox_gain=2.5"}, ""),
    "a count of one": ("task_aligned", {"topk": 1}, {"topk=1"}, ""),
}


@pytest.mark.parametrize("name", TAKEN_AWAY)
def test_no_other_number_is_told_where_a_term_is_taken_away(name: str) -> None:
    """On the few cases that a decision gets wrong many a number does as much: an eps of 1, another weight."""
    spec, change, found, words = TAKEN_AWAY[name]
    rows = judged(replace(following(spec, change), accepts=()), "value")
    assert settings(rows) == found
    assert all(words in one.explanation for one in rows)


def test_a_setting_that_only_a_law_tells_is_found() -> None:
    """A NaN is no input that the oracle takes, but the law asks it."""
    (found,) = judged(replace(following("hungarian", {"bad_cost": "zero"}), accepts=()), "laws")
    assert "bad_cost is 'zero'" in found.explanation


def test_another_way_of_large_input_is_named() -> None:
    """As releases up to 8.4.20 crop: few masks by rounded edges, many by exact ones."""
    crop = find("crop_mask").reference

    def by_size(masks: Tensor, boxes: Tensor) -> Tensor:
        found: Tensor = crop(masks, boxes, crop="rounded" if len(masks) < FEW else "exact")
        return found

    target = Target("crop_mask", lambda **params: by_size, "theirs")
    rows = judged(target, "value,varied")
    assert settings(rows) == {"crop='rounded'"}
    assert any("crop is 'exact', on such large cases alone" in one.explanation for one in rows)


def test_no_eps_is_so_large_that_it_takes_a_term_away() -> None:
    assert max(*EPSILONS, *ITS_EPSILONS) <= 1e-3


def test_what_conforms_has_no_dialect() -> None:
    assert {one.status for one in judged(following("ciou", {}))} == {"pass"}


def test_a_second_fault_is_told_beside_the_setting() -> None:
    found = judged(following("ciou", {"alpha": "gated"}, after=lambda value, *inputs: 2 * value), "value")
    (verdict,) = found
    assert verdict.status == "fail"
    assert "2 times" in verdict.explanation


def test_a_factor_that_hides_the_setting_is_told_with_it() -> None:
    """Where one term is wrong by both, neither alone has any of its numbers."""

    def tripled(found: Any, *inputs: Tensor) -> Any:
        return found._replace(iou=3 * found.iou)

    target = replace(following("rotated_bbox", {"cov_floor": 0.01}, after=tripled), accepts=("reg_max",))
    (found,) = judged(target, "value")
    assert "iou is 3 times that where cov_floor is 0.01" in found.explanation


def test_zeros_follow_no_setting() -> None:
    """Some setting makes some numbers right by chance; it is not claimed."""
    found = judged(following("ciou", {}, after=lambda value, *inputs: 0 * value), "value")
    assert not settings(found)


def test_held_to_its_dialect_it_passes() -> None:
    found = judged(following("ciou", {"alpha": "gated"}), dialect=(("alpha", "gated"),))
    assert {one.status for one in found} == {"pass"}


def test_one_that_left_its_dialect_is_told_so() -> None:
    found = judged(following("ciou", {"alpha": "detached"}), dialect=(("alpha", "gated"),))
    assert "dialect" in {one.status for one in found}
    assert settings(found) == {"alpha='detached'"}


@pytest.mark.parametrize("where", ["adopted", "verdict_of_row"])
def test_a_failure_stays_one_when_the_search_for_its_cause_breaks(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise TypeError("no such row")

    monkeypatch.setattr(causes, where, broken)
    (verdict,) = judged(following("iou", {}, after=lambda value, *inputs: 2 * value), "value")
    assert verdict.status == "fail"
    assert "got" in verdict.note


def test_what_was_found_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    path.write_text(written(judged(following("ciou", {"alpha": "attached", "eps": 1e-9})), "theirs"))
    assert read(str(path)).of(find("ciou")) == {"alpha": "attached", "eps": 1e-9}
    assert read(str(path)).of(find("iou")) == {}


SETTING = '[[setting]]\nspec = "ciou"\nname = "alpha"\nvalue = "gated"\nreason = "theirs"\n'
BAD = [
    ("", "is no dialect", "= 1"),
    ("too deep", "is nested too deeply", "a = " + "[" * 5000),
    ("unknown table", "'sets' is not one of", "[[sets]]\n"),
    ("no table", "written as [[setting]]", "setting = 1\n"),
    ("a field lacks", "has no 'reason'", SETTING.replace('reason = "theirs"\n', "")),
    ("a field too many", "'why' is not one of", SETTING + 'why = "so"\n'),
    ("no such spec", "there is no spec 'cious'", SETTING.replace("ciou", "cious")),
    ("no such parameter", "no parameter 'alphas'", SETTING.replace('"alpha"', '"alphas"')),
    ("no such value", "alpha is 'shut', expected one of", SETTING.replace("gated", "shut")),
    ("no text", "reason is no text", SETTING.replace('"theirs"', "1")),
    ("over", "alpha holds until 8.4.1", SETTING + 'until = "8.4.1"\n'),
]


@pytest.mark.parametrize(("words", "text"), [row[1:] for row in BAD], ids=[row[0] or "no TOML" for row in BAD])
def test_a_bad_dialect_is_one_sentence(words: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadDialect) as found:
        read(str(path), "8.4.20")
    assert words in str(found.value)
    assert "bad.toml" in str(found.value)
    assert "\n" not in str(found.value)


def test_a_dialect_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BadDialect) as found:
        read("nowhere")
    assert all(name in str(found.value) for name in shipped())


@pytest.mark.parametrize("name", shipped())
def test_shipped_dialects_can_be_read(name: str) -> None:
    assert read(name).settings


# Findings that a dialect knows ----------------------------------------------------------------------------

DOUBLED = replace(
    Verdict("iou", "theirs", "value", "float64", "fail", note="iou: got 2, want 1"),
    failures=(Failure("value iou", "iou: got 2, want 1", "iou is 2 times the right value"),),
)
ID = findings([DOUBLED])[0].id


@pytest.mark.parametrize(
    ("row", "known", "status"),
    [
        (DOUBLED, (), 1),
        (DOUBLED, ((ID, "as published", True),), 0),
        (replace(DOUBLED, status="pass", failures=()), ((ID, "as published", True),), 1),
        (replace(DOUBLED, status="pass", failures=()), ((ID, "as published", False),), 0),
    ],
    ids=["not known", "known", "no longer there", "not looked for"],
)
def test_a_known_finding_is_accepted_and_a_stale_one_fails(
    row: Verdict, known: tuple[tuple[str, str, bool], ...], status: int, tmp_path: Path
) -> None:
    (job,) = plan(["reference"], "iou", "value", ("float64",))
    with Session(tmp_path / "run", ["reference"], [job], "quick", 0, known=known) as kept:
        kept.keep(job, Outcome([row], {}))
    assert kept.exit_status() == status
    assert bool(findings(kept.verdicts)) == bool(status)


def test_of_a_row_with_a_known_finding_the_other_one_is_left() -> None:
    other = Failure("gradient box1", "d/dbox1: got 1, want 2", "nothing known explains it")
    (row,), found = accepted([replace(DOUBLED, failures=(*DOUBLED.failures, other))], {ID: "as published"})
    assert (row.status, row.failures, found) == ("fail", (other,), {ID})


def test_findings_are_expected_of_the_specs_that_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    path.write_text('[[known]]\nfinding = "a"\nreason = "b"\n[[known]]\nfinding = "c"\nreason = "d"\nspec = "*iou"\n')
    dialect = read(str(path))
    assert [one.finding for one in dialect.expected(["ciou"], every_spec=False)] == ["c"]
    assert [one.finding for one in dialect.expected(["dfl"], every_spec=True)] == ["a", "c"]


# A target that computes in one dtype alone ----------------------------------------------------------------


def test_what_is_judged_in_another_dtype_is_traced_in_that_one() -> None:
    def only_float32(found: Tensor, *inputs: Tensor) -> Tensor:
        if inputs[0].dtype == torch.float64:
            raise RuntimeError("no float64")
        return 2 * found

    (found,) = judged(following("iou", {}, after=only_float32), "shape")
    failure = found.failures[0]
    assert (found.status, found.dtype, failure.kind) == ("fail", "float64", "value iou")
    assert "not on every call" not in failure.problem
    assert failure.explanation == "agrees when the result is doubled"


def test_cases_that_settings_leave_alone_are_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row comes out as if they were; those that failed, or that the settings move, are asked and judged anew."""
    spec, one = find("v8_detection"), named("value")
    target = following("v8_detection", {"small_boxes": "raised"})
    cases = [case for kind in ("single", "small", "corner") for case in material(spec, kind, "quick", 0)[:8]]
    known = Known()
    verdict, failing = check(one, spec, target, cases, "float64", known)
    tracing = Tracing(cast(Job, SimpleNamespace(tier="quick")), spec, target, Attempts(spec))
    tracing.settings = {"small_boxes": "raised"}
    examined, examine = list[Case](), table.examine
    monkeypatch.setattr(table, "examine", lambda *args: (examined.append(args[3]), examine(*args))[1])
    under = [adoption._under(tracing, Judged(one, verdict, cases, failing, "", kept)) for kept in (known, {})]
    again = len(examined) - len(cases)
    assert 0 < again < len(cases)
    first, other = (replace(row.verdict, seconds=0.0) for row in under)
    assert first == other
    assert [row.failing for row in under] == [(), ()]
    failed = {case for kind in failing for case in kind.cases}
    assert failed
    assert {adoption.at(case, tracing.change) for case in failed} <= {*examined[:again]}


def test_a_row_that_knows_of_a_case_is_believed_only_where_the_case_is_the_same() -> None:
    spec, one, target = find("v8_detection"), named("value"), following("v8_detection", {})
    case = material(spec, "corner", "quick", 0)[0]
    known = Known({case: Evidence(7, 0.5)})
    assert check(one, spec, target, [case], "float64", known)[0].examined == 7
    assert check(one, spec, target, [replace(case)], "float64", known)[0].examined != 7
