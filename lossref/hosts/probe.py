"""Puts a case to a target, wherever it lives, and brings back plain arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from lossref.core.nouns import Array, Case, Spec, Target
from lossref.hosts.worker.carry import carried_out
from lossref.hosts.worker.messages import Call, Question, Reply, Returned

THROUGH = (TimeoutError, KeyboardInterrupt)  # the judge's own alarm, and the person at the keyboard


class TargetRaised(Exception):
    """The target raised; the message is one line with the type and what it said."""


@dataclass(frozen=True)
class Result:
    """What came back: all output numbers in float64, dtype and shape of each term, the gradients (None: none).

    `value` is the array of a single term, or the numbers of several terms in a row.
    """

    value: Array
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    gradient: Mapping[str, Array | None] = field(default_factory=dict)
    gradient_dtype: Mapping[str, str | None] = field(default_factory=dict)


@dataclass
class Story:
    """What happened while one target was asked about one spec, beside its answers; begun anew whenever it is found.

    forgiven: what a second process made good, a sentence each: one is the machine's, which was busy, two are not
    untold:   those of them that no verdict says yet
    ended:    how its process ended since the last verdict, whoever had asked
    firsts:   the first question of each kind, with its reply; `shown_on` the case of each row that tells of them
    """

    forgiven: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)
    firsts: dict[Hashable, tuple[Any, ...]] = field(default_factory=dict)
    shown_on: dict[str, Any] = field(default_factory=dict)

    def forgive(self, said: str) -> None:
        """Something went wrong once, and is told with the next verdict."""
        self.forgiven.append(said)
        self.untold.append(said)

    def taken(self) -> tuple[list[str], list[Any]]:
        """What is to be told with a verdict, which is told once."""
        said, ended = self.untold, self.ended
        self.untold, self.ended = [], []
        return said, ended


def itself(spec: Spec) -> Target:
    """The spec's own reference, as a target like any other."""
    build, own = partial(partial, spec.reference), spec.defaults()
    return Target(spec.name, build, "reference", tuple(spec.params), defaults=own, trusted=True)


def applicable(spec: Spec, target: Target, case: Case) -> bool:
    """Whether the target can be asked: a parameter it lacks must stand at the value it implements."""
    stands = {**spec.defaults(), **target.fixed}
    return all(case.params[name] == value for name, value in stands.items() if name not in target.accepts)


def on_device(spec: Spec, case: Case, device: str) -> Case:
    """The case as it is answered for a device; the target there is still given the parameters that it had."""
    if not device.startswith("cuda"):
        return case
    there = {name: dict(param.on_cuda).get(case.params.get(name)) for name, param in spec.params.items()}
    meant = {name: value for name, value in there.items() if value is not None}
    asked = {name: case.params[name] for name in meant}
    return replace(case, params={**case.params, **meant}, asked=asked) if meant else case


def call_of(spec: Spec, inputs: Mapping[str, Array], dtype: str, wrt: Sequence[str] = (), **how: Any) -> Call:
    """One call with these inputs, each in the dtype under test where it has none of its own."""
    ordered = {name: np.asarray(inputs[name], dtype=np.float64) for name in spec.inputs}
    return Call(ordered, {name: domain.dtype or dtype for name, domain in spec.inputs.items()}, tuple(wrt), **how)


def question_of(spec: Spec, target: Target, case: Case, calls: Sequence[Call], watch: bool = False) -> Question:
    """The target is built with the parameters of the case that it accepts, and called."""
    params = case.params if target.device == "cpu" else {**case.params, **case.asked}
    kept = {name: value for name, value in params.items() if name in target.accepts}
    absent = spec.absent({**spec.defaults(), **case.params})
    return Question(spec.terms, kept, tuple(calls), target.device, watch, absent, _others(spec, kept))


def _others(spec: Spec, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting at another value."""
    values = {name: (param.default, *param.others) for name, param in spec.params.items() if name in kept}
    return {name: next((one for one in found if one != kept[name]), kept[name]) for name, found in values.items()}


def ask(spec: Spec, target: Target, case: Case, calls: Sequence[Call], watch: bool = False) -> Reply:
    """What the target, built with the parameters of the case that it accepts, gives to these calls.

    Its story keeps the first question in each dtype, with the reply: what it was asked then, it can be asked again.
    """
    reply = _asked(target, question_of(spec, target, case, calls, watch))
    if target.story is not None and len(calls) == 1:
        target.story.firsts.setdefault(tuple(calls[0].dtypes.values()), (case, calls[0], reply.returned[0]))
    return reply


def _asked(target: Target, question: Question) -> Reply:
    if target.host is None:
        return carried_out(target.build, question, not target.trusted, THROUGH)
    reply: Reply = target.host.ask(target.thing, question, target.story)
    return reply


def call(spec: Spec, target: Target, case: Case, dtype: str, grad: bool = False) -> Result:
    """Value and, if asked for, the gradient of the weighted sum of all outputs."""
    return call_on(spec, target, case, call_of(spec, case.inputs, dtype, spec.wrt if grad and target.gradients else ()))


def call_on(spec: Spec, target: Target, case: Case, one: Call) -> Result:
    """The same for a call that is already described."""
    return result_of(ask(spec, target, case, (one,)).returned[0])


def by_term(found: Result) -> list[Array]:
    """The terms, each in its shape."""
    ends = np.cumsum([int(np.prod(shape)) for shape in found.shapes])[:-1]
    parts = np.split(np.asarray(found.value).ravel(), ends)
    return [part.reshape(shape) for part, shape in zip(parts, found.shapes, strict=True)]


def result_of(returned: Returned) -> Result:
    """What one call gave. Raises `TargetRaised` where that is an exception."""
    if returned.raised:
        raise TargetRaised(returned.raised)
    values = returned.values
    value = values[0] if len(values) == 1 else np.concatenate([array.ravel() for array in values])
    shapes = tuple(tuple(array.shape) for array in values)
    return Result(value, tuple(returned.dtypes), shapes, dict(returned.gradients), dict(returned.gradient_dtypes))
