"""The record is changed on purpose only: computed beside it, seen case by case, and written all or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lossref.cli import app
from lossref.core.nouns import Answer, Spec
from lossref.hosts.probe import itself
from lossref.losses import spec as find
from lossref.oracle import answers, cache
from lossref.oracle.answers import true_gradient, true_value
from lossref.run.golden import feeding, recording
from lossref.run.golden.changes import deciding, pending, proposing
from lossref.run.golden.changes.code import code_of_answers
from lossref.run.golden.changes.history import decisions, release_note
from lossref.run.golden.changes.journal import JOURNAL, LIST, Unsettled, settled
from lossref.run.golden.changes.moves import moves, steps
from lossref.run.golden.changes.pending import Pending
from lossref.run.golden.corpus import full_size
from lossref.run.golden.files.folder import manifest_in, volume_in
from lossref.run.golden.files.packing import narrow
from lossref.run.golden.files.volume import Stored, Volume
from lossref.run.golden.judging import evidence
from lossref.run.golden.recorded import case_of

ROOT = Path(__file__).parents[1]
NAME, WHY = "diou", "eps stands in another place now"
FIRST, SECOND, THIRD = "nested, xyxy", "crossing, xyxy", "crossing, xywh"


def volume(spec: Spec, ids: tuple[str, ...] = (FIRST, SECOND, THIRD)) -> Volume:
    """The record of three corners."""
    corners = {case.id: replace(case, params={**spec.defaults(), **case.params}) for case in spec.corners}
    return Volume(spec.name, tuple(recording.certified(spec, corners[case]) for case in ids))


def moved(stored: Stored, by: float) -> Stored:
    """The same case with another value, as other code would have recorded it."""
    value = narrow(stored.tensors[f"value/{NAME}"].astype(np.float64) * (1 + by))
    changed = {**stored.tensors, f"value/{NAME}": value}
    return replace(stored, tensors=changed)


def sealed(found: Volume) -> Volume:
    """The volume with the digests of its tensors, as it is read from its files."""
    from lossref.run.golden.files.packing import digests

    cases = (replace(one, entry=replace(one.entry, digests=digests(one.tensors))) for one in found.cases)
    return Volume(found.spec, tuple(cases))


@pytest.fixture(scope="module")
def now() -> Volume:
    """What is recorded by the code as it is."""
    return volume(find(NAME))


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def accept(folder: Path, left: Pending, these: object = None, why: str = WHY, even: bool = False) -> Pending:
    chosen = left.open if these is None else these
    return deciding.accepted(folder, left, chosen, why, [find(NAME)], even)  # type: ignore[arg-type]


def recorded(folder: Path, found: Volume, why: str = "the first record") -> None:
    accept(folder, proposing.proposed(folder, [find(NAME)], lambda spec, known: found), None, why, even=True)


@pytest.fixture
def folder(tmp_path: Path, now: Volume) -> Path:
    """A record of other code: the first two cases had other values, and the third was not there."""
    old = Volume(NAME, (moved(now.cases[0], 1e-6), moved(now.cases[1], 1e-12)))
    recorded(tmp_path, sealed(old))
    return tmp_path


def proposal(folder: Path, now: Volume) -> Pending:
    return proposing.proposed(folder, [find(NAME)], lambda spec, known: now)


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a record but what is pending."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def ids(folder: Path) -> list[str]:
    return [one.entry.id for one in volume_in(folder, NAME).cases]


def value(folder: Path, case: str) -> float:
    found = {one.entry.id: one for one in volume_in(folder, NAME).cases}[case]
    return float(found.tensors[f"value/{NAME}"].flat[0])


# Recording and deciding -----------------------------------------------------------------------------------


def test_recording_touches_nothing_and_says_what_would_change(folder: Path, now: Volume) -> None:
    before = files(folder)
    found = proposal(folder, now)
    assert files(folder) == before
    assert [(one.id, one.kind) for one in found.changes] == [(FIRST, "answer"), (SECOND, "answer"), (THIRD, "new")]
    first = found.changes[0]
    assert [move.name for move in first.moves] == [f"value/{NAME}"]
    assert first.moves[0].relative == pytest.approx(1e-6, rel=1e-3)
    assert first.new is not None
    assert (first.new.ulp, first.new.relative) == (0, 0)
    assert first.old is not None
    assert first.old.ulp == first.moves[0].ulp > 1e9
    assert [one.dtype for one in first.reference] == ["float64", "float32"]
    assert first.reference[0].old is not None
    assert first.reference[0].old > 1
    assert not first.disagrees


def test_what_is_the_same_is_no_change(folder: Path, now: Volume) -> None:
    recorded(folder, now)
    assert proposal(folder, now).changes == ()
    assert not pending.exists(folder)


def test_one_is_accepted_one_rejected_and_the_rest_accepted(folder: Path, now: Volume) -> None:
    old = {case: value(folder, case) for case in (FIRST, SECOND)}
    left = proposal(folder, now)
    left = accept(folder, left, [left.changes[0]])
    assert ids(folder) == [FIRST, SECOND]
    assert value(folder, FIRST) != old[FIRST]
    assert value(folder, SECOND) == old[SECOND]
    left = deciding.rejected(folder, left, [left.changes[1]], "that is a mistake")
    left = accept(folder, pending.read(folder))
    assert ids(folder) == [FIRST, SECOND, THIRD]
    assert value(folder, SECOND) == old[SECOND]
    assert not left.open
    assert not pending.exists(folder)
    assert manifest_in(folder).file(f"{NAME}.json").code == ""  # type: ignore[union-attr]
    found = list(decisions((folder / "HISTORY.md").read_text()))
    assert [(one.decided, one.spec, one.cases, one.why) for one in found[1:]] == [
        ("accepted", NAME, 1, WHY),
        ("rejected", NAME, 1, "that is a mistake"),
        ("accepted", NAME, 1, WHY),
    ]
    assert "that is a mistake" not in release_note(found)
    assert release_note(found).count(WHY) == 2
    assert release_note(found, since="99.0") == ""


def test_all_accepted_is_what_a_fresh_recording_gives(
    folder: Path, now: Volume, tmp_path_factory: pytest.TempPathFactory
) -> None:
    left = proposal(folder, now)
    for one in (2, 0, 1):
        left = accept(folder, left, [left.changes[one]])
    fresh = tmp_path_factory.mktemp("fresh")
    recorded(fresh, now)
    mine, theirs = files(folder), files(fresh)
    assert [name for name in theirs if mine[name] != theirs[name]] == ["HISTORY.md"]
    assert manifest_in(folder).file(f"{NAME}.json").code == code_of_answers(find(NAME))  # type: ignore[union-attr]


def test_a_case_that_goes_stays_in_its_place_until_that_is_accepted(folder: Path, now: Volume) -> None:
    recorded(folder, now)
    left = proposal(folder, Volume(NAME, (now.cases[2], now.cases[0])))
    assert [(one.id, one.kind) for one in left.changes] == [(SECOND, "gone")]
    left = deciding.rejected(folder, left, left.open, "it is needed")
    assert ids(folder) == [FIRST, SECOND, THIRD]
    accept(folder, proposal(folder, Volume(NAME, (now.cases[2], now.cases[0]))))
    assert ids(folder) == [THIRD, FIRST]


def test_a_case_at_full_size_is_drawn_as_its_record_says() -> None:
    """A tuple comes back from JSON as a list: then every such case had changed, and none was known."""
    _, drawn = next(full_size.cases_of(find("v8_obb")))
    assert json.loads(json.dumps(drawn)) == drawn


def test_a_gradient_that_the_record_lacks_is_a_sentence(now: Volume) -> None:
    """It was made before there was one: the change is to be seen, not an error of Python."""
    kept = {name: x for name, x in now.cases[0].tensors.items() if not name.endswith("gradient/box2")}
    old = replace(now.cases[0], tensors=kept)
    found = evidence(find(NAME), itself(find(NAME)), old, case_of(NAME, old), "float64")
    assert found.problem == "gradient/box2: the record does not have it"


def test_another_order_is_a_change(folder: Path, now: Volume) -> None:
    recorded(folder, now)
    left = proposal(folder, Volume(NAME, now.cases[::-1]))
    assert [one.kind for one in left.changes] == ["order"]
    accept(folder, left)
    assert ids(folder) == [THIRD, SECOND, FIRST]


def test_a_spec_that_there_is_no_more_goes_with_its_files(folder: Path) -> None:
    assert proposing.missing(folder, {"ciou"}) == (NAME,)
    left = proposing.proposed(folder, [], lambda spec, known: pytest.fail("nothing is to be computed"), [NAME])
    assert {one.kind for one in left.changes} == {"gone"}
    deciding.accepted(folder, left, left.open, "it is a part of giou now", [])
    assert set(files(folder)) == {"MANIFEST.json", "HISTORY.md", "errors.csv", "schema.json"}
    assert manifest_in(folder).specs == ()
    assert NAME not in (folder / "errors.csv").read_text()


def _other_base(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "MANIFEST.json"
    path.write_bytes(path.read_bytes() + b" ")


def _other_code(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "code_of_recording", lambda specs: "other code")


def _in_ci(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")


def _torn(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / ".pending/pending.json"
    path.write_bytes(path.read_bytes()[:-40])


def _by_hand(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / ".pending/pending.json"
    path.write_bytes(path.read_bytes().replace(b'"decided": ""', b'"decided": "accepted"', 1))


def _other_file(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / f".pending/{NAME}.json"
    path.write_bytes(path.read_bytes().replace(b"nested", b"netted", 1))


def _disagree(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [replace(one, reference=(replace(one.reference[0], new=2.0),)) for one in found.changes]
    monkeypatch.setattr(pending, "read", lambda folder: replace(found, changes=tuple(changes)))


def _as_it_is(folder: Path, found: Pending, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


ALL = ("--all", "--why", WHY)
REFUSALS: dict[str, tuple[Callable[[Path, Pending, pytest.MonkeyPatch], None], tuple[str, ...], str]] = {
    "another base": (_other_base, ALL, "has changed since this was recorded; record again"),
    "other code": (_other_code, ALL, "the code has changed since this was recorded"),
    "CI": (_in_ci, ALL, "a job of CI records and accepts nothing"),
    "a torn list": (_torn, ALL, "record again with `lossref golden record`"),
    "a list changed by hand": (_by_hand, ALL, "it is not as lossref wrote it; record again"),
    "a pending file changed by hand": (_other_file, ALL, "record again with `lossref golden record`"),
    "oracle against reference": (_disagree, ALL, "disagree about the new answer of diou/nested, xyxy, diou/crossing"),
    "no reason": (_as_it_is, ("--all",), "a reason is one line of text"),
    "a reason of two lines": (_as_it_is, ("--all", "--why", "a\n## b"), "a reason is one line of text"),
    "nothing named": (_as_it_is, ("--why", WHY), "say what: --case ID, --spec SPEC or --all"),
    "no such case": (_as_it_is, ("--case", "nested", "--why", WHY), "'nested' is no case that would change"),
    "no such spec": (
        _as_it_is,
        ("--spec", "ciou", "--why", WHY),
        "no change of 'ciou' is open; open are changes of diou",
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_is_refused_changes_nothing(kind: str, folder: Path, now: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    happens, words, said = REFUSALS[kind]
    happens(folder, proposal(folder, now), monkeypatch)
    before = files(folder)
    result = CliRunner().invoke(app, ["golden", "accept", *words, "--folder", str(folder)])
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert files(folder) == before


def test_what_disagrees_is_accepted_when_that_is_said(
    folder: Path, now: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    _disagree(folder, proposal(folder, now), monkeypatch)
    words = ["golden", "accept", *ALL, "--even-if-they-disagree", "--folder", str(folder)]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.output) == (0, "accepted 3; all is decided\n")


def test_ci_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = CliRunner().invoke(app, ["golden", "record", NAME, "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


# Seeing ---------------------------------------------------------------------------------------------------


def test_a_review_shows_each_case(folder: Path, now: Volume) -> None:
    proposal(folder, now)
    page = folder.parent / "review.html"
    for words in ([], ["--json"], ["--page", str(page)]):
        result = CliRunner().invoke(app, ["golden", "review", *words, "--folder", str(folder)])
        assert result.exit_code == 0, result.output
        if not words:
            shown = result.output
        elif words == ["--json"]:
            data = json.loads(result.output)
    assert all(f"{number} of 3  diou/{case}" in shown for number, case in enumerate((FIRST, SECOND, THIRD), 1))
    assert "⠤" in shown, "no picture"
    assert "1e-06 relative" in shown
    assert "the new one: the old answer is" in shown
    assert [one["disagrees"] for one in data["changes"]] == [False] * 3
    assert data["changes"][0]["nearer"].startswith("the new one")
    assert page.read_text().count("<svg") == 3
    assert page.read_text().count('class="case"') == 3


def test_a_terminal_asks_case_by_case(folder: Path, now: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossref.cli import review

    monkeypatch.setattr(review, "_is_terminal", lambda: True)
    proposal(folder, now)
    typed = "a\nfirst reason\ns\nR\n\n"  # accept with a reason, skip, reject the rest for the same reason
    result = CliRunner().invoke(app, ["golden", "review", "--folder", str(folder)], input=typed)
    assert result.exit_code == 0, result.output
    assert result.output.endswith("all is decided\n")
    found = list(decisions((folder / "HISTORY.md").read_text()))[1:]
    assert [(one.decided, one.cases, one.why) for one in found] == [
        ("accepted", 1, "first reason"),
        ("rejected", 2, "first reason"),
    ]


MOVES = [
    ("the same", [1.0, 2.0], [1.0, 2.0], None),
    ("one unit in the last place", [1.0, 2.0], [1.0, 2.0 + 2.0**-51], (1, 1, (1,))),
    ("the sign of zero", [0.0], [-0.0], (0, 0, (0,))),
    ("through zero", [5e-324], [-5e-324], (2, 1, (0,))),
    ("the largest relative one", [1e6, 1.0], [1e6 + 1, 2.0], (2**52, 2, (1,))),
]


@pytest.mark.parametrize(("name", "old", "new", "want"), MOVES, ids=[row[0] for row in MOVES])
def test_how_far_it_moved(
    name: str, old: list[float], new: list[float], want: tuple[int, int, tuple[int]] | None
) -> None:
    found = moves({"value/x": np.array(old)}, {"value/x": np.array(new)})
    assert [(one.ulp, one.moved, one.at) for one in found] == ([want] if want else [])
    assert steps(-1.0, 1.0) == 2 * steps(0.0, 1.0)


# On disk --------------------------------------------------------------------------------------------------


def test_a_killed_change_leaves_the_old_record_or_the_new_one(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "regression"))
    try:
        from killed_goldens import trials  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(ROOT / "regression"))
    found = list(trials(5, 0, tmp_path))
    assert [problem for _, problem, _ in found if problem] == []
    assert len({which for _, _, which in found}) > 1, "every kill was too early or too late"


BROKEN = {
    "another's list": b"[1, 2]",
    "a way out": json.dumps({"../a.json": ["0", "0" * 64]}).encode(),
    "a lost file": json.dumps({"a.json": ["0", "0" * 64]}).encode(),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_journal_that_cannot_be_carried_out_touches_nothing(kind: str, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).mkdir()
    (tmp_path / JOURNAL / LIST).write_bytes(BROKEN[kind])
    (tmp_path / "a.json").write_bytes(b"old")
    with pytest.raises(Unsettled, match=r"restore .* from git"):
        settled(tmp_path)
    assert (tmp_path / "a.json").read_bytes() == b"old"


# Used -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fed_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Spec, Stored]:
    """A record of one case of a composite, where lossref's own is looked for, and an empty cache."""
    spec = find("task_aligned")
    corner = replace(spec.corners[0], params={**spec.defaults(), **spec.corners[0].params})
    stored = recording.certified(spec, corner)
    found = Volume(spec.name, (stored,))
    left = proposing.proposed(tmp_path / "golden", [spec], lambda spec, known: found)
    deciding.accepted(tmp_path / "golden", left, left.open, WHY, [spec])
    monkeypatch.setattr(feeding, "places", lambda: (Path("nowhere"), tmp_path / "golden"))
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_code", lambda rooms: "this code")
    feeding.fed.cache_clear()
    return spec, stored


