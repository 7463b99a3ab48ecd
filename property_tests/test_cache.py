"""What the oracle has computed comes back bit for bit, or is computed again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lossref.checks import settings
from lossref.checks.attempts import arithmetic
from lossref.checks.material import material, with_defaults
from lossref.cli import app
from lossref.core.nouns import Answer, Array, Case, Spec
from lossref.losses import own
from lossref.losses import spec as find
from lossref.oracle import answers, budgets, cache, kept, outcomes
from lossref.oracle.tape import Tie, Uncertified, Undecided
from lossref.run.golden.checking import Share, check
from lossref.run.golden.corpus import drawn
from lossref.run.saved import replay

NAMES = ("detr", "task_aligned", "hungarian", "rotated_bbox", "v8_detection")
DTYPES = ("float64", "float32")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own; files that were edited just now are taken for what is loaded."""
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_code", lambda rooms: "this code")
    return tmp_path / "cache"


def case_of(name: str) -> tuple[Spec, Case]:
    """A spec and its first drawn case."""
    spec = find(name)
    return spec, material(spec, "single", "quick", 0)[0]


def asked(spec: Spec, case: Case) -> Answer | ArithmeticError:
    """The outcome, without what the process remembers."""
    return answers.outcome_of.__wrapped__(spec, case)


def entries(place: Path) -> list[Path]:
    """Every file of the cache."""
    return sorted(path for path in place.rglob("*") if path.is_file())


def ends(balls: Array) -> list[tuple[int, ...]]:
    """Mantissa and exponent of every midpoint and radius."""
    return [tuple(int(n) for end in (ball.mid(), ball.rad()) for n in end.man_exp()) for ball in balls.flat]


def same(one: Answer, other: Answer) -> bool:
    """Whether nothing at all tells two answers apart."""
    arrays = [(one.value, other.value), (one.gradient, other.gradient)]
    balls = all(list(a) == list(b) and all(ends(a[k]) == ends(b[k]) for k in a) for a, b in arrays)
    shapes = all(a[k].shape == b[k].shape for a, b in arrays for k in a)
    floats = all(np.array_equal(one.condition[k], other.condition[k]) for k in one.condition)
    rest = [(x.margin, x.ties, x.open_branches, x.bits) for x in (one, other)]
    return balls and shapes and floats and rest[0] == rest[1] and list(one.condition) == list(other.condition)


