"""Whether a record still holds: certified answers bit for bit, references within budget, errors no larger.

What can be found without the oracle is found by `files.folder`; it comes first, and a file that is damaged is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lossref.core.nouns import Case, Spec
from lossref.hosts.probe import itself
from lossref.oracle import cache
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.golden import errors as measured
from lossref.run.golden import sampled
from lossref.run.golden.corpus.full_size import recipes
from lossref.run.golden.errors import Error
from lossref.run.golden.files.folder import content_of, manifest_in, spec_faults, volume_in
from lossref.run.golden.files.form import REFERENCE
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Stored
from lossref.run.golden.judging import asked
from lossref.run.golden.recorded import case_of
from lossref.run.golden.recording import Halfway, certified
from lossref.targets.marks import DTYPES

THIRD = 3


@dataclass(frozen=True)
class Share:
    """Which cases are examined: every one, or of a spec one in so many, beginning with that of the seed."""

    composite: int = 1
    elementary: int = 1
    seed: int = 0

    def cases(self, spec: Spec, stored: Sequence[Stored]) -> Sequence[Stored]:
        """Those of a spec."""
        step = self.composite if spec.composite else self.elementary
        return stored[self.seed % step :: step]


@dataclass
class Found:
    """What a check of one spec found: differences in a sentence each, the errors of its reference, cases examined."""

    problems: list[str] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)
    cases: int = 0


def check(spec: Spec, folder: Path, share: Share = Share(), device: str = "cpu") -> Found:
    """Everything about the record of one spec; its problems are empty if nothing differs."""
    try:
        problems = list(spec_faults(folder, manifest_in(folder), spec.name))
        known = measured.read(content_of(folder, measured.NAME))
        found = Found(problems) if problems else examined(spec, folder, share, device)
    except Damaged as error:
        return Found([str(error)])
    found.problems += measured.grown(found.errors, [one for one in known if one.spec == spec.name])
    return found


@cache.bypassed()
def examined(spec: Spec, folder: Path, share: Share, device: str) -> Found:
    """The cases of a sound record against oracle and reference."""
    found = Found()
    for stored in share.cases(spec, volume_in(folder, spec.name).cases):
        found.cases += 1
        head = f"{spec.name}.json: {stored.entry.id}"
        found.problems += [f"{head}: {problem}" for problem in _of_case(spec, stored, device, found.errors)]
    return found


def _of_case(spec: Spec, stored: Stored, device: str, errors: list[Error]) -> Iterator[str]:
    if set(stored.entry.params) != set(spec.params):
        odd = min(set(stored.entry.params) ^ set(spec.params))
        yield f"params: {odd!r} is {'no longer' if odd in stored.entry.params else 'now'} a parameter of the spec"
        return
    if stored.entry.origin == REFERENCE:
        if dict(stored.entry.drawn) not in list(recipes(spec)):
            yield "drawn: no case of this seed and these sizes is recorded"
            return
        case = sampled.drawn_again(spec, stored.entry.id, stored.entry.drawn)
        if sampled.inputs_digest(case) != stored.entry.digests["inputs"]:
            yield "inputs: the seed now draws other inputs than those of the digest"
            return
    else:
        case = case_of(spec.name, stored)
        yield from against_oracle(spec, case, stored)
    yield from _against_reference(spec, case, stored, device, errors)


def against_oracle(spec: Spec, case: Case, stored: Stored) -> Iterator[str]:
    """What of a recorded case is not, to the bit, what the oracle gives now."""
    try:
        now = certified(spec, case, stored.entry.origin)
    except (Tie, Uncertified, Halfway) as error:
        yield f"answers: the oracle now gives no certified answer: {error}"
        return
    wrong = [name for name in sorted({*now.tensors, *stored.tensors}) if _differ(now, stored, name)]
    wrong += [name for name in ("values", "ties", "radius") if getattr(now.entry, name) != getattr(stored.entry, name)]
    if wrong:
        yield f"{', '.join(wrong)}: the oracle now gives something else"


def _differ(one: Stored, other: Stored, name: str) -> bool:
    a, b = one.tensors.get(name), other.tensors.get(name)
    return a is None or b is None or (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes())


def _against_reference(spec: Spec, case: Case, stored: Stored, device: str, errors: list[Error]) -> Iterator[str]:
    own = replace(itself(spec), device=device)
    for dtype in DTYPES:
        result, evidence = asked(spec, own, stored, case, dtype)
        if evidence.problem:
            yield f"the reference in {dtype} on {device}: {evidence.problem}"
        elif result is not None:
            errors += measured.errors_of(spec, stored, result, dtype, device)
