"""The files around the code say what is so: versions, the top level, hooks, and the words on where things are."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lossref
from lossref.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
FOLDERS = {"lossref", "golden", "property_tests", "regression", "reports"}
TOP = FOLDERS | {
    *("pyproject.toml", "constraints.txt", "Makefile", "LICENSE"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
}
READMES = ("golden", "property_tests", "regression", "reports")


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


# Versions -------------------------------------------------------------------------------------------------


def test_there_is_one_version() -> None:
    assert lossref.__version__ == PROJECT["version"]
    assert f"## [{lossref.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("words", ["--version", "--version list"])
def test_says_its_version_and_stops(words: str) -> None:
    result = CliRunner().invoke(app, words.split())
    assert (result.exit_code, result.output) == (0, f"lossref {lossref.__version__}\n")


def test_the_version_costs_no_import() -> None:
    code = "import sys\nfrom lossref import cli\nsys.argv[1:] = ['--version']\ntry:\n    cli.main()\nfinally:\n    "
    code += "print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == f"lossref {lossref.__version__}"
    assert not {"torch", "numpy", "pandas", "hypothesis", "flint", "scipy"} & set(said[1].split())


# The top level --------------------------------------------------------------------------------------------


def test_the_top_level_is_fixed() -> None:
    found = {name.partition("/")[0] for name in _git("ls-files")}
    assert {name for name in found if not name.startswith(".")} == TOP


@pytest.mark.parametrize("name", [".venv/x", ".venv-lowest/x", "reports/mine/run.json", "build/x"])
def test_what_is_made_here_is_ignored(name: str) -> None:
    assert _git("check-ignore", "--no-index", name) == [name]


# Make and hooks -------------------------------------------------------------------------------------------


def _recipe(target: str) -> str:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n?)*)", MAKEFILE, re.MULTILINE)
    assert found, f"the Makefile has no target {target}"
    return found[1]


def test_clean_removes_both_environments() -> None:
    assert {"$(VENV)", "$(LOWEST)"} <= set(_recipe("clean").split())


def test_the_lowest_bounds_are_not_a_part_of_ci() -> None:
    assert re.findall(r"MAKE\) --no-print-directory (.*)", _recipe("test")) == ["-j 2 lint unit", "speed"]


def test_hooks_run_what_lint_runs_and_download_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    lint = re.findall(r"@\$\(BIN\)/(.*)", _recipe("lint"))
    assert re.findall(r"entry: \.venv/bin/(.*)", text) == lint
    assert set(re.findall(r"repo: (.*)", text)) == {"local"}
    assert set(re.findall(r"language: (.*)", text)) == {"system"}


# Words ----------------------------------------------------------------------------------------------------

GUIDES = ("CONTRIBUTING.md", *(f"{name}/README.md" for name in READMES))


def missing(text: str, home: Path) -> set[str]:
    """The files and folders that a text names in code or links to, and that are neither there nor made later."""
    named = set(re.findall(r"`([^`\s]+(?:\.py|\.toml|\.txt|/))`", text))
    links = set(re.findall(r"\]\((?!https?:|#)([^)]+)\)", text))
    concrete = {word for word in named if not re.search(r"[A-Z]{2}|\*", word)}
    return {word for word in concrete | links if not _is_or_will_be(word, home)}


def _is_or_will_be(word: str, home: Path) -> bool:
    if (home / word).exists() or (ROOT / word).exists():
        return True
    return subprocess.run(["git", "check-ignore", "-q", str(home / word)], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", GUIDES)
def test_guides_name_what_there_is(name: str) -> None:
    path = ROOT / name
    assert not missing(path.read_text(), path.parent)


PLANTED = [
    ("see `test_nothing.py`", {"test_nothing.py"}),
    ("in `lossref/blocks/`", {"lossref/blocks/"}),
    ("[there](../nowhere.md)", {"../nowhere.md"}),
    ("`lossref/losses/TOPIC/NAME.py`, `test_*.py`, `conftest.py`", set()),
]


@pytest.mark.parametrize(("text", "found"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_name_is_missed(text: str, found: set[str]) -> None:
    assert missing(text, ROOT / "regression") == found


def test_the_guide_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", READMES)
def test_a_folder_is_described_in_a_few_lines(name: str) -> None:
    """That of golden/ describes a format, shows a reader for it, and a table of what was measured."""
    most = 70 if name == "golden" else 30
    assert 10 <= len((ROOT / name / "README.md").read_text().splitlines()) <= most


MADE = sorted(set(re.findall(r"make ([a-z]+)", "".join((ROOT / name).read_text() for name in GUIDES))))


@pytest.mark.parametrize("target", MADE)
def test_guides_name_make_targets(target: str) -> None:
    assert _recipe(target) or re.search(rf"^{target}:.*##", MAKEFILE, re.MULTILINE)


def test_the_folder_of_tests_is_described_whole() -> None:
    """Every file and every folder of regression/ has its row."""
    text = (ROOT / "regression" / "README.md").read_text()
    files = {name.removeprefix("regression/") for name in _git("ls-files", "regression/*.py")} - {"conftest.py"}
    listed = {name if "/" not in name else f"{name.partition('/')[0]}/" for name in files}
    assert {name for name in listed if f"`{name}`" not in text} == set()


@pytest.mark.xdist_group("told")
def test_a_group_of_tests_shares_a_process(request: pytest.FixtureRequest) -> None:
    """A release of pytest, or of its plug-in, that loses groups makes the whole suite slow without a word."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@told")