def never() -> Answer:
    """What must not be asked."""
    raise AssertionError("computed, although it was kept")


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_comes_back_bit_for_bit(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, case = case_of(name)
    with cache.bypassed():
        fresh = asked(spec, case)
    first = asked(spec, case)
    monkeypatch.setattr(answers, "climbed", lambda *_: never())
    again = asked(spec, replace(case, why="the same question"))
    assert isinstance(fresh, Answer)
    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert same(fresh, first)
    assert same(fresh, again)
    assert len(entries(place)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_budget_comes_back_bit_for_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, case = case_of("detr")
    first = budgets.reached.__wrapped__(spec, case, dtype)
    monkeypatch.setattr(budgets, "rough", lambda *_: never())
    again = budgets.reached.__wrapped__(spec, case, dtype)
    assert list(first) == list(again)
    assert all(np.array_equal(first[name], again[name]) and first[name].shape == again[name].shape for name in first)


def test_infinite_radii_come_back() -> None:
    known = {"a": np.array([[0.5, np.inf], [-0.0, 5e-324]]), "b": np.zeros((0, 3)), "c": np.array(1.0)}
    again = kept.unpacked(kept.packed(known))
    assert all(again[k].tobytes() == known[k].tobytes() and again[k].shape == known[k].shape for k in known)


@pytest.mark.parametrize("kind", [Tie, Undecided, Uncertified], ids=lambda kind: kind.__name__)
def test_that_there_is_no_answer_is_kept(kind: type[ArithmeticError], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, case = case_of("detr")

    def climbed(*_: object) -> Answer:
        raise kind("a sentence – with ümlauts")

    monkeypatch.setattr(answers, "climbed", climbed)
    asked(spec, case)
    monkeypatch.setattr(answers, "climbed", lambda *_: never())
    found = asked(spec, case)
    assert type(found) is kind
    assert str(found) == "a sentence – with ümlauts"
    with pytest.raises(kind, match="ümlauts"):
        outcomes.given(found)


def flipped(content: bytes) -> Iterator[bytes]:
    """The content with one bit of one byte changed, at places all over it; cut short; empty; with more behind it."""
    for at in {0, 31, 32, 33, len(content) // 2, len(content) - 1}:
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    yield from (content[:-1], content[:20], b"", content + b"\0")


def test_a_damaged_entry_is_computed_again(place: Path) -> None:
    spec, case = case_of("task_aligned")
    right = asked(spec, case)
    (path,) = entries(place)
    content = path.read_bytes()
    for damaged in flipped(content):
        path.write_bytes(damaged)
        found = asked(spec, case)
        assert isinstance(right, Answer)
        assert isinstance(found, Answer)
        assert same(right, found)
        assert path.read_bytes() == content, "it was not written anew"


def test_an_entry_under_another_name_is_none(place: Path) -> None:
    (spec, case), (_, other) = case_of("task_aligned"), case_of("hungarian")
    asked(spec, case)
    (path,) = entries(place)
    elsewhere = cache.place("answer", find("hungarian"), other)
    assert elsewhere is not None
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.write_bytes(path.read_bytes())
    assert cache.read(path) is not None
    assert cache.read(elsewhere) is None


CHANGES: dict[str, Callable[[Case], Case]] = {
    "a number": lambda case: replace(case, inputs={**case.inputs, "anc_points": case.inputs["anc_points"] + 2.0**-40}),
    "a parameter": lambda case: replace(case, params={**case.params, "alpha": 0.75}),
    "the type of a parameter": lambda case: replace(case, params={**case.params, "topk": float(case.params["topk"])}),
    "the id, which sentences name": lambda case: replace(case, id="another"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_question_is_another_entry(change: str) -> None:
    spec, case = case_of("task_aligned")
    assert cache.place("answer", spec, CHANGES[change](case)) != cache.place("answer", spec, case)


def test_other_code_and_another_precision_are_other_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, case = case_of("task_aligned")
    before = {cache.place(what, spec, case) for what in ("answer", "reach float64", "reach float32")}
    monkeypatch.setattr(cache, "_code", lambda rooms: "other code")
    assert len(before | {cache.place("answer", spec, case)}) == 4


def test_which_draw_tells_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases at other settings of a warm run are the same, and nobody is asked about the draws."""
    spec, asked = find("rotated_bbox"), list[object]()
    tells = settings.tells

    def drawn() -> list[tuple[str, bytes]]:
        settings.setting.cache_clear()
        found = settings.settings(spec, "quick", 0, ())
        return [(case.id, b"".join(x.tobytes() for x in case.inputs.values())) for case in found]

    monkeypatch.setattr(settings, "tells", lambda *words: asked.append(words) or tells(*words))
    first, before = drawn(), len(asked)
    assert before
    assert (drawn(), len(asked)) == (first, before)


CODE = "from lossref.oracle import cache; print(cache._code(cache.ROOMS))"


def test_the_digest_is_that_of_every_file_and_none_of_changed_ones(tmp_path: Path) -> None:
    root = tmp_path / "lossref"
    subprocess.run(["cp", "-r", str(Path(cache.__file__).parents[1]), str(root)], check=True)
    old = time.time() - 1000
    for path in root.rglob("*.py"):
        os.utime(path, (old, old))
    path = root / "losses" / "overlap" / "ciou.py"

    def digest() -> str:
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    first = digest()
    path.write_text(path.read_text() + "\n")
    os.utime(path, (old, old))
    second = digest()
    os.utime(path, (time.time() + 1000,) * 2)  # newer than the process, which may have loaded what it was
    assert len(first) == len(second) == 64
    assert first != second
    assert digest() == ""


def test_only_what_lossref_itself_declares_is_kept(place: Path) -> None:
    spec, case = case_of("task_aligned")
    assert cache.place("answer", replace(spec), case) is None, "another spec of that name"
    elementary = find("iou")
    corner = elementary.corners[0]
    asked(elementary, replace(corner, params=with_defaults(elementary, corner.params)))
    assert not entries(place)


@pytest.mark.parametrize("how", ["a file in its place", "nobody may write", "off", "a folder as an entry"])
def test_it_works_without(how: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, case = case_of("task_aligned")
    with cache.bypassed():
        fresh = asked(spec, case)
    if how == "a file in its place":
        place.write_text("")
    elif how == "off":
        monkeypatch.setenv(cache.SWITCH, "OFF")
    elif how == "a folder as an entry":
        path = cache.place("answer", spec, case)
        assert path is not None
        path.mkdir(parents=True)
    else:
        monkeypatch.setenv(cache.SWITCH, "/proc/nowhere")  # root may write anywhere else
    found = asked(spec, case)
    assert isinstance(fresh, Answer)
    assert isinstance(found, Answer)
    assert same(fresh, found)
    assert not list(entries(place) if place.is_dir() else []), "a draft is left"


def test_the_folder_is_bounded_and_the_least_used_goes_first(place: Path) -> None:
    for number in range(20):
        path = place / f"{number:02x}" / "entry"
        cache.write(path, bytes(1000 - cache.DIGEST))
        os.utime(path, (number, number))
    assert cache.read(place / "00" / "entry") is not None  # which makes it the last to go
    cache.sweep(place, 10_000)
    assert [path.parent.name for path in entries(place)] == [f"{n:02x}" for n in (0, *range(12, 20))]
    cache.sweep(place, 10_000)
    assert len(entries(place)) == 9


def test_a_run_looks_at_the_size_now_and_then(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_written", [cache.SWEEP_EVERY])
    looked: list[Path] = []
    monkeypatch.setattr(cache, "sweep", looked.append)
    for number in range(3):
        cache.write(place / "00" / str(number), bytes(cache.SWEEP_EVERY // 2))
    assert looked == [place, place]


def test_the_alarm_of_a_check_is_not_swallowed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alarm(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(os, "replace", alarm)
    with pytest.raises(TimeoutError):
        cache.write(place / "00" / "entry", b"content")
    assert not entries(place)


WRITER = """
import sys
from pathlib import Path
from lossref.oracle import cache
path, body = Path(sys.argv[1]), sys.argv[2].encode() * 100_000
for _ in range(60):
    found = cache.read(path)
    assert found is None or len(found) == 100_000 and len(set(found)) == 1, len(found)
    cache.write(path, body)
"""


def test_two_processes_at_once(place: Path) -> None:
    path = place / "00" / "entry"
    both = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "ab"]
    assert [one.wait() for one in both] == [0, 0]
    assert cache.read(path) is not None
    assert entries(place) == [path]


@pytest.mark.parametrize(
    ("said", "xdg", "where"),
    [
        ("", "/x", "/x/lossref"),
        ("", "relative", "/home/me/.cache/lossref"),
        ("", "", "/home/me/.cache/lossref"),
        ("/there", "/x", "/there"),
        ("off", "/x", None),
    ],
)
def test_where_it_is(said: str, xdg: str, where: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ((cache.SWITCH, said), ("XDG_CACHE_HOME", xdg), ("HOME", "/home/me")):
        monkeypatch.setenv(name, value)
    assert cache.folder() == (Path(where) if where else None)


def test_the_record_is_computed_never_recalled(place: Path) -> None:
    spec = find("hungarian")
    found = check(spec, Path(__file__).parents[1] / "golden", Share(composite=9))
    assert found.cases
    assert not found.problems
    assert not entries(place)


def test_no_cache_on_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Path | None] = []

    def replayed(file: Path, *more: object) -> tuple[list[str], bool]:
        found.append(cache.folder())
        return [], True

    monkeypatch.setattr(replay, "replay", replayed)
    for words in (["replay", "case.json", "--no-cache"], ["replay", "case.json"]):
        assert CliRunner().invoke(app, words).exit_code == 0
    assert found == [None, place]
    assert os.environ[cache.SWITCH] == str(place)


# What is recorded of draws -------------------------------------------------------------------------------


def test_what_is_recorded_of_draws_was_found_by_the_code_as_it_is() -> None:
    """Where this fails, `python regression/drawn.py` finds it out anew."""
    record, composites = drawn.record(), [one for one in own().values() if one.composite]
    assert record is not None
    assert {one.name for one in composites if record.specs[one.name].code != drawn.code_of(one)} == set()
    assert {*record.specs} == {one.name for one in composites}


def test_what_is_recorded_of_draws_is_what_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is not found out once more, unless by other code."""
    spec, record, asked = find("rotated_bbox"), drawn.record(), list[object]()
    assert record is not None
    monkeypatch.setattr(drawn, "record", lambda: replace(record, by=arithmetic()))
    monkeypatch.setattr(drawn, "code_of", lambda spec: record.specs[spec.name].code)
    said = record.specs[spec.name]
    with cache.bypassed():
        found = [settings.telling_number(spec, "quick", 0, (), at) for at in range(len(said.draws))]
    tells = settings.tells
    monkeypatch.setattr(settings, "tells", lambda *words: asked.append(words) or tells(*words))
    drawn.fed.cache_clear()
    assert drawn.fed(spec) == len(said.draws) + len(said.decided)
    assert [settings.telling_number(spec, "quick", 0, (), at) for at in range(len(found))] == found == [*said.draws]
    assert not asked
    monkeypatch.setattr(drawn, "code_of", lambda spec: "other code")
    monkeypatch.setattr(cache, "_code", lambda rooms: "other code")
    drawn.fed.cache_clear()
    assert drawn.fed(spec) == 0


def test_of_a_record_that_cannot_be_read_nothing_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, content in enumerate(("", "{", "[]", '{"specs": 1}', '{"specs": {"e2e": {}}, "by": ["", "", 1]}')):
        path = tmp_path / f"{number}.json"
        path.write_text(content)
        monkeypatch.setattr(drawn, "FILE", path)
        assert drawn.record.__wrapped__() is None
