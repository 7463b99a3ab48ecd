"""What is wrong with a spec before anything is asked of it: fields that do not fit together, families that fail.

Each rule is a plain function (spec) -> sentences, and may rely on what the rules before it found in order.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lossref.core.nouns import Array, Case, Domain, Param, Spec, Target
from lossref.core.picking import rng_pick
from lossref.core.plugins import meant

KINDS = ("single", "small", "bulk", "empty")
NEEDED = ("single", "small")


def first_fault(spec: Spec) -> str | None:
    """The first thing that is wrong with a spec, as one sentence with its name and the field; None: nothing."""
    return next((f"{spec.name}: {said}" for rule in RULES for said in rule(spec)), None)


def texts(spec: Spec) -> Iterator[str]:
    """Name, summary and source."""
    for field in ("name", "summary", "cite"):
        if not isinstance(getattr(spec, field), str) or not getattr(spec, field).strip():
            yield f"{field}: expected a text, got {getattr(spec, field)!r}"
    if not spec.name.isidentifier() or keyword.iskeyword(spec.name):
        yield "name: expected letters, digits and _, as files and functions are named"


def sequences(spec: Spec) -> Iterator[str]:
    """The fields that hold several things."""
    for field in ("wrt", "terms", "laws"):
        found = getattr(spec, field)
        if not isinstance(found, (tuple, list)):
            shown = repr(found) if isinstance(found, str) else getattr(found, "__name__", repr(found))
            yield f"{field}: expected a tuple, got {shown}; write ({shown},)"
    if not spec.terms:
        yield "terms: expected a name for each tensor that comes back, ('loss',) say, got none"


def inputs(spec: Spec) -> Iterator[str]:
    """The domains, each by itself and in relation to another."""
    if not isinstance(spec.inputs, Mapping) or not spec.inputs:
        yield 'inputs: expected a dict of domains, {"pred": Domain(...), ...}'
        return
    for name, domain in spec.inputs.items():
        if not isinstance(domain, Domain):
            yield f"inputs: {name} is no Domain but {domain!r}"
        elif not isinstance(domain.families, Mapping) or not all(map(callable, domain.families.values())):
            yield f"inputs: {name}: families: expected a dict of functions that draw rows, e.g. NUMBER_FAMILIES"
        elif not domain.families:
            yield f"inputs: {name}: families: there is none, so that nothing can be drawn"
        elif not 0 <= domain.row <= len(domain.axes.split()):
            yield f"inputs: {name}: row is {domain.row}, expected at most the number of axes in {domain.axes!r}"
        elif domain.given is not None and domain.given not in spec.inputs:
            yield f"inputs: {name}: given is {domain.given!r}, which is no input{meant(domain.given, spec.inputs)}"
        elif domain.given is not None and spec.inputs[domain.given].given is not None:
            yield f"inputs: {name}: given is {domain.given!r}, which is drawn in relation to another input itself"


def params(spec: Spec) -> Iterator[str]:
    """The parameters, which share their names with no input; and what the gradient is taken to."""
    if not isinstance(spec.params, Mapping):
        yield 'params: expected a dict, {"delta": Param(...), ...}; {} where there is none'
        return
    for name, param in spec.params.items():
        if not isinstance(param, Param):
            yield f"params: {name} is {param!r}, expected Param(default, (others,), 'what it does')"
        elif not isinstance(param.others, (tuple, list)):
            yield f"params: {name}: others: expected a tuple, got {param.others!r}; write ({param.others!r},)"
        elif name in spec.inputs:
            yield f"params: {name} is the name of an input, too"
    for name in spec.wrt:
        if name not in spec.inputs:
            yield f"wrt: {name!r} is no input{meant(name, spec.inputs)}"
        elif spec.inputs[name].dtype:
            yield f"wrt: {name!r} is {spec.inputs[name].dtype} and has no gradient"


def calls(spec: Spec) -> Iterator[str]:
    """Whether reference and oracle can be called: inputs in their order and by their names, parameters by theirs."""
    if not callable(spec.reference) or not callable(spec.oracle):
        yield "reference and oracle: expected two functions"
        return
    order, found = list(spec.inputs), _positional(spec.reference)
    if found is not None and found[: len(order)] != order:
        yield (
            f"reference: takes {', '.join(found[: len(order)]) or 'nothing'}, expected the inputs in their order: "
            f"{', '.join(order)}"
        )
    refused = _refusal(spec.reference, order, spec.params) or ""
    if refused:
        yield f"reference: cannot be called with {', '.join([*order, *spec.params])}: {refused}"
    refused = _refusal(spec.oracle, ["m"], {**spec.inputs, **spec.params}) or ""
    if refused:
        yield f"oracle: cannot be called with m, {', '.join([*order, *spec.params])} by their names: {refused}"


def _positional(function: Callable[..., Any]) -> list[str] | None:
    """The names of what can be passed in a row; None where a function does not tell, or takes any number."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return None if any(p.kind is p.VAR_POSITIONAL for p in found) else [p.name for p in found if p.kind in kinds]


