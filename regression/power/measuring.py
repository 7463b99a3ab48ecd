"""One mutant after the other, of one spec: does it differ, and which check rejects it first?"""

from __future__ import annotations

import random
import resource
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from copied import as_target, changed, copied, executed
from mutants import mutants

from lossref.checks.cases.varied import in_full, varied
from lossref.checks.material import material
from lossref.checks.table import CHECKS, Check, applies, cases_for, examine
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.limits import limited
from lossref.hosts.probe import TargetRaised, call, itself
from lossref.losses import specs

PROBES = {"corner": 40, "rare": 6, "single": 60, "small": 6, "setting": 40, "empty": 2, "bulk": 1}
FIRST = ("value", "gradient", "kinks", "reduced")  # the cheap ones that reject most; the others follow in their order
SECONDS = 60  # of one mutant
MEMORY = 10 << 30
SAME = 1e-9


@dataclass(frozen=True)
class Row:
    """One mutant: where and how it was made, and the check that rejected it, or what became of it."""

    spec: str
    file: str
    function: str
    line: int
    operator: str
    outcome: str
    seconds: float


def rows_of(name: str, sample: int, seed: int) -> list[Row]:
    """The mutants of one spec."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # a changed shape may ask for all that there is
    spec = specs()[name]
    target = as_target(copied().spec(name))
    probes = _probes(spec, seed)
    functions = executed(spec, target, probes)
    made = [
        (function, mutant)
        for (file, function_name, first), function in sorted(functions.items(), key=lambda item: item[0])
        for mutant in mutants(Path(file).read_text(), file, function_name, first)
    ]
    random.Random(f"{seed} {name}").shuffle(made)
    truth = [_given(spec, itself(spec), case) for case in probes]
    found, counted = list[Row](), 0
    for function, mutant in made:
        if sample and counted >= sample:
            break
        begin = time.process_time()
        with changed(function, mutant):
            outcome = _outcome(spec, target, probes, truth)
        counted += outcome not in ("equal", "raises")
        place = Path(mutant.file).name, mutant.function, mutant.line, mutant.operator
        found.append(Row(name, *place, outcome, round(time.process_time() - begin, 2)))
    return found


def _probes(spec: Spec, seed: int) -> list[Case]:
    found = [case for kind, most in PROBES.items() for case in _few(spec, kind, most, seed + 100)]
    return [*found, *(one for case in varied(spec, seed + 100) for one in (case, in_full(spec, case, "float64")))]


def _few(spec: Spec, kind: str, most: int, seed: int) -> Sequence[Case]:
    try:
        return material(spec, kind, "quick", seed)[:most]
    except KeyError:  # it has no sizes of that kind
        return ()


Given = tuple[np.ndarray, ...] | str  # type: ignore[type-arg]


def _given(spec: Spec, target: Target, case: Case) -> Given:
    """Value and gradients on a case, or the type of what it raises."""
    try:
        result = call(spec, target, case, "float64", grad=bool(spec.wrt))
    except TargetRaised as error:
        return str(error).partition(":")[0]
    slopes = (result.gradient.get(name) for name in spec.wrt)
    return (result.value, *(np.zeros(0) if g is None else g for g in slopes))


def _outcome(spec: Spec, target: Target, probes: Sequence[Case], truth: Sequence[Given]) -> str:
    try:
        with limited(SECONDS):
            raised, differs = True, False
            for case, want in zip(probes, truth, strict=True):
                got = _given(spec, target, case)
                raised = raised and isinstance(got, str) and got != want
                differs = differs or _differ(got, want)
                if differs and not raised:
                    break
            if raised or not differs:
                return "raises" if raised else "equal"
            return next(_rejecting(spec, target), "survives")
    except TimeoutError:
        return "hangs"


def _differ(one: Given, other: Given) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one is not other and one != other if isinstance(one, str) and isinstance(other, str) else True
    return any(_apart(a, b) for a, b in zip(one, other, strict=True))


def _apart(one: np.ndarray, other: np.ndarray) -> bool:  # type: ignore[type-arg]
    if one.shape != other.shape:
        return True
    size = max(float(np.abs(other[np.isfinite(other)]).max(initial=0.0)), 1e-300)
    return not np.allclose(one, other, rtol=SAME, atol=SAME * min(size, 1.0), equal_nan=True)


def _rejecting(spec: Spec, target: Target) -> Iterator[str]:
    """The first check that rejects a target, on the first case that tells."""
    for one in sorted(CHECKS, key=lambda check: check.name not in FIRST):
        if applies(one, spec) and any(_tells(one, spec, target, dtype) for dtype in one.dtypes):
            yield one.name


def _tells(one: Check, spec: Spec, target: Target, dtype: str) -> bool:
    cases = cases_for(one, spec, target, "quick", 0)
    return any(examine(one, spec, target, one.put(spec, case, dtype), dtype).problem for case in cases)
