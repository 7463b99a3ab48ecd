"""Answers as bytes and back: every ball exactly, and the exceptions, which are answers, too."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from flint import arb

from lossref.core.nouns import Answer, Array, Case, Spec
from lossref.oracle.cache import ROOMS, place, read, write
from lossref.oracle.kept import packed, unpacked
from lossref.oracle.numbers import ZERO
from lossref.oracle.tape import Tie, Uncertified, Undecided

T = TypeVar("T")
NO_ANSWER: dict[str, type[ArithmeticError]] = {one.__name__: one for one in (Tie, Undecided, Uncertified)}
RADIUS_BITS = 30
Packed = dict[str, Any]


class Inexact(Exception):
    """A ball that cannot be written down so that it comes back as it was."""


def answered(what: str, spec: Spec, case: Case, compute: Callable[[], Answer]) -> Answer | ArithmeticError:
    """The answer that `compute` gives, or gave once before; what it raised where there is none."""
    return _outcome(place(what, spec, case), compute, _packed_answer, _answer)


def measured(
    what: str, spec: Spec, case: Case, compute: Callable[[], Mapping[str, Array]], rooms: tuple[str, ...] = ROOMS
) -> Mapping[str, Array] | ArithmeticError:
    """The same for arrays by name, which depend on the code of these rooms."""
    return _outcome(place(what, spec, case, rooms), compute, packed, unpacked)


def kept(where: Path, answer: Answer) -> None:
    """Keep an answer that is known from elsewhere, as if it had been computed."""
    with contextlib.suppress(Inexact):
        write(where, _bytes_of(answer, _packed_answer))


def given(outcome: T | ArithmeticError) -> T:
    """The answer, or a fresh exception of the same kind and sentence: one that is raised twice remembers both."""
    if isinstance(outcome, ArithmeticError):
        raise type(outcome)(*outcome.args)
    return outcome


def _outcome(
    where: Path | None, compute: Callable[[], T], pack: Callable[[T], Packed], unpack: Callable[[Packed], T]
) -> T | ArithmeticError:
    """From the file, or computed and put there."""
    content = None if where is None else read(where)
    if content is not None:
        known = json.loads(zlib.decompress(content))
        return NO_ANSWER[known["raised"]](known["said"]) if "raised" in known else unpack(known)
    try:
        found: T | ArithmeticError = compute()
    except (Tie, Uncertified) as error:
        found = error.with_traceback(None)
    if where is not None:
        with contextlib.suppress(Inexact):
            write(where, _bytes_of(found, pack))
    return found


def _bytes_of(found: T | ArithmeticError, pack: Callable[[T], Packed]) -> bytes:
    if isinstance(found, ArithmeticError):
        content: Packed = {"raised": type(found).__name__, "said": str(found)}
    else:
        content = pack(found)
    return zlib.compress(json.dumps(content).encode(), 1)


def _packed_answer(answer: Answer) -> Packed:
    return {
        "value": {name: _packed_balls(balls) for name, balls in answer.value.items()},
        "gradient": {name: _packed_balls(balls) for name, balls in answer.gradient.items()},
        "condition": packed(answer.condition),
        "margin": float(answer.margin).hex(),
        "counts": [answer.ties, answer.open_branches, answer.bits],
    }


def _answer(known: Packed) -> Answer:
    value = {name: _balls(*balls) for name, balls in known["value"].items()}
    gradient = {name: _balls(*balls) for name, balls in known["gradient"].items()}
    return Answer(value, gradient, unpacked(known["condition"]), float.fromhex(known["margin"]), *known["counts"])


def _packed_balls(balls: Array) -> tuple[list[int], list[str]]:
    """Shape, and the word of every ball; an empty word is 0."""
    return list(balls.shape), ["" if ball is ZERO else _word(ball) for ball in balls.ravel().tolist()]


def _word(ball: arb) -> str:
    """Mantissa and exponent of midpoint and radius, in hexadecimal, so that `_ball` gives back that very ball.

    Without a radius the first two are all. A radius has 30 bits, and what is handed to `arb` as one is rounded up, now
    and then by a unit too much: then it is handed over half a unit smaller. `Inexact` is raised where that does not
    help either.
    """
    if ball.is_zero():
        return ""
    middle = ball.mid().man_exp()
    if ball.is_exact():
        return _written(ball, middle)
    radius, scale = map(int, ball.rad().man_exp())
    spare = RADIUS_BITS - radius.bit_length()
    try:
        return _written(ball, middle, (radius, scale))
    except Inexact:
        return _written(ball, middle, ((radius << spare + 1) - 1, scale - spare - 1))


def _written(ball: arb, *ends: tuple[Any, Any]) -> str:
    again = arb(*ends)
    if again.mid() != ball.mid() or again.rad() != ball.rad():
        raise Inexact
    return " ".join([f"{int(part):x}" for end in ends for part in end])


def _balls(shape: list[int], words: list[str]) -> Array:
    balls = np.empty(len(words), dtype=object)
    for number, word in enumerate(words):
        balls[number] = _ball(word) if word else ZERO
    return balls.reshape(shape)


def _ball(word: str) -> arb:
    parts = [int(part, 16) for part in word.split()]
    return arb((parts[0], parts[1]), (parts[2], parts[3])) if len(parts) > 2 else arb((parts[0], parts[1]))
