"""A run in parts: each job in one of them, the whole made of all is the run that one machine would have made."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lossref.cli import app
from lossref.losses import specs
from lossref.run.plan import plan
from lossref.run.saved.shards import Shard, ShardError, part, shard

# Two that are right, and one that is wrong in a way that is soon explained: verdicts of both kinds, and a saved case.
MINE = """
import lossref
from lossref.losses import spec
@lossref.target("iou")
def right(box1, box2, xywh=True, eps=1e-7):
    return spec("iou").reference(box1, box2, xywh=xywh, eps=eps)
@lossref.target("giou")
def right_too(box1, box2, xywh=True, eps=1e-7):
    return spec("giou").reference(box1, box2, xywh=xywh, eps=eps)
@lossref.target("dice")
def wrong(pred, target, smooth=1e-6, reduction="mean"):
    raise ValueError("no")
"""
QUICK = ["--check", "shape", "--jobs", "1"]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders 1, 2, 3 of three parts, and that of the whole run."""
    place = tmp_path_factory.mktemp("parts")
    (place / "mine.py").write_text(MINE)
    words = ["validate", str(place / "mine.py"), *QUICK]
    for number in "123":
        run(*words, "--out", str(place / number), "--shard", f"{number}/3")
    run(*words, "--out", str(place / "whole"))
    return place


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="") as file:
        return [{name: x for name, x in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_merged_parts_are_the_run_of_one_machine(parts: Path) -> None:
    told = run("report", "merge", *(str(parts / number) for number in "312"), "--out", str(parts / "merged"))
    assert told.exit_code == 1, told.output
    assert rows(parts / "merged") == rows(parts / "whole")
    assert {row["status"] for row in rows(parts / "whole")} >= {"pass", "fail"}
    names = [sorted(path.name for path in (parts / one / "cases").iterdir()) for one in ("merged", "whole")]
    assert names[0] == names[1] != []
    both = [json.loads((parts / one / "run.json").read_text()) for one in ("merged", "whole")]
    same = ("planned", "families", "plan", "finished", "hosts", "target", "files", "notes")
    assert [{name: one[name] for name in same} for one in both] == [{name: both[1][name] for name in same}] * 2


@pytest.mark.parametrize("of", [1, 2, 7, 50])
def test_each_job_is_in_one_part(of: int) -> None:
    jobs = plan(["reference"])
    found = [part(jobs, Shard(number, of)) for number in range(1, of + 1)]
    assert sorted(at for one in found for at in one) == list(range(len(jobs)))
    long = [sum(specs()[jobs[at].spec].composite for at in one) for one in found]
    assert max(long) - min(long) <= 1


@pytest.mark.parametrize("word", ["0/3", "4/3", "1/0", "1", "a/b", "1/3/5", "-1/3", " 1/3", "1/99999", ""])
def test_what_is_no_part(word: str) -> None:
    with pytest.raises(ShardError, match="is no part of a run; write NUMBER/PARTS"):
        shard(word)


REFUSED = {
    "one is lacking": ("1 3", "part 2 of 3 is not there; give the folder of each part once"),
    "one twice": ("1 2 2 3", "part 2 of 3 is there more than once"),
    "a whole run": ("1 2 whole", "whole is a whole run, no part of one"),
    "no run at all": ("1 2 nothing", "run.json; say which folders"),
    "of another plan": ("1 2 other", "are parts of two runs: "),
    "of another seed": ("1 2 seed", "are parts of two runs: seed is 0 and 1"),
    "broken facts": ("1 2 facts", "run.json is broken ("),
    "broken verdicts": ("1 2 lines", "verdicts.jsonl is broken ("),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_put_together(parts: Path, tmp_path: Path, words: str, said: str) -> None:
    for name in ("other", "seed", "facts", "lines"):
        shutil.copytree(parts / "3", tmp_path / name)
        known = json.loads((tmp_path / name / "run.json").read_text())
        known |= {"seed": {"seed": 1}, "other": {"shard": {**known["shard"], "whole": "other"}}}.get(name, {})
        (tmp_path / name / "run.json").write_text("{" if name == "facts" else json.dumps(known))
    (tmp_path / "lines" / "verdicts.jsonl").write_text('{"spec": 3}\n')
    folders = [parts / word if (parts / word).exists() else tmp_path / word for word in words.split()]
    told = run("report", "merge", *map(str, folders), "--out", str(tmp_path / "merged"))
    assert (told.exit_code, len(told.output.splitlines())) == (2, 1), told.output
    assert said in told.output
    assert not (tmp_path / "merged").exists()


def test_a_place_that_is_taken_is_left_as_it_was(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    told = run("report", "merge", *(str(parts / number) for number in "123"), "--out", str(tmp_path))
    assert (told.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["mine.txt"]), told.output


def test_a_part_that_was_cut_off_makes_the_whole_incomplete(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts / "3", tmp_path / "3")
    (tmp_path / "3" / "verdicts.jsonl").write_text('{"spec": "gi')
    known = json.loads((tmp_path / "3" / "run.json").read_text())
    (tmp_path / "3" / "run.json").write_text(json.dumps({**known, "finished": False}))
    told = run("report", "merge", str(parts / "1"), str(parts / "2"), str(tmp_path / "3"), "--out", str(tmp_path / "m"))
    assert "2 verdicts of 3 planned" in told.output, told.output
    assert json.loads((tmp_path / "m" / "run.json").read_text())["finished"] is False
