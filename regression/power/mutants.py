"""Small changes of a function: what a slip of the hand does to a formula. One place, one operator each."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
RENAMED = {
    "minimum": "maximum",
    "maximum": "minimum",
    "min": "max",
    "max": "min",
    "amin": "amax",
    "amax": "amin",
    "argmax": "argmin",
    "sum": "mean",
    "mean": "sum",
    "floor": "ceil",
    "cos": "sin",
    "sin": "cos",
    "log": "log1p",
    "exp": "expm1",
    "ones_like": "zeros_like",
    "zeros_like": "ones_like",
    "logical_and": "logical_or",
}
DROPPED = ("clamp", "clamp_min", "clamp_max", "abs", "detach", "sqrt", "square", "sigmoid", "exp", "relu", "unsqueeze")
HELPERS = {
    "__detached__": lambda x: x.detach() if hasattr(x, "detach") else x,
    "__narrow__": lambda x: x.float().to(x.dtype) if getattr(x, "is_floating_point", lambda: False)() else x,
}
"""What a mutated function may call, by names that no source has."""


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
    tree = ast.parse(source)
    node = next(
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef) and one.name == function.rpartition(".")[2] and first in _lines(one)
    )
    for parent, field, index in _places(node):
        held = getattr(parent, field)
        here = held if index is None else held[index]
        for operator, other in _others(here):
            _put(parent, field, index, other)
            try:
                found = _code(compile(ast.fix_missing_locations(tree), file, "exec"), function, first)
            except (SyntaxError, ValueError, TypeError):
                found = None
            _put(parent, field, index, here)
            if found is not None:
                yield Mutant(file, function, getattr(here, "lineno", first), operator, found)


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


def _others(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in a node's place, each with the name of the operator."""
    for kind, changes in CHANGES.items():
        if isinstance(node, kind):
            yield from changes(node)


def _of_binary(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    other = SWAPPED.get(type(node.op))
    if other:
        yield "operator", ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, (ast.Sub, ast.Div, ast.Pow)):
        yield "order", ast.BinOp(node.right, node.op, node.left)
    yield "operand dropped", node.left


def _of_compare(node: ast.Compare) -> Iterator[tuple[str, ast.AST]]:
    if len(node.ops) == 1:
        for other in TURNED.get(type(node.ops[0]), ()):
            yield "comparison", ast.Compare(node.left, [other()], node.comparators)


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if type(node.value) in (int, float):
        yield "constant + 1", ast.Constant(node.value + 1)
        if node.value:
            yield "constant doubled", ast.Constant(2 * node.value)
    elif type(node.value) is bool:
        yield "flag", ast.Constant(not node.value)


def _of_unary(node: ast.UnaryOp) -> Iterator[tuple[str, ast.AST]]:
    yield "sign" if isinstance(node.op, ast.USub) else "not", node.operand


def _of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.func, ast.Attribute):
        other = RENAMED.get(node.func.attr)
        if other:
            yield (
                f"{node.func.attr} -> {other}",
                ast.Call(ast.Attribute(node.func.value, other, ast.Load()), node.args, node.keywords),
            )
        if node.func.attr in DROPPED:
            of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "F", "functional")
            inner = node.args[0] if of_torch and node.args else node.func.value
            yield f"{node.func.attr} dropped", inner


def _of_assignment(node: ast.Assign) -> Iterator[tuple[str, ast.AST]]:
    for operator, helper in (("detached", "__detached__"), ("float32", "__narrow__")):
        if isinstance(node.value, (ast.Call, ast.BinOp)):
            call = ast.Call(ast.Name(helper, ast.Load()), [node.value], [])
            yield operator, ast.copy_location(ast.Assign(node.targets, call), node)
    yield "statement dropped", ast.copy_location(ast.Pass(), node)


def _of_statement(node: ast.Expr | ast.AugAssign) -> Iterator[tuple[str, ast.AST]]:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        yield "statement dropped", ast.copy_location(ast.Pass(), node)


def _of_return(node: ast.Return) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, (ast.Call, ast.BinOp)):
        for operator, helper in (("detached", "__detached__"), ("float32", "__narrow__")):
            call = ast.Call(ast.Name(helper, ast.Load()), [node.value], [])
            yield operator, ast.copy_location(ast.Return(call), node)


def _of_test(node: ast.If | ast.IfExp) -> Iterator[tuple[str, ast.AST]]:
    turned = ast.UnaryOp(ast.Not(), node.test)
    other: ast.AST = ast.If(turned, node.body, node.orelse) if isinstance(node, ast.If) else node
    if isinstance(node, ast.IfExp):
        other = ast.IfExp(turned, node.body, node.orelse)
    yield "branch", ast.copy_location(other, node)


CHANGES: dict[Any, Callable[[Any], Iterator[tuple[str, ast.AST]]]] = {
    ast.BinOp: _of_binary,
    ast.Compare: _of_compare,
    ast.Constant: _of_constant,
    ast.UnaryOp: _of_unary,
    ast.Call: _of_call,
    ast.Assign: _of_assignment,
    (ast.Expr, ast.AugAssign): _of_statement,
    ast.Return: _of_return,
    (ast.If, ast.IfExp): _of_test,
}


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