def _refusal(function: Callable[..., Any], in_a_row: list[str], by_name: Mapping[str, Any]) -> str | None:
    try:
        inspect.signature(function).bind(*in_a_row, **by_name)
    except TypeError as error:
        return str(error)
    except ValueError:
        return None
    return None


def sizes(spec: Spec) -> Iterator[str]:
    """A size for every axis, in every entry."""
    for kind in NEEDED:
        if not isinstance(spec.sizes, Mapping) or not spec.sizes.get(kind):
            yield f'sizes: {kind!r} is missing; write {{"single": ({{"n": 1}},), "small": ({{"n": 5}},), ...}}'
    for kind, entries in spec.sizes.items():
        if kind not in KINDS:
            yield f"sizes: {kind!r} is no kind of size{meant(kind, KINDS)}; there are {', '.join(KINDS)}"
        elif not isinstance(entries, (tuple, list)) or not all(isinstance(dims, Mapping) for dims in entries):
            yield f"sizes: {kind}: expected a tuple of dicts, got {entries!r}; mind the comma in ({{...}},)"
        else:
            yield from (f"sizes: {kind}: {said}" for dims in entries if (said := _unsized(spec, dims)))


def _unsized(spec: Spec, dims: Mapping[str, Any]) -> str:
    for name, domain in spec.inputs.items():
        try:
            domain.shape(spec.dims(spec.defaults(), dims))
        except KeyError as error:
            return f"{dict(dims)} has no size for the axis {error.args[0]!r} of {name} ({domain.axes})"
        except ValueError as error:
            return f"{name}: {error}"
    return ""


def corners(spec: Spec) -> Iterator[str]:
    """The cases that were written by hand: complete, of the right shape, legal."""
    for case in spec.corners:
        unknown = [name for name in case.inputs if name not in spec.inputs]
        settings = [name for name in case.params if name not in spec.params]
        if unknown:
            yield f"corners: {case.id}: {unknown[0]!r} is no input{meant(unknown[0], spec.inputs)}"
        elif settings:
            yield f"corners: {case.id}: {settings[0]!r} is no parameter{meant(settings[0], spec.params)}"
        elif "shape" not in case.flags:
            said = spec.why_not(case) or _axes(spec, case)
            yield from [f"corners: {case.id}: {said.removeprefix(f'{spec.name}: ')}"] if said else []


def _axes(spec: Spec, case: Case) -> str:
    for name, domain in spec.inputs.items():
        if case.inputs[name].ndim != len(domain.axes.split()):
            axes = ", ".join(domain.axes.split())
            return (
                f"{name}: expected shape ({axes}), got {case.inputs[name].shape}; flag it 'shape' if that is the point"
            )
    return ""


def judges(spec: Spec) -> Iterator[str]:
    """Laws and impostors."""
    for law in spec.laws:
        if not callable(law) or not hasattr(law, "__name__"):
            yield f"laws: {law!r} is no function with a name"
    labels = [one.label for one in spec.impostors if isinstance(one, Target)]
    if len(labels) < len(spec.impostors):
        yield "impostors: expected impostor(label, why, 'checks that must reject it', function), each of them"
    for label in {label for label in labels if labels.count(label) > 1}:
        yield f"impostors: there are two of the name {label!r}"


def drawing(spec: Spec) -> Iterator[str]:
    """Every family draws legal rows of its input, at the first size."""
    dims = spec.dims(spec.defaults(), spec.sizes["single"][0])
    drawn: dict[str, Array] = {}
    for name in sorted(spec.inputs, key=lambda name: spec.inputs[name].given is not None):
        domain = spec.inputs[name]
        for number in domain.allowed(dims).tolist()[::-1]:
            family = f"inputs: {name}: the family {list(domain.families)[number]!r}"
            try:
                order = np.full(domain.count(dims), number)
                drawn[name] = domain.draw(
                    rng_pick(np.random.default_rng(0)), dims, drawn.get(domain.given or ""), order
                )
                said = domain.why_not(domain.layout(drawn[name], spec.defaults()), spec.defaults())
            except Exception as error:  # a family is a stranger's function
                yield f"{family} cannot be drawn: {type(error).__name__}: {error}"
                return
            if said:
                yield f"{family} draws what is not legal: {said}"


RULES = (texts, sequences, inputs, params, calls, sizes, corners, judges, drawing)
