"""The decorators: whose implementation of what a function or class is. Nothing heavy is imported for a mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Slack = Mapping[str, tuple[float, str]]
_MARKS = "__lossref_targets__"
DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Mark:
    """What a decorator says about the function or class under it; `collected`: pytest makes it test items."""

    spec: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    slack: Slack = field(default_factory=dict)
    check: str = "*"
    dtypes: tuple[str, ...] = DTYPES
    collected: bool = False
    only: Mapping[str, str] = field(default_factory=dict)


def target(
    spec: str,
    *,
    known: Mapping[str, str] | None = None,
    slack: Slack | None = None,
    only: Mapping[str, str] | None = None,
    **fixed: Any,
) -> Callable[[Decorated], Decorated]:
    """Mark a function or class as an implementation of a spec: `@lossref.target("ciou", xywh=False)`.

    `fixed` are parameters of the spec that the implementation does not have, at the value it
    implements. `known` maps a check to the reason why it fails, `slack` to (factor, reason). `only` maps an input to
    the families that it can take, `only={"label": "hard"}`: by name, or those whose names contain the word.
    """
    return marking(Mark(spec, fixed, known or {}, slack or {}, only=only or {}))


def conforms(
    spec: str,
    *,
    known: Mapping[str, str] | None = None,
    slack: Slack | None = None,
    only: Mapping[str, str] | None = None,
    check: str = "*",
    dtype: str | tuple[str, ...] = DTYPES,
    **fixed: Any,
) -> Callable[[Decorated], Decorated]:
    """The same in a test file: pytest collects the function or class, whatever its name, as one test for each check.

    `check` and `dtype` are those that are asked. `lossref validate test_mine.py` finds it, too.
    """
    dtypes = (dtype,) if isinstance(dtype, str) else tuple(dtype)
    return marking(Mark(spec, fixed, known or {}, slack or {}, check, dtypes, collected=True, only=only or {}))


def marking(mark: Mark) -> Callable[[Decorated], Decorated]:
    """A decorator that adds a mark to those that a function or class has."""

    def decorate(thing: Decorated) -> Decorated:
        setattr(thing, _MARKS, (*marks(thing), mark))
        return thing

    return decorate


def marks(thing: object) -> tuple[Mark, ...]:
    """The marks of a function or class itself: a class does not inherit them."""
    own = getattr(thing, "__dict__", None) if callable(thing) else None
    found = own.get(_MARKS, ()) if own else ()
    return found if isinstance(found, tuple) else ()
