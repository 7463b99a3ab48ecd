"""The checks as test items: `pytest --lossref-target mypkg.losses`, and `@lossref.conforms("ciou")` in a test file.

A project that has lossref installed loads this file whenever pytest starts: it imports nothing but pytest and what
marks are. Torch and the rest are imported where something is to be collected.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import pytest

from lossref.targets.marks import Mark, marks

if TYPE_CHECKING:
    from lossref.core.nouns import Case, Target
    from lossref.run.golden.recorded import Recorded
    from lossref.run.plan import Job

Report = pytest.CollectReport
NODES = pytest.StashKey[Callable[[pytest.Session], Iterable[pytest.Collector]]]()


class DoesNotConform(Exception):
    """A check that did not pass; the message is what the person reads."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is asked beside the tests in files, and how thoroughly."""
    group = parser.getgroup("lossref", "lossref: is this loss implementation right?")
    for name, metavar, what in (
        ("target", "TARGET", "check this module, file or package, too; may be repeated"),
        ("spec", "GLOB", "of the targets only specs that match ('*iou'); may be repeated"),
        ("check", "GLOB", "of the targets only checks that match; may be repeated"),
    ):
        group.addoption(f"--lossref-{name}", action="append", default=[], metavar=metavar, help=what)
    group.addoption("--lossref-golden", action="store_true", help="ask recorded cases alone, without the oracle")
    group.addoption("--lossref-tier", choices=("quick", "full"), default="quick", help="full: ten times the cases")
    group.addoption("--lossref-seed", type=int, default=0, metavar="N", help="seed of the drawn cases")


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known under --strict-markers."""
    line = "lossref(spec, **fixed): the spec whose cases the fixtures `lossref_case` and `lossref_golden` go through"
    config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Find what the options name: a typo is one sentence, and no worker of xdist is started for it."""
    asked = session.config.option
    if not asked.lossref_target:
        return
    words = list(dict.fromkeys(asked.lossref_target))
    specs, check = (",".join(given or ["*"]) for given in (asked.lossref_spec, asked.lossref_check))
    try:
        if asked.lossref_golden:
            from lossref.run.golden.items import collectors

            session.config.stash[NODES] = collectors(words, specs)
            return
        from lossref.run.plan import plan, planned

        jobs = plan(words, specs, check, tier=asked.lossref_tier, seed=asked.lossref_seed)
    except (LookupError, RuntimeError) as error:
        raise pytest.UsageError(f"lossref: {_sentence(error)}") from None
    if not planned(jobs):
        raise pytest.UsageError(f"lossref: {', '.join(words)}: nothing to check of {specs} with {check}")
    session.config.stash[NODES] = lambda session: _of_options(session, jobs)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Report, Report]:
    """The targets of the options stand beside the files of the session."""
    report = yield
    nodes = collector.config.stash.get(NODES, None)
    if nodes and report.passed and isinstance(collector, pytest.Session):
        report.result = [*report.result, *nodes(collector)]
    return report


def _of_options(session: pytest.Session, jobs: list[Job]) -> Iterator[Asked]:
    """One node for each target and spec; the target is named where others share its spec."""
    from lossref.targets.lodged import lodged, settled

    def of(job: Job) -> Target:
        return settled(lodged(job.word, job.as_spec, job.lodging)[job.thing])

    specs, labels = Counter(job.spec for job in jobs), Counter((job.spec, job.label) for job in jobs)
    for job in jobs:
        who = job.label if labels[job.spec, job.label] == 1 else f"{job.word}:{job.label}"
        name = job.spec if specs[job.spec] == 1 else f"{job.spec}[{who}]"
        yield Asked.from_parent(session, name=name, nodeid=name, job=job, find=lambda job=job: of(job))


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> Conforming | None:
    """A function or class under `lossref.conforms`, whatever it is called."""
    found = tuple(mark for mark in marks(obj) if mark.collected)
    return Conforming.from_parent(collector, name=name, thing=obj, marks=found) if found else None


