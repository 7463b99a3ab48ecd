"""Results that are kept for the next time: the latest ones, as many as fit into a number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
MIB = 1 << 20


class Remembered(Generic[P, R]):
    """A function of hashable arguments, with its latest results; the very latest is kept at any size."""

    def __init__(self, function: Callable[P, R], most: int, size: Callable[[R], int]) -> None:
        self._function, self._most, self._size = function, most, size
        self._kept: dict[Hashable, tuple[R, int]] = {}
        self.bytes = 0
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result, kept or fresh."""
        key = (args, tuple(sorted(kwargs.items())))
        known = self._take(key)
        if known is None:
            found = self._function(*args, **kwargs)
            known = found, self._size(found)
            self._take(key)  # the function may have asked itself
        self._kept[key] = known
        self.bytes += known[1]
        while self.bytes > self._most and len(self._kept) > 1:
            self._take(next(iter(self._kept)))
        return known[0]

    def _take(self, key: Hashable) -> tuple[R, int] | None:
        known = self._kept.pop(key, None)
        self.bytes -= known[1] if known else 0
        return known

    def cache_clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0


def remembered(most: int, size: Callable[[R], int]) -> Callable[[Callable[P, R]], Remembered[P, R]]:
    """Keep results of a function while they take no more than `most` bytes; `size` says how many one takes."""
    return lambda function: Remembered(function, most, size)
