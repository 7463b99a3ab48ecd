"""How the lower bounds of pyproject.toml are read; `make lowest` itself installs them, and is no part of CI."""

from __future__ import annotations

import tomllib

import lowest
import pytest

PROJECT = tomllib.loads((lowest.ROOT / "pyproject.toml").read_text())["project"]
BOUNDS = [
    ("numpy>=1.26", [("numpy", "1.26")]),
    ("python-flint >= 0.6", [("python-flint", "0.6")]),
    ("ultralytics>=8.3,<9", [("ultralytics", "8.3")]),
    ("ruff", []),
]
UNREADABLE = ["numpy==1.26", "numpy<3", "numpy>=1.26; python_version < '3.13'", "typer[all]>=0.15", "numpy>1"]


@pytest.mark.parametrize(("line", "found"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_bounds(line: str, found: list[tuple[str, str]]) -> None:
    assert list(lowest.bounds([line])) == found


@pytest.mark.parametrize("line", UNREADABLE)
def test_what_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(lowest.Unreadable) as error:
        list(lowest.bounds([line]))
    assert repr(line) in str(error.value)


def test_pins_follow_the_bounds() -> None:
    extras = {"test": ["pytest>=8", "mypy", "ultralytics>=8.3,<9"], "report": ["altair>=5.3"], "other": ["kornia>=1"]}
    project = {"dependencies": ["torch>=2.6", "numpy>=1.26"], "optional-dependencies": extras}
    found = lowest.pins(project, "torch==2.13.0\ntorchvision==0.28.0\nnumpy==2.4.6\n")
    assert found == ["numpy==1.26", "pytest==8", "ultralytics==8.3", "altair==5.3", "torch==2.13.0"]


def test_every_dependency_has_a_bound_and_is_pinned_to_it() -> None:
    names = [name for name, _ in lowest.bounds(PROJECT["dependencies"])]
    assert len(names) == len(PROJECT["dependencies"])
    assert {line.partition("==")[0] for line in lowest.pinned_here()} >= set(names)


def test_torch_is_the_one_that_was_tested() -> None:
    (torch,) = (line for line in lowest.pinned_here() if line.startswith("torch"))
    assert torch in (lowest.ROOT / "constraints.txt").read_text().splitlines()


SAME = [
    ("1.26.0", "1.26", True),
    ("8.0.0", "8", True),
    ("2.13.0+cpu", "2.13.0", True),
    ("1.26.1", "1.26", False),
    ("2.10", "2.1", False),
    ("3.10.0", "3.1", False),
]


@pytest.mark.parametrize(("installed", "pin", "same"), SAME, ids=[f"{row[0]} {row[1]}" for row in SAME])
def test_same_version(installed: str, pin: str, same: bool) -> None:
    assert lowest.same(installed, pin) is same


def test_an_environment_with_other_versions_is_noticed() -> None:
    assert lowest.strays(["pytest==0.1"]) == [f"pytest {pytest.__version__}, not 0.1"]
    assert lowest.strays([f"pytest=={pytest.__version__}"]) == []


SMOKE = [("lossref --version", True), ("lossref show nothing-of-that-name", False)]


@pytest.mark.parametrize(("words", "well"), SMOKE, ids=[row[0] for row in SMOKE])
def test_a_command_that_fails_is_shown(words: str, well: bool, capfd: pytest.CaptureFixture[str]) -> None:
    assert lowest.passes(words, "nowhere") is well
    said = capfd.readouterr().out
    assert said.startswith("ok" if well else "FAIL")
    assert ("there is no spec" in said) is not well