def test_a_recorded_answer_is_not_computed_again(
    fed_from: tuple[Spec, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, stored = fed_from
    case = case_of(spec.name, stored)
    with cache.bypassed():
        want = answers.outcome_of.__wrapped__(spec, case)
    assert feeding.fed(spec) == 1

    def never(*_: object) -> Answer:
        raise AssertionError("computed, although it is recorded")

    feeding.fed.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(feeding, "volume_in", never)
        assert feeding.fed(spec) == 0, "read again by the next process"
    monkeypatch.setattr(answers, "climbed", never)
    answers.outcome_of.cache_clear()
    true_gradient.cache_clear()
    assert isinstance(want, Answer)
    assert list(answers.answer(spec, case).value) == list(want.value) == list(spec.terms) != sorted(spec.terms)
    assert np.array_equal(true_value(spec, case), answers.floats(answers.in_a_row(want.value)))
    for name, balls in want.gradient.items():
        assert np.array_equal(true_gradient(spec, case)[name], answers.floats(balls))
    assert answers.answer(spec, case).ties == want.ties
    answers.outcome_of.cache_clear()


def test_a_record_of_other_code_feeds_nothing(fed_from: tuple[Spec, Stored], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "code_of_answers", lambda spec: "other code")
    assert feeding.fed(fed_from[0]) == 0


@pytest.mark.parametrize("form", ["npz", "json"])
def test_other_languages_get_plain_numbers(form: str, folder: Path, now: Volume) -> None:
    recorded(folder, now)
    words = ["golden", "export", NAME, "--format", form, "--out", str(folder / "out"), "--folder", str(folder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    path, want = folder / "out" / f"{NAME}.{form}", true_value(find(NAME), case_of(NAME, now.cases[0]))
    if form == "json":
        case = json.loads(path.read_text())["cases"][0]
        got, room, weight = (case[k] for k in ("value", "budget", "upstream"))
        assert got[NAME] == {"shape": [1, 1], "values": [float(want.flat[0])]}
        assert room["float32"]["value"][NAME]["values"][0] > room["float64"]["value"][NAME]["values"][0] > 0
        assert weight["values"] == [1.75]
    else:
        with np.load(path, allow_pickle=False) as found:
            assert np.array_equal(found[f"{FIRST}/value/{NAME}"], want)
            assert json.loads(str(found["about"]))["cases"][0]["id"] == FIRST


PROJECT = {
    "conftest.py": """
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "flint":
                    raise ImportError("there is no python-flint here")
        sys.meta_path.insert(0, Absent())
    """,
    "mine.py": """
        import lossref
        @lossref.target("diou")
        def my_diou(box1, box2, eps=1e-7):
            return lossref.bbox_iou(box1, box2, xywh=False, DIoU=True, eps=eps)
    """,
    "test_mine.py": """
        import lossref
        @lossref.conforms("diou", xywh=True)
        def without_eps(box1, box2, eps=1e-7):
            return lossref.bbox_iou(box1, box2, xywh=True, DIoU=True, eps=2 * eps)
    """,
}


def test_pytest_asks_recorded_cases_alone_without_flint(folder: Path, now: Volume, tmp_path: Path) -> None:
    recorded(folder, now)
    project = tmp_path / "project"
    project.mkdir()
    for name, text in PROJECT.items():
        (project / name).write_text("\n".join(line.removeprefix("        ") for line in text.splitlines()))
    (project / "golden").mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (project / "golden" / path.name).write_bytes(path.read_bytes())
    words = ["--lossref-golden", "--lossref-target", "mine.py", "-p", "no:cacheprovider", "-rA", "-q"]
    words = ["-p", "lossref.pytest_plugin", *words] if _not_installed() else words
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=project, env=env, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED"))]
    assert [line.split(" - ")[0] for line in lines if "FAILED" in line] == [
        "FAILED test_mine.py::without_eps::diou::crossing, xywh[float64]"
    ], done.stdout
    assert {line.split(" ", 1)[1] for line in lines if "PASSED" in line} == {
        *(f"diou::{case}[{dtype}]" for case in (FIRST, SECOND) for dtype in ("float64", "float32")),
        "test_mine.py::without_eps::diou::crossing, xywh[float32]",
    }


def _not_installed() -> bool:
    from importlib.metadata import entry_points

    return not any(one.value == "lossref.pytest_plugin" for one in entry_points(group="pytest11"))