class Conforming(pytest.Collector):
    """A function or class in a test file that is to conform to one spec or several."""

    def __init__(self, *, thing: object, marks: tuple[Mark, ...], **rest: Any) -> None:
        super().__init__(**rest)
        self.thing, self.marks = thing, marks

    def collect(self) -> Iterator[pytest.Collector]:
        """One node for each spec; the fixed parameters are named where it stands there twice."""
        specs = Counter(mark.spec for mark in self.marks)
        for mark in self.marks:
            fixed = ",".join(f"{name}={value!r}" for name, value in mark.fixed.items())
            name = f"{mark.spec}[{fixed}]" if fixed and specs[mark.spec] > 1 else mark.spec
            if self.config.option.lossref_golden:
                from lossref.run.golden.items import of_mark

                yield of_mark(self, name, self.thing, mark)
            else:
                job, find = self._asked(mark)
                yield Asked.from_parent(self, name=name, job=job, find=find)

    def _asked(self, mark: Mark) -> tuple[Job, Callable[[], Target]]:
        from lossref import losses
        from lossref.run.plan import Job, rows_of
        from lossref.targets.declaring import declared
        from lossref.targets.resolve import ready

        word, asked = f"{self.path}:{self.name}", self.config.option
        try:
            rows = rows_of(losses.spec(mark.spec), mark.check, mark.dtypes)
            target = declared(self.thing, mark, word)
        except LookupError as error:
            raise self.CollectError(f"lossref: {_sentence(error)}") from None
        if not rows:
            raise self.CollectError(f"lossref: no check that matches {mark.check!r} runs in {', '.join(mark.dtypes)}")
        job = Job(word, mark.spec, target.label, rows, asked.lossref_tier, asked.lossref_seed, "")
        return job, lambda: ready(target)


class Asked(pytest.Collector):
    """One target that is asked about one spec; its items are the checks."""

    def __init__(self, *, job: Job, find: Callable[[], Target], **rest: Any) -> None:
        super().__init__(**rest)
        self.job, self._find = job, find

    @cached_property
    def target(self) -> Target:
        """Found, with its notation settled, when the first item runs."""
        from lossref.run.here import as_it_was

        with as_it_was(self.job.seed):
            return self._find()

    def collect(self) -> Iterator[Item]:
        """The rows of the job, in their order; each id is given as one string, as --lf reads it from its file."""
        for check, dtype in self.job.rows:
            name = f"{check}[{dtype}]"
            yield Item.from_parent(self, name=name, nodeid=f"{self.nodeid}::{name}", row=(check, dtype))


class Item(pytest.Item):
    """One check in one dtype."""

    parent: Asked

    def __init__(self, *, row: tuple[str, str], **rest: Any) -> None:
        super().__init__(**rest)
        self.row = row

    def runtest(self) -> None:
        """A known failure is an xfail, what is unsupported a skip, and whatever else does not pass a failure."""
        from lossref.api import asked_here
        from lossref.run.findings.words import told

        job = replace(self.parent.job, rows=(self.row,), out=self._folder())
        (verdict,) = asked_here(job, self.parent.target)
        if verdict.status == "unsupported":
            pytest.skip(verdict.note)
        if verdict.status == "known":
            pytest.xfail(verdict.note)  # returns under --runxfail
        if verdict.status != "pass":
            raise DoesNotConform(f"{verdict.target} as {verdict.spec}: {told(verdict)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, why, and how to see it again; no traceback through lossref."""
        error = excinfo.value
        return str(error) if isinstance(error, DoesNotConform) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The file it stands in, and its name there."""
        return self.path, None, self.nodeid.rpartition(".py::")[2]

    def _folder(self) -> str:
        """Where failing cases go: below the cache of pytest, nowhere without one."""
        from lossref.run.saved import file_name

        cache: pytest.Cache | None = getattr(self.config, "cache", None)
        return os.path.relpath(cache.mkdir("lossref") / file_name(self.parent.nodeid)) if cache else ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case of the marked spec."""
    for fixture in ("lossref_case", "lossref_golden"):
        if fixture in metafunc.fixturenames:
            from lossref.run.golden.items import gone_through

            marker = metafunc.definition.get_closest_marker("lossref")
            if marker is None or len(marker.args) != 1:
                raise pytest.Collector.CollectError(f'{fixture} needs a spec: @pytest.mark.lossref("ciou")')
            try:
                cases = gone_through(fixture, marker.args[0], marker.kwargs, metafunc.config)
            except LookupError as error:
                raise pytest.Collector.CollectError(f"lossref: {_sentence(error)}") from None
            metafunc.parametrize(fixture, list(cases.values()), ids=list(cases), indirect=True)


@pytest.fixture
def lossref_case(request: pytest.FixtureRequest) -> Case:
    """A legal case of the spec in `@pytest.mark.lossref("ciou")`: its corners, and small ones that are drawn."""
    return cast("Case", request.param)


@pytest.fixture
def lossref_golden(request: pytest.FixtureRequest) -> Recorded:
    """A recorded case of the spec in `@pytest.mark.lossref("ciou")`, with the certified value and gradient."""
    return cast("Recorded", request.param)


def _sentence(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__
