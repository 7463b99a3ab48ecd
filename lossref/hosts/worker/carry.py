"""Carries out one question on something that can be built and called."""

from __future__ import annotations

import contextlib
import copy
import pickle
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from . import state, tensors
from .messages import Call, Question, Reply, Returned
from .words import told

Build = Callable[..., Callable[..., Any]]
_grad, _clock, _is_tensor = torch.autograd.grad, time.perf_counter, torch.is_tensor


class Ended(BaseException):
    """The target wants the process to end: SystemExit, which is no answer."""


Through = tuple[type[BaseException], ...]


def carried_out(build: Build, question: Question, guard: bool = True, through: Through = ()) -> Reply:
    """Build, call, and see what is different afterwards.

    With `guard` the state of the process is put back. What a target raises is an answer, but for the exceptions that
    are to come `through`.
    """
    begin = _clock()
    before = state.of_process() if guard else {}
    changed: list[tuple[str, str, str]] = []
    returned: tuple[Returned, ...] = ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned, changed = _returned(build, question, through, before)
    finally:
        if guard:
            changed += state.put_back(before)
    return Reply(returned, tuple(changed), seconds=_clock() - begin)


def _returned(
    build: Build, question: Question, through: Through, before: Mapping[str, Any]
) -> tuple[tuple[Returned, ...], list[tuple[str, str, str]]]:
    try:
        made = built(build, question)
    except through:
        raise
    except BaseException as error:  # a target may raise anything
        return tuple(_raised(error) for _ in question.calls), []
    state.put_back({name: was for name, was in before.items() if name == state.RANDOM})  # first weights may be drawn
    attributes = state.of_object(made) if question.watch else {}
    kept: list[tuple[Returned, dict[str, Tensor]]] = [
        _called(build, made, question, call, through) for call in question.calls
    ]
    changed = state.differences(attributes, state.of_object(made)) if question.watch else []
    if len(kept) == 1:
        return (kept[0][0],), changed
    return tuple(_lasting(one, made_of) for one, made_of in kept), changed


def built(build: Build, question: Question) -> Callable[..., Any]:
    """What is called; one that needs the sizes of the inputs is told those of the first call."""
    made = build(**question.params)
    if isinstance(made, torch.nn.Module) and question.device != "cpu":
        made = made.to(question.device)
    if hasattr(made, "prepare"):
        first = question.calls[0]
        floating = next((d for d in first.dtypes.values() if d.startswith(("float", "bfloat"))), "float32")
        made.prepare({name: array.shape for name, array in first.inputs.items()}, floating, question.device)
    return made


def _raised(error: BaseException) -> Returned:
    if isinstance(error, SystemExit):
        raise Ended(f"exit code {error.code}") from error
    return Returned(told(error))


def _called(
    build: Build, made: Callable[..., Any], question: Question, call: Call, through: Through
) -> tuple[Returned, dict[str, Tensor]]:
    try:
        with state.standing(call.context) as moved, in_mode(made, call.context):
            inputs = tensors.given(call, question.device)
            before = tensors.copies(inputs) if question.watch else {}
            made = _in_place_of(made, build, question, call.context)
            if call.context == tensors.BESIDE:
                _another(build, question, call)
            if call.context in tensors.REFILLED:
                _refilled(made, inputs, call, question.device)
            with state.casting(call.context, question.device):
                outs = terms_of(made(*inputs.values()), question.terms, question.absent)
            if call.context == tensors.BETWEEN:
                _on_others(made, call, question.device)
            found = gradients(outs, {name: inputs[name] for name in call.wrt}, call)
    except through:
        raise
    except BaseException as error:  # a target may raise anything
        return _raised(error), {}
    return (
        Returned(
            values=tuple(tensors.array_of(out) for out in outs),
            dtypes=tuple(tensors.name_of(out.dtype) for out in outs),
            gradients={name: None if g is None else tensors.array_of(g) for name, g in found.items()},
            gradient_dtypes={name: None if g is None else tensors.name_of(g.dtype) for name, g in found.items()},
            written=tensors.written(before, inputs, call.wrt) if question.watch else (),
            moved=tuple(moved),
        ),
        dict(zip(question.terms, outs, strict=True)) | {f"d/d{name}": g for name, g in found.items() if g is not None},
    )


@contextlib.contextmanager
def in_mode(made: Any, word: str) -> Iterator[None]:
    """The modules that something is, or is made of, stand in the mode of a word, and then as they stood."""
    modules = _modules(made) if word in (tensors.EVALUATED, tensors.TRAINED) else []
    before = [(part, part.training) for one in modules for part in one.modules()]
    try:
        for training in (False,) if word == tensors.EVALUATED else (False, True):
            for one in modules:
                one.train(training)
        yield
    finally:
        for part, training in before:
            part.training = training


