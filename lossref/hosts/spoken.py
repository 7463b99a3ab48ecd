"""What a peer in another language says, held against PROTOCOL.md before anything is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossref.core.axes import frozen
from lossref.hosts.worker.messages import Array, Call, Question, Returned
from lossref.hosts.worker.words import plain

PROTOCOL = 1


class Nonsense(ValueError):
    """A message that breaks the protocol; the text says where."""


@dataclass(frozen=True)
class Offer:
    """One loss of a peer, as it describes it."""

    spec: str
    name: str
    params: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")
    gradients: bool = True
    weights: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, str] = field(default_factory=dict)


def _only(known: str, said: Mapping[str, Any], where: str) -> None:
    """Raise for a field that the protocol does not have: what is misspelt would otherwise be ignored."""
    if unknown := set(said) - set(known.split()):
        raise Nonsense(f"{where} has an unknown field {plain(str(min(unknown)))[:40]!r}")


def offers(said: Mapping[str, Any]) -> tuple[Offer, ...]:
    """The losses that it describes. Raises `Nonsense`."""
    _only("protocol losses arrays", said, "what it describes")
    if said.get("protocol") != PROTOCOL:
        raise Nonsense(f"it speaks protocol {said.get('protocol')!r}, expected {PROTOCOL}")
    listed = said.get("losses")
    if not isinstance(listed, list) or not listed:
        raise Nonsense("it describes no losses: expected a list of objects with 'spec'")
    return tuple(map(_offer, listed))


def _offer(one: Any) -> Offer:
    if not isinstance(one, dict) or not isinstance(one.get("spec"), str):
        raise Nonsense("a loss that it describes has no 'spec'")
    _only("spec " + " ".join(FORMS), one, "a loss that it describes")
    for word, (form, problem) in FORMS.items():
        if word in one and not form(one[word]):
            raise Nonsense(f"a loss that it describes has {word!r} that is {problem}")
    lists: dict[str, Any] = {name: tuple(one[name]) for name in ("params", "dtypes") if name in one}
    given = {name: one[name] for name in ("known", "only", "gradients", "weights") if name in one}
    fixed = {name: frozen(value) for name, value in one.get("fixed", {}).items()}
    return Offer(one["spec"], plain(one.get("name") or one["spec"])[:80], fixed=fixed, **lists, **given)


def _texts(listed: Any, among: tuple[str, ...] = ()) -> bool:
    """Whether it is a list of strings, of certain ones if there are any."""
    return isinstance(listed, list) and all(isinstance(one, str) and one in (among or (one,)) for one in listed)


FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda x: isinstance(x, str), "no string"),
    "params": (_texts, "no list of strings"),
    "fixed": (lambda x: isinstance(x, dict), "no object"),
    "dtypes": (lambda x: _texts(x, ("float64", "float32")), "no list of 'float64' and 'float32'"),
    "gradients": (lambda x: isinstance(x, bool), "neither true nor false"),
    "weights": (lambda x: isinstance(x, bool), "neither true nor false"),
    "known": (lambda x: isinstance(x, dict) and _texts(list(x.values())), "no object of strings"),
    "only": (lambda x: isinstance(x, dict) and _texts(list(x.values())), "no object of strings"),
}


def returned(said: Mapping[str, Any], question: Question) -> tuple[Returned, ...]:
    """What it returned for the calls of a question. Raises `Nonsense`."""
    _only("raised returned arrays", said, "its answer")
    if "raised" in said:
        return (Returned(plain(str(said["raised"]))[:200]),) * len(question.calls)
    listed = said.get("returned")
    if not isinstance(listed, list) or len(listed) != len(question.calls):
        raise Nonsense(f"it returned no list of {len(question.calls)} results")
    pairs = zip(listed, question.calls, strict=True)
    return tuple(_one(one, call, question, said["arrays"]) for one, call in pairs)


def _one(one: Any, call: Call, question: Question, arrays: Sequence[Array]) -> Returned:
    if not isinstance(one, dict):
        raise Nonsense("a result is no object")
    _only("raised values gradients", one, "a result")
    if "raised" in one:
        return Returned(plain(str(one["raised"]))[:200])
    values = one.get("values")
    terms = question.terms
    if not isinstance(values, dict) or not set(terms) - set(question.absent) <= set(values) <= set(terms):
        raise Nonsense(f"a result has no values of {', '.join(terms)}")
    found = [_taken(values[term], arrays, term) if term in values else np.zeros(()) for term in terms]
    gradients = one.get("gradients", {})
    if not isinstance(gradients, dict) or set(gradients) - set(call.wrt):
        raise Nonsense("a result has gradients that nobody asked for")
    taken = {name: None if entry is None else _taken(entry, arrays, f"d/d{name}") for name, entry in gradients.items()}
    full = {name: taken.get(name) for name in call.wrt} if taken else {}
    return Returned(
        values=tuple(np.asarray(array, dtype=np.float64) for array in found),
        dtypes=tuple(str(array.dtype) for array in found),
        gradients={name: None if g is None else np.asarray(g, dtype=np.float64) for name, g in full.items()},
        gradient_dtypes={name: None if g is None else str(g.dtype) for name, g in full.items()},
    )


def _taken(entry: Any, arrays: Sequence[Array], what: str) -> Array:
    number = entry.get("array") if isinstance(entry, dict) else None
    if type(number) is not int or not 0 <= number < len(arrays):
        raise Nonsense(f"{what}: expected {{'array': number}} of an array that was sent")
    return arrays[number]
