"""One run on disk: verdicts are kept as they come, so that a run that was interrupted or killed loses nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from lossref.core.nouns import Verdict, verdict_of
from lossref.run import jobs as running
from lossref.run import plan as planning
from lossref.run.about import of_checks, progress
from lossref.run.ask import VERDICTS
from lossref.run.atomic import append_line, held, write_text
from lossref.run.findings import accepted
from lossref.run.saved.finished import Outcome, line_of, of_lines, row_of, spent
from lossref.run.saved.schema import Fault, read
from lossref.run.saved.times import longest_first, names_of, remember

FACTS, JOBS, PAGE = "run.json", "jobs.jsonl", ("summary.csv", "badge.json", "index.html")
SAVED = {"schema", "spec", "check", "dtype", "inputs"}  # what tells a case that a run saved from another JSON file
COLUMNS = {one.name for one in fields(Verdict)}
Expected = tuple[tuple[str, str, bool], ...]  # findings that are known: id, reason, whether this run must find it
NOTHING: Expected = ()
SAME = ("target", "version", "tier", "seed", "lossref", "python", "torch", "plan", "files")


class SessionError(Exception):
    """The folder is not one that this run may go on in; the message says why, and what to do."""


class Session:
    """The folder of a run, whose run.json says `more`, too.

    run.json       how it was made, and whether it came to its end
    verdicts.jsonl one line for each verdict, written by the process that found it; at the end in the order of the plan
    jobs.jsonl     one line for each finished job, the number in the plan, its verdicts and families: where to go on
    """

    def __init__(
        self,
        folder: Path,
        words: list[str],
        plan: list[planning.Job],
        tier: str,
        seed: int,
        resume: bool = False,
        known: Expected = NOTHING,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.plan, self.resume, self.known = folder, plan, resume, known
        self.expected = planning.planned(plan)
        self.verdicts: list[Verdict] = []
        self.at_once = 0  # jobs, in a run that was carried out in one go
        self._done, self._turns = dict[int, Outcome](), longest_first(plan)
        self._begin = time.monotonic()
        self._facts = {**of_checks(words, tier, seed, plan), **(more or {})}
        self._held = ExitStack()

    def __enter__(self) -> Session:
        """Raises `InUse`, `SessionError` or `OSError`, and then the folder is as it was."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(held(self.folder))
        try:
            self._done = _before(self.folder, self._facts, self.plan) if self.resume else {}
            self._facts |= {name: _facts_of(self.folder)[name] for name in ("command", "started") if self._done}
            clear(self.folder, all_of_it=not self._done)
            (self.folder / "cases").mkdir(exist_ok=True)
            self._write_facts(finished=False)
            write_text(self.folder / JOBS, "".join(line_of(at, one) + "\n" for at, one in self._done.items()))
            self.forget_unfinished()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            finished = len(self._done) == len(self.plan)
            remember((names_of(self.plan[at]), one.seconds) for at, one in self._done.items())
            self.verdicts = self._accepted(self._of_finished() if finished else self._on_disk(), finished)
            with contextlib.suppress(*[OSError] if error else []):
                self._write_verdicts(self.verdicts)
                self._write_facts(finished)

    def left(self) -> list[planning.Job]:
        """The jobs that have not come to their end, those that take longest first."""
        return [self.plan[at] for at in self._turns if at not in self._done]

    def keep(self, job: planning.Job, outcome: Outcome) -> None:
        """A job has come to its end."""
        at = next(number for number, one in enumerate(self.plan) if one is job)
        self._done[at] = outcome
        append_line(self.folder / JOBS, line_of(at, outcome))

    def forget_unfinished(self) -> None:
        """Leave the verdicts of finished jobs only on disk: the others will be asked from their beginning."""
        self._write_verdicts(self._of_finished())

    def exit_status(self) -> int:
        """0 conforms, 1 does not, 3 incomplete."""
        return exit_status(self.verdicts, self.expected)

    def _of_finished(self) -> list[Verdict]:
        return [verdict for _, one in sorted(self._done.items()) for verdict in one.verdicts]

    def _accepted(self, verdicts: list[Verdict], finished: bool) -> list[Verdict]:
        """The verdicts where findings are known; and one for each that is due in a finished run, and not there."""
        rows, there = accepted(verdicts, {one: reason for one, reason, _ in self.known})
        stale = [(one, reason) for one, reason, due in self.known if finished and due and one not in there]
        who = ", ".join(dict.fromkeys(job.word for job in self.plan))
        note = "finding {} of the dialect ({}) is no longer there: strike it off"
        return [*rows, *(Verdict("-", who, "known", "-", "fixed", note=note.format(*one)) for one in stale)]

    def _on_disk(self) -> list[Verdict]:
        """Every verdict that was written until now, in the order of the plan."""
        rows = [(job.spec, job.label, *row) for job in self.plan for row in job.rows]
        place = {row: at for at, row in reversed(list(enumerate(rows)))}
        found = [verdict_of(line) for line in _lines(self.folder / VERDICTS) if line.keys() == COLUMNS]
        latest = {row_of(one): one for one in found}

        def planned_at(one: Verdict) -> int:
            return place.get((one.spec, one.target, one.check, one.dtype), len(rows))

        return sorted(latest.values(), key=planned_at)

    def _write_verdicts(self, verdicts: list[Verdict]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)  # a target may have deleted it
        write_text(self.folder / VERDICTS, "".join(json.dumps(asdict(one)) + "\n" for one in verdicts))

    def _write_facts(self, finished: bool) -> None:
        drawn: dict[str, Counter[str]] = {}
        for at, one in sorted(self._done.items()):
            if one.families:
                drawn.setdefault(self.plan[at].spec, Counter()).update(one.families)
        known = {"families": {spec: dict(found) for spec, found in sorted(drawn.items())}, "finished": finished}
        known |= {"cpu": spent(self._done.values()), "seconds": round(time.monotonic() - self._begin, 2)}
        known |= {"processes": self.at_once}
        write_text(self.folder / FACTS, json.dumps({**self._facts, **known}, indent=1) + "\n")


