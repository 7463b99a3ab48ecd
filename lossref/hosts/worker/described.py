"""What can be said of a function or a class without calling it: where it is, what it takes, what it borrows."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from .words import plain, short

OURS = ("lossref.losses", "lossref.editions")


def described(thing: Any, attribute: str) -> dict[str, Any]:
    """What can be said of a function or a class: where it is, and which parameters it has."""
    bare = inspect.unwrap(thing)
    name = str(getattr(thing, "__name__", type(thing).__name__))
    qualname = plain(str(getattr(thing, "__qualname__", type(thing).__qualname__)))
    return {
        "attribute": attribute,
        "name": short(attribute if name == "<lambda>" else name),
        "where": f"{_file(bare)}:{_line(bare)} {qualname}",
        "at_home": _is_at_home(thing),
        "is_class": isinstance(thing, type),
        "parameters": parameters(thing),
        "takes": [] if isinstance(thing, type) else _takes(thing),
        "borrows": _borrowed(bare),
        "defaults": defaults(thing),
    }


def _is_at_home(thing: Any) -> bool:
    """Whether its module has this very object under its name, and no copy or wrapper of it."""
    home = sys.modules.get(str(getattr(thing, "__module__", "")))
    return getattr(home, str(getattr(thing, "__qualname__", "")), None) is thing


def _file(thing: Any) -> str:
    try:
        return inspect.getsourcefile(thing) or ""
    except TypeError:
        return ""


def _line(thing: Any) -> int:
    try:
        return _line_of_class(thing) if isinstance(thing, type) else inspect.findsource(thing)[1] + 1
    except (OSError, TypeError, SyntaxError):
        return 0


def _line_of_class(thing: type) -> int:
    """As `inspect` finds it, which parses the whole file for each class: of a package's 29 that took a second."""
    file = inspect.getsourcefile(thing) or inspect.getfile(thing)
    linecache.checkcache(file)
    lines = linecache.getlines(file, getattr(sys.modules.get(thing.__module__), "__dict__", None))
    return _classes("".join(lines)).get(thing.__qualname__, 0)


@lru_cache(maxsize=4)
def _classes(source: str) -> dict[str, int]:
    """The line of every class of a source, or of its first decorator, by qualified name; of two the first."""
    found = dict[str, int]()
    waiting: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, ast.ClassDef):
            first: ast.stmt | ast.expr = node.decorator_list[0] if node.decorator_list else node
            found.setdefault(f"{path}{node.name}", first.lineno)
            path = f"{path}{node.name}."
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            path = f"{path}{node.name}.<locals>."
        elif isinstance(node, ast.expr):
            continue
        waiting += [(below, path) for below in ast.iter_child_nodes(node)][::-1]
    return found


def _borrowed(thing: Any) -> str:
    """A loss of lossref's own that a function, or a method of a class, names; helpers of it are not looked into."""
    parts = vars(thing).values() if isinstance(thing, type) else (thing,)
    names = (name for part in parts if inspect.isfunction(part) for name in _foreign(part.__code__, part.__globals__))
    return next(names, "")


def _foreign(code: CodeType, known: Mapping[str, Any]) -> Iterator[str]:
    losses = getattr(sys.modules.get("lossref"), "LOSSES", ())
    for name in code.co_names:
        thing = known.get(name)
        if name.startswith(OURS):
            yield name
        elif inspect.ismodule(thing) and thing.__name__ == "lossref":
            yield from (f"lossref.{attribute}" for attribute in code.co_names if attribute in losses)
        elif str(getattr(thing, "__name__" if inspect.ismodule(thing) else "__module__", "")).startswith(OURS):
            yield name
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _foreign(inner, known)


def parameters(thing: Any) -> list[str]:
    """Names of the parameters of a callable; none where it does not tell (a C function, say)."""
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return []


def defaults(thing: Any) -> dict[str, Any]:
    """The parameters that can be left out, each with what then stands for it; None for what is no plain value."""
    try:
        listed = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return {}
    kept = {one.name: one.default for one in listed if one.default is not one.empty}
    return {name: value if isinstance(value, (bool, int, float, str)) else None for name, value in kept.items()}


def _takes(thing: Any) -> list[tuple[str, bool, bool]]:
    """Each parameter with whether it takes a place, and whether it can be left out; none where any number is taken."""
    try:
        listed = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return []
    if any(one.kind is one.VAR_POSITIONAL for one in listed):
        return []
    kept = [one for one in listed if one.kind is not one.VAR_KEYWORD]
    return [(one.name, one.kind is not one.KEYWORD_ONLY, one.default is not one.empty) for one in kept]
