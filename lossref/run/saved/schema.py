"""JSON that lossref wrote and anybody may have changed since: read strictly, held against a schema beside this module.

The schemas say what a field is. What only a spec can know (its inputs and parameters) is asked when a case is replayed.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from lossref.hosts.worker.words import plain, short

INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf}


class Fault(ValueError):
    """What is wrong with a file, and in which field; the end of a sentence that begins with the file."""


def read(text: bytes, schema: str, whole: bool = True, infinite: bool = False) -> Any:
    """The object in a JSON text, as the schema says. Raises `Fault`.

    With `whole` no required field may be missing; with `infinite` Infinity is a number, which JSON does not know.
    """
    try:
        content = json.loads(
            text.decode(),
            object_pairs_hook=_once,
            parse_constant=lambda word: _constant(word, infinite),
        )
        fault = _fault(content, schema, whole)
    except RecursionError:
        fault = "it is nested too deeply"
    except Fault as error:
        fault = str(error)
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are
        fault = f"it is no JSON: {short(str(error), 160)}"
    if fault:
        raise Fault(fault)
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Fault(f"{short(next(name for name in names if names.count(name) > 1))}: it stands there twice")
    return found


def _constant(word: str, infinite: bool) -> float:
    if not infinite or word not in INFINITE:
        raise Fault(f"{word} is no JSON")
    return INFINITE[word]


def _fault(content: Any, schema: str, whole: bool) -> str:
    """The first thing that is not as the schema says, with its place; nothing if all is."""
    for error in _validator(schema).iter_errors(content):
        if error.validator != "required" or whole:
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
            return f"{short(place.lstrip('.'))}: {_ends(error.message)}" if place else _ends(error.message)
    return ""


def _ends(message: str) -> str:
    """A message that begins with what was found, which may be long, and ends with what is wrong with it."""
    return short(message, 160) if len(message) <= 160 else f"{short(message, 80)} {plain(message[-80:])}"


@cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft7Validator  # takes its time, and many commands read no file

    return Draft7Validator(json.loads(Path(__file__).with_name(f"{schema}.json").read_text()))