def exit_status(verdicts: Collection[Verdict], expected: int) -> int:
    """0 conforms, 1 does not, 3 incomplete: fewer verdicts than expected, unfinished ones, or nothing passed."""
    statuses = Counter(one.status for one in verdicts)
    if statuses["fail"] or statuses["fixed"] or statuses["dialect"]:
        return 1
    unfinished = sum(statuses[name] for name in ("inconclusive", "blocked", "crashed", "timeout"))
    nothing_passed = not (statuses["pass"] or statuses["known"])
    return 3 if unfinished or len(verdicts) < expected or nothing_passed else 0


def follow(kept: Session, jobs: int, console: Console) -> None:
    """Carry out what is left of the plan, with a progress bar on a terminal; in this process if one is enough."""
    left, broken = kept.left(), list[planning.Job]()
    count = min(jobs, len(left))
    kept.at_once = count if len(left) == len(kept.plan) else 0
    total, now = planning.planned(left), lambda: running.waited_for(kept.left(), count)
    with progress("verdicts", total, console, now) as advance:
        if count == 1:
            for job, found in running.in_turn(left):
                kept.keep(job, found)
                advance(len(job.rows))
        elif left:
            with running.processes(count) as executor:
                for job, outcome in running.together(left, executor):
                    if outcome is None:
                        broken.append(job)
                        continue
                    kept.keep(job, outcome)
                    advance(len(job.rows))
        for job in broken:
            kept.keep(job, running.by_itself(job, kept.forget_unfinished))
            advance(len(job.rows))


# What is in the folder already ------------------------------------------------------------------------


def clear(folder: Path, all_of_it: bool = True) -> None:
    """Remove the page of an earlier run, or all that it wrote; files of others stay. Raises `SessionError`."""
    ours = [folder / name for name in (*PAGE, *((JOBS, VERDICTS) if all_of_it else ()))]
    there = next((path for path in ours if path.exists()), None)
    if there and not _facts_of(folder):
        no_run = f"{there} is not of a run of lossref (so would {folder / FACTS} say)"
        raise SessionError(f"{no_run}, and is not overwritten; name another place with --out")
    for path in [*ours, *(_cases(folder) if all_of_it else ())]:
        path.unlink(missing_ok=True)


def _cases(folder: Path) -> Iterator[Path]:
    """The saved cases of a run, with the files beside them."""
    for path in (folder / "cases").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and content.keys() >= SAVED:
                yield from (path, path.with_suffix(".npz"))


def _facts_of(folder: Path) -> dict[str, Any]:
    """The run.json of a folder; nothing where there is none, or a foreign one."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads((folder / FACTS).read_bytes())
        return known if isinstance(known, dict) and "lossref" in known else {}
    return {}


def _before(folder: Path, new: dict[str, Any], plan: list[planning.Job]) -> dict[int, Outcome]:
    """The jobs that the run in this folder has finished. Raises `SessionError` where it is another run than this."""
    path = folder / FACTS
    try:
        old = read(path.read_bytes(), "run", whole=False) if path.exists() else {}
    except Fault as error:
        raise SessionError(f"{path} is broken ({error}); run the checks anew, without --resume") from None
    if "plan" not in old:
        return {}
    for name in SAME:
        if old.get(name) != new[name]:
            raise SessionError(f"the run in {folder} cannot be resumed: {_difference(name, old, new)}")
    try:
        return of_lines(_lines(folder / JOBS), [job.rows for job in plan])
    except Fault as error:
        broken = f"{folder / JOBS} is broken ({error})"
        raise SessionError(f"{broken}; delete that line, or run the checks anew, without --resume") from None


def _difference(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if name == "files":
        changed = sorted(old.get(name, {}).items() ^ new[name].items())[0][0]
        return f"{changed} has changed since; run it anew, without --resume"
    if name == "plan":
        return f"it was given as `{old['command']}`, this is `{new['command']}`"
    return f"its {name} is {old.get(name)!r}, this one's {new[name]!r}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that is added to line by line; one that was cut off is none."""
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield dict(json.loads(line))
