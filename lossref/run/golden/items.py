"""`pytest --lossref-golden`: the recorded cases alone as test items, for any implementation, without the oracle.

One item for each recorded case and dtype. A case whose answer no dtype of the target has a budget for is not collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossref.checks.material import legal
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.command import CannotAnswer
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import applicable
from lossref.hosts.process import Lodging
from lossref.losses import matching
from lossref.losses import spec as find
from lossref.run.golden.files.folder import volume_in
from lossref.run.golden.files.packing import DTYPES, budgets
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored
from lossref.run.golden.judging import CHECK, evidence, question
from lossref.run.golden.recorded import FOLDER, NoRecord, places, read
from lossref.run.here import as_it_was
from lossref.targets.declaring import declared, has_parameters
from lossref.targets.lodged import lodged
from lossref.targets.marks import Mark
from lossref.targets.resolve import UnknownTarget


class Differs(Exception):
    """An answer that is not the recorded one; the message is what the person reads."""


def recorded_of(spec: str, root: Path) -> tuple[Stored, ...]:
    """The recorded cases of a spec: those in `golden` below the root of the project, else lossref's own."""
    folders = (root / FOLDER, *places()[1:])
    folder = next((one for one in folders if (one / f"{spec}.json").exists()), None)
    if folder is None:
        raise NoRecord(f"{spec} has no recorded cases; record them with `lossref golden record {spec}`")
    try:
        return volume_in(folder, spec).cases
    except Damaged as error:
        raise NoRecord(f"{folder}: {error}") from None


def targets_of(words: Sequence[str], globs: str) -> list[Target]:
    """The targets that words name, of the specs that match. Raises LookupError or RuntimeError where there is none."""
    chosen = {spec.name for spec in matching(globs)}
    found = [one for word in dict.fromkeys(words) for one in lodged(word, None, Lodging()) if one.spec in chosen]
    if not found:
        raise UnknownTarget(f"{', '.join(words)}: nothing of {globs} is declared there")
    return found


def settled(spec: Spec, target: Target, cases: Sequence[tuple[Stored, Case]]) -> Target:
    """The target under the notation in which most recorded cases come out right, where it has no parameter for it."""
    for name, param in spec.params.items():
        if param.convention and name not in target.accepts and name not in target.fixed and not target.unsupported:
            ways = [replace(target, fixed={**target.fixed, name: value}) for value in (param.default, *param.others)]
            target = max(ways, key=lambda way: _right(spec, way, cases))
    return target


def _right(spec: Spec, target: Target, cases: Sequence[tuple[Stored, Case]]) -> int:
    """How many recorded cases of its notation come out right; one that cannot be asked gets none right."""
    dtype = target.dtypes[0]
    try:
        return sum(
            not evidence(spec, target, stored, case, dtype).problem
            for stored, case in cases
            if stored.entry.is_certified and applicable(spec, target, case)
        )
    except (TargetEnded, CannotAnswer):
        return 0


def _is_judged(stored: Stored, dtype: str) -> bool:
    rooms = (array for name, array in stored.tensors.items() if name.startswith("budget/"))
    return any(np.isfinite(budgets(room)[DTYPES.index(dtype)]).any() for room in rooms)


class Recorded(pytest.Collector):
    """One target and spec; its items are recorded cases."""

    def __init__(self, *, target: Callable[[], Target], **rest: Any) -> None:
        super().__init__(**rest)
        self._target = target

    def collect(self) -> Iterator[Item]:
        """The cases that the target can be asked, each in every dtype that it declares."""
        try:
            with as_it_was(0):
                target = self._target()
                spec = find(target.spec)
                cases = [(one, question(spec, one)) for one in recorded_of(spec.name, self.config.rootpath)]
                target = settled(spec, target, cases)
        except LookupError as error:
            raise self.CollectError(f"lossref: {error.args[0] if error.args else error}") from None
        for stored, case in cases:
            for dtype in target.dtypes:
                if dtype in DTYPES and applicable(spec, target, case) and _is_judged(stored, dtype):
                    name = f"{case.id}[{dtype}]"
                    asked = (spec, target, stored, case, dtype)
                    yield Item.from_parent(self, name=name, nodeid=f"{self.nodeid}::{name}", asked=asked)


class Item(pytest.Item):
    """One recorded case in one dtype."""

    def __init__(self, *, asked: tuple[Spec, Target, Stored, Case, str], **rest: Any) -> None:
        super().__init__(**rest)
        self.asked = asked

    def runtest(self) -> None:
        """What differs from the record fails; a declared failure is an xfail, what is unsupported a skip."""
        target = self.asked[1]
        if target.unsupported:
            pytest.skip(target.unsupported)
        try:
            with as_it_was(0):
                found = evidence(*self.asked)
        except CannotAnswer as error:
            pytest.skip(str(error))
        except TargetEnded as error:
            raise Differs(self._said(str(error))) from None
        if found.problem and CHECK in target.known:
            pytest.xfail(f"{found.problem} (known: {target.known[CHECK]})")
        if found.problem or not found.examined:
            raise Differs(self._said(found.problem or "nothing could be compared"))

    def _said(self, problem: str) -> str:
        spec, target, stored, _, dtype = self.asked
        return f"{target.label} as {spec.name}: recorded case {stored.entry.id!r} in {dtype}: {problem}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong; no traceback through lossref."""
        return str(excinfo.value) if isinstance(excinfo.value, Differs) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The file it stands in, and its name there."""
        return self.path, None, self.nodeid.rpartition(".py::")[2]


def collectors(words: Sequence[str], globs: str) -> Callable[[pytest.Session], Iterator[Recorded]]:
    """Finds the targets that words name; what it gives makes a node of each, with its label if several share a spec.

    Raises LookupError or RuntimeError where there is none.
    """
    found = targets_of(words, globs)
    names = [one.spec for one in found]

    def of(session: pytest.Session) -> Iterator[Recorded]:
        for target in found:
            name = target.spec if names.count(target.spec) == 1 else f"{target.spec}[{target.label}]"
            yield Recorded.from_parent(session, name=name, nodeid=name, target=lambda target=target: target)

    return of


def of_mark(parent: pytest.Collector, name: str, thing: object, mark: Mark) -> Recorded:
    """The node of a function or class in a test file, under one of its marks."""
    word = f"{parent.path}:{parent.name}"
    return Recorded.from_parent(parent, name=name, target=lambda: declared(thing, mark, word))


def gone_through(fixture: str, name: str, fixed: Mapping[str, Any], config: pytest.Config) -> dict[str, Any]:
    """What a fixture goes through: `lossref_golden` certified cases of these parameters, `lossref_case` drawn ones."""
    spec = find(name)
    has_parameters(spec, fixed)
    if fixture == "lossref_case":
        drawn = legal(spec, ("corner", "small"), config.option.lossref_tier, config.option.lossref_seed, fixed)
        return {f"{number} {case.id}": case for number, case in enumerate(drawn)}
    found = read(name, (config.rootpath / FOLDER, *places()[1:]))
    return {one.case.id: one for one in found if fixed.items() <= dict(one.case.params).items()}
