"""`lossref diff A B`: what is different between two implementations, whatever the specification says of either."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lossref.cli import app
from lossref.core.nouns import Case
from lossref.run.causes.beside.bisecting import changes
from lossref.run.causes.beside.differences import Compared, Difference
from lossref.run.causes.beside.releases import is_release
from shared.wheels import offline, wheel

HEAD = """
import lossref, torch
from lossref.losses import spec
CIOU, FOCAL = spec("ciou").reference, spec("focal").reference
"""
CIOU = '@lossref.target("ciou", xywh=False)\ndef mine(box1, box2, eps=1e-7):\n'
USUAL = "CIOU(box1, box2, xywh=False, eps=eps)"
FOCAL = (
    '@lossref.target("focal")\ndef other(pred, label, gamma=1.5, alpha=0.25):\n'
    "    return FOCAL(pred, label, gamma, alpha)"
)
CODE = {
    "old": f"{CIOU}    return {USUAL}",
    "gated": f'{CIOU}    return CIOU(box1, box2, xywh=False, eps=eps, alpha="gated")',
    "slope": f"{CIOU}    return CIOU(box1, box2.detach() + 0 * box2, xywh=False, eps=eps)",
    "larger": f"{CIOU}    return {USUAL} * 1.01",
    "raises": f'{CIOU}    if len(box1) == 1:\n        raise ValueError("one box")\n    return {USUAL}',
    "both": f"{CIOU}    return {USUAL}\n{FOCAL}",
    "other": FOCAL,
    "dies": f"{CIOU}    import os\n    os._exit(3)",
}
ROWS = {
    "the same": ("old old", 0, ["unchanged: 1 (ciou)"]),
    "a setting": ("old gated", 1, ["ciou  ", "alpha 'detached' -> 'gated': ", "unchanged: 0"]),
    "and back": ("gated old", 1, ["alpha 'gated' -> 'detached'"]),
    "a gradient alone": ("old slope", 1, ["ciou  d/dbox2: on", "no named setting tells them apart"]),
    "a factor": ("old larger", 1, ["ciou  ciou, d/dbox1, d/dbox2: on", "1.0 % of the largest number"]),
    "an exception": ("old raises", 1, ["exceptions", "answers -> raises ValueError"]),
    "more losses": ("both old", 0, ["unchanged: 1 (ciou)", "only one of them has: focal"]),
    "nothing in common": ("old other", 3, ["nothing was compared"]),
    "one that ends": ("old dies", 3, ["not comparable: 1: ciou (the process ended with exit code 3)"]),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, code in CODE.items():
        (tmp_path / f"{name}.py").write_text(HEAD + code + "\n")
    offline(tmp_path, monkeypatch)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["diff", *words])


@pytest.mark.parametrize(("words", "status", "said"), ROWS.values(), ids=list(ROWS))
def test_what_differs(here: Path, words: str, status: int, said: list[str]) -> None:
    result = run(*(f"{word}.py" for word in words.split()))
    assert result.exit_code == status, result.output
    assert not [part for part in said if part not in result.output], result.output
    assert "Traceback" not in result.output


def test_json_is_for_programs(here: Path) -> None:
    found = json.loads(run("old.py", "gated.py", "--json").stdout)
    (row,) = found["compared"]
    assert (found["a"], found["b"], row["spec"], row["reason"]) == ("old.py", "gated.py", "ciou", "")
    assert row["settings"] == [{"name": "alpha", "a": "detached", "b": "gated"}]
    assert {one["quantity"] for one in row["differences"]} >= {"ciou"}
    assert all(one["cases"] <= one["of"] == row["cases"] for one in row["differences"])


def test_the_smallest_case_is_drawn(here: Path) -> None:
    result = run("old.py", "gated.py", "--picture")
    head, _, drawn = result.output.partition("ciou, the smallest case of those that differ: ")
    assert head == run("old.py", "gated.py").output
    assert "(8 numbers)\n" in drawn, "one pair of boxes"
    assert "── box1" in drawn
    assert any("\N{BRAILLE PATTERN BLANK}" < letter <= "\N{BRAILLE PATTERN DOTS-12345678}" for letter in drawn)
    assert run("old.py", "old.py", "--picture").output == run("old.py", "old.py").output


# Releases ---------------------------------------------------------------------------------------------


def test_a_release_is_installed_once_and_compared(here: Path) -> None:
    wheel(here, "1.1", HEAD + CODE["larger"] + "\n")
    for words in (("old.py", "tiny_loss==1.1"), ("tiny_loss==1.1", "tiny_loss==1.1")):
        result = run(*words)
        assert (result.exit_code, "1.0 % of the largest" in result.output) == (int(words[0] == "old.py"),) * 2, (
            result.output
        )
        for path in here.glob("*.whl"):  # the second time nothing is installed
            path.unlink()
    assert {path.name for path in (here / "cache" / "releases").iterdir()} == {"tiny_loss-1.1"}


def _installed(here: Path, version: str, code: str) -> None:
    """As pip would have left it: the folder is there, and nothing is installed."""
    wheel(here, version, HEAD + code + "\n")
    place = here / "cache" / "releases" / f"tiny_loss-{version}"
    (place / "site" / "tiny_loss").mkdir(parents=True)
    (place / "site" / "tiny_loss" / "__init__.py").write_text(HEAD + code + "\n")
    (place / "python").write_text(f'#!/bin/sh\nPYTHONPATH={place}/site:"$PYTHONPATH" exec {sys.executable} "$@"\n')
    (place / "python").chmod(0o755)


def test_where_it_changed_is_found_by_halves(here: Path) -> None:
    for version, code in {"1.9": "old", "1.11": "gated"}.items():
        _installed(here, version, CODE[code])
    result = run("tiny_loss==1.9", "tiny_loss==1.11", "--bisect")
    assert result.exit_code == 1, result.output
    _, _, changed = result.output.partition("changed with tiny_loss==1.11; tiny_loss==1.9 is as before:\n")
    assert "alpha 'detached' -> 'gated'" in changed, result.output


HISTORIES = {  # what each release gives; "." cannot be asked
    "once": ("aaaab", "34"),
    "at once": ("abbbb", "01"),
    "twice": ("aabbbcc", "12 45"),
    "there and back": ("aabbbbba", ""),
    "there and back, and on": ("aabbaac", "12 34 56"),
    "between two that cannot be asked": ("aa..bb", "14"),
    "all between cannot be asked": ("a...b", "04"),
    "never": ("aaaa", ""),
    "neighbours": ("ab", "01"),
}


@pytest.mark.parametrize(("gives", "wanted"), HISTORIES.values(), ids=list(HISTORIES))
def test_changes_of_a_history(gives: str, wanted: str) -> None:
    some = Difference("value", 1, 1, 1.0, Case("", "", {}, {}), "", "")

    def ask(one: str, other: str) -> Compared:
        a, b = gives[int(one)], gives[int(other)]
        return Compared("ciou", 1, (some,) if a != b else (), reason="cannot be asked" if "." in a + b else "")

    found = [change.before + change.after for change in changes([str(i) for i in range(len(gives))], ask)]
    assert found == wanted.split()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("old.py tiny_loss==1.1", 2, "--bisect goes from one release of a package to another"),
        ("tiny_loss==1.1 other==1.1", 2, "--bisect goes from one release of a package to another"),
        ("tiny_loss==1.1 tiny_loss==1.7", 3, "pip knows no tiny_loss==1.7; it knows 1 releases"),
        ("tinier_loss==1.1 tinier_loss==1.7", 3, "the releases of tinier_loss are not known: "),
    ],
)
def test_where_there_is_nothing_to_halve(here: Path, words: str, status: int, said: str) -> None:
    wheel(here, "1.1", HEAD + CODE["old"] + "\n")
    result = run(*words.split(), "--bisect")
    assert (result.exit_code, len(result.output.splitlines())) == (status, 1), result.output
    assert said in result.output


def test_a_release_that_pip_cannot_find_is_one_sentence(here: Path) -> None:
    result = run("tiny_loss==7.7", "old.py")
    assert (result.exit_code, len(result.output.splitlines())) == (3, 1), result.output
    assert "tiny_loss==7.7 cannot be installed: " in result.output
    assert not list((here / "cache" / "releases").iterdir())


@pytest.mark.parametrize(
    ("word", "so"),
    [
        ("ultralytics==8.4.83", True),
        ("a.py", False),
        ("a==", False),
        ("==1", False),
        ("a==1; rm", False),
        ("../a==1", False),
    ],
)
def test_what_a_release_looks_like(word: str, so: bool) -> None:
    assert is_release(word) == so