def _in_place_of(made: Any, build: Build, question: Question, word: str) -> Any:
    """What is called: the thing as it is, a copy of it, or one that takes its inputs in another form."""
    if word in tensors.BATCHES:
        return made.in_form(word)
    if word == tensors.COPIED:
        return copy.deepcopy(made)
    if word not in (tensors.PICKLED, tensors.DOUBLED, tensors.LOADED):
        return made
    parts = _modules(made)
    if not parts:
        raise TypeError("no module is in it")
    if word == tensors.PICKLED:
        return copy.deepcopy(made, {id(part): pickle.loads(pickle.dumps(part)) for part in parts})
    other = copy.deepcopy(made) if word == tensors.DOUBLED else built(build, question)
    for part, own in zip(parts, _modules(other), strict=True):
        own.double() if word == tensors.DOUBLED else own.load_state_dict(part.state_dict())
    return other


def _modules(thing: Any, depth: int = 3) -> list[torch.nn.Module]:
    """The modules that something is, or is made of."""
    if isinstance(thing, torch.nn.Module):
        return [thing]
    if not depth or isinstance(thing, (type, types.FunctionType, types.ModuleType)):
        return []
    parts = (getattr(thing, "func", None), *getattr(thing, "__dict__", {}).values())
    return [one for part in parts for one in _modules(part, depth - 1)]


def _others(call: Call, device: str) -> dict[str, Tensor]:
    """Other inputs of the same shapes: their first rows, repeated."""
    return tensors.given(replace(call, layout="repeated", context=""), device)


def _on_others(made: Callable[..., Any], call: Call, device: str) -> None:
    """A call with other numbers, of which it may say what it likes."""
    with contextlib.suppress(Exception):
        made(*_others(call, device).values())


def _refilled(made: Callable[..., Any], inputs: Mapping[str, Tensor], call: Call, device: str) -> None:
    """The inputs are seen by a call with other numbers in them, which are then gone."""
    wanted = tensors.copies(inputs)
    tensors.fill(inputs, _others(call, device))
    with contextlib.suppress(Exception):  # of other numbers it may say what it likes
        made(*inputs.values())
    tensors.fill(inputs, wanted)


def _another(build: Build, question: Question, call: Call) -> None:
    """One of the same kind with other settings is made, and called; it may refuse inputs that are not its own."""
    with contextlib.suppress(Exception):
        built(build, replace(question, params=question.beside))(*tensors.given(call, question.device).values())


def terms_of(out: Any, terms: tuple[str, ...], absent: tuple[str, ...] = ()) -> tuple[Tensor, ...]:
    """The tensors that were returned, one for each term, in the spec's order; 0 for an absent one that is left out."""
    found = (out,) if len(terms) == 1 else _listed(out, len(terms), bool(absent))
    if absent and len(found) == len(terms) - len(absent):
        present = iter(found)
        found = tuple(found[0].new_zeros(()) if term in absent else next(present) for term in terms)
    if len(found) != len(terms):
        raise TypeError(
            f"returned {len(found)} result{'s' * (len(found) != 1)}, expected {len(terms)}: {', '.join(terms)}"
        )
    return tuple(tensors.dense(one, term) for term, one in zip(terms, found, strict=True))


def _listed(out: Any, terms: int, absent: bool) -> tuple[Any, ...]:
    """The terms of a vector, a tuple, a dict, or a pair as training scripts are given it.

    That is (vector, items), of which the vector may be all terms, or (0-d, items); where there is nothing to train it
    may be two vectors of zeros, as long as the items.
    """
    if _is_tensor(out) and out.ndim == 0:
        return (out,)
    found = tuple(out.values() if isinstance(out, Mapping) else out)
    if len(found) != 2 or terms == 2 or not all(_is_tensor(one) and one.ndim < 2 for one in found) or not found[1].ndim:
        return found
    first, second = (one.reshape(-1).unbind() for one in found)
    if len(first) + len(second) == terms:
        return (*first, *second)
    if not absent and len(first) == len(second) == terms - 1 and not found[0].any():
        return (found[0].sum(), *second)
    return tuple(first) if found[0].ndim else found


def gradients(outs: tuple[Tensor, ...], inputs: Mapping[str, Tensor], call: Call) -> dict[str, Tensor | None]:
    """The gradient of the weighted sum of all terms; empty if no term is connected to any input."""
    if not inputs:
        return {}
    pairs = [(out, w) for out, w in zip(outs, tensors.upstream(outs, call), strict=True) if out.requires_grad]
    if not pairs:
        return {}
    ends, factors = zip(*pairs, strict=True)
    if call.context == tensors.TWICE:
        _grad(ends, tuple(inputs.values()), factors, allow_unused=True, retain_graph=True)
    found = _grad(ends, tuple(inputs.values()), factors, allow_unused=True)
    return dict(zip(inputs, found, strict=True))


def _lasting(one: Returned, kept: Mapping[str, Tensor]) -> Returned:
    """With the names of the terms and gradients whose numbers are no longer what they were when they were returned."""
    slopes = {f"d/d{name}": array for name, array in one.gradients.items()}
    were = {**slopes, **dict(zip(kept, one.values, strict=False))}
    gone = [name for name, x in kept.items() if not _equal(tensors.array_of(x), were[name])]
    return replace(one, fleeting=tuple(gone)) if gone else one


def _equal(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and ((a == b) | ((a != a) & (b != b))).all())
