"""The action for GitHub: its step run by hand, and what its file names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner

from lossref.cli import app
from lossref.core.nouns import Failure, Verdict

ACTION = Path(__file__).parents[1] / ".github" / "actions" / "validate"
TARGET = """
import lossref
from lossref.losses import spec
BOXES = spec("xywh2xyxy").reference


@lossref.target("xywh2xyxy")
def mine(x):
    return BOXES(x) * 1.5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a loss that has a fault, and `lossref` on the path as an install puts it there."""
    (tmp_path / "losses.py").write_text(TARGET)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "lossref"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lossref "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ACTION.parents[2]))
    return tmp_path


def _step(here: Path, **more: str) -> subprocess.CompletedProcess[str]:
    args = "--spec 'xywh2xyx*' --check value --dtype float64 -j 1"
    told = {"GITHUB_OUTPUT": str(here / "output"), "GITHUB_STEP_SUMMARY": str(here / "summary")}
    environment = {**os.environ, "TARGET": "losses.py", "ARGS": args, "OUT": "out", **told, **more}
    command = ["bash", str(ACTION / "validate.sh")]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)


def test_only_a_new_finding_fails(here: Path) -> None:
    first = _step(here)
    assert (first.returncode, "every finding is new" in first.stdout) == (1, True), first.stdout + first.stderr
    assert "::error " in first.stdout, "an annotation for each finding"
    assert (here / "out" / "badge.json").is_file()
    for name in ("verdicts.jsonl", "run.json"):  # what the README says to commit
        (here / ".lossref" / "baseline").mkdir(parents=True, exist_ok=True)
        shutil.copy(here / "out" / name, here / ".lossref" / "baseline" / name)
    again = _step(here)
    assert (again.returncode, "0 new, 0 gone, 0 changed, 1 the same" in again.stdout) == (0, True), (
        again.stdout + again.stderr
    )
    assert (here / "output").read_text() == "status=1\n" * 2
    assert "1 the same" in (here / "summary").read_text()


def test_what_cannot_be_asked_fails_with_its_own_status(here: Path) -> None:
    assert _step(here, TARGET="no_such_file.py").returncode == 2
    assert (here / "output").read_text() == "status=2\n"


FAIL = Verdict("ciou", "mine", "value", "float64", "fail", 3, failures=(Failure("value ciou", "got 1, want 2"),))
OTHER = replace(FAIL, spec="diou", failures=(Failure("value diou", "got 1, want 2"),))
RUN = {
    "target": "mine",
    "version": "",
    "command": "lossref",
    "started": "2026-01-01",
    "planned": 2,
    "seed": 0,
    "tier": "quick",
}
MORE = {"seconds": 1.0, "complete": True, "families": {}, "lossref": "0", "torch": "2", "python": "3", "platform": "x"}
CHANGES = {
    "nothing": ([FAIL], [FAIL], 0),
    "a new one": ([FAIL], [FAIL, OTHER], 1),
    "the first one": ([replace(FAIL, status="pass", failures=())], [FAIL], 1),
    "one is gone": ([FAIL, OTHER], [FAIL], 0),
    "one is gone, another new": ([OTHER], [FAIL], 1),
    "more rows of the same": ([FAIL], [FAIL, replace(FAIL, dtype="float32")], 0),
}


@pytest.mark.parametrize(("before", "after", "status"), CHANGES.values(), ids=list(CHANGES))
def test_which_difference_counts(tmp_path: Path, before: list[Verdict], after: list[Verdict], status: int) -> None:
    for name, rows in (("a", before), ("b", after)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdicts.jsonl").write_text("".join(dumps(asdict(row)) + "\n" for row in rows))
        (tmp_path / name / "run.json").write_text(dumps({**RUN, **MORE, "threads": 1, "notes": [], "hosts": []}))
    words = ["report", "diff", str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(app, [*words, "--new-only"])
    assert result.exit_code == status, result.output
    assert CliRunner().invoke(app, words).exit_code == int(before != after)


def test_the_file_names_what_is_there() -> None:
    text = (ACTION / "action.yml").read_text()
    content = yaml.safe_load(text)
    assert content["runs"]["using"] == "composite"
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(content["inputs"])
    step = next(one for one in content["runs"]["steps"] if one.get("id") == "validate")
    script = (ACTION / "validate.sh").read_text()
    assert "validate.sh" in step["run"]
    assert all(f"${{{name}" in script or f"${name}" in script for name in step["env"])
    for block in re.findall(r"```yaml\n(.*?)```", (ACTION / "README.md").read_text(), re.DOTALL):
        used = next(one for one in yaml.safe_load(block)["jobs"]["losses"]["steps"] if "id" in one)
        assert set(used["with"]) <= set(content["inputs"])
    for path in re.findall(r"ACTION_PATH/(\S+?)\"", text):
        assert (ACTION / path).exists(), path
