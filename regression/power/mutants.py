"""Small changes of a function: what a slip of the hand does to a formula. One place, one operator each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from operators import others


@dataclass(frozen=True)
class Mutant:
    """One changed function: where, by which operator, and its code."""

    file: str
    function: str
    line: int
    operator: str
    code: CodeType


def mutants(source: str, file: str, function: str, first: int) -> Iterator[Mutant]:
    """Every mutant of the function of that name and first line."""
    tree = _alone(ast.parse(source), first)
    node = next(
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef) and one.name == function.rpartition(".")[2] and first in _lines(one)
    )
    for parent, field, index in _places(node):
        held = getattr(parent, field)
        here = held if index is None else held[index]
        for operator, other in others(here):
            _put(parent, field, index, other)
            try:
                found = _code(compile(ast.fix_missing_locations(tree), file, "exec"), function, first)
            except (SyntaxError, ValueError, TypeError):
                found = None
            _put(parent, field, index, here)
            if found is not None:
                yield Mutant(file, function, getattr(here, "lineno", first), operator, found)


def _alone(tree: ast.Module, first: int) -> ast.Module:
    """The module with that piece of it alone which has the line, and what it says of annotations: quick to compile."""
    future = [one for one in tree.body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
    reached = [one for one in tree.body if first <= (one.end_lineno or 0)]
    return ast.Module([*future, reached[0]], [])


def _lines(node: ast.FunctionDef) -> range:
    return range(min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.lineno + 1)


def _places(node: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Every child in the body of a function, but for docstrings, annotations and messages."""
    stack: list[ast.AST] = list(node.body)
    for number, _ in enumerate(node.body):
        yield node, "body", number
    while stack:
        parent = stack.pop()
        if isinstance(parent, (ast.Raise, ast.JoinedStr, ast.Assert, ast.AnnAssign)):
            continue
        for field, held in ast.iter_fields(parent):
            if field in ("annotation", "returns", "keywords", "decorator_list"):
                held = held if field == "keywords" else []
            for number, one in enumerate(held if isinstance(held, list) else [held]):
                if isinstance(one, ast.AST):
                    yield parent, field, number if isinstance(held, list) else None
                    stack.append(one)


def _put(parent: ast.AST, field: str, index: int | None, node: Any) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _code(code: CodeType, function: str, first: int) -> CodeType | None:
    """The code of a function in the code of its module."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if one.co_qualname == function and one.co_firstlineno == first:
                return one
            inner = _code(one, function, first)
            if inner is not None:
                return inner
    return None
