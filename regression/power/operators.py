"""What may stand in the place of a piece of code, each with the name of the slip of the hand that puts it there."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

Other = tuple[str, ast.AST]

SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
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
    "any": "all",
    "all": "any",
}
IN_PLACE = ("clamp", "clamp_min", "clamp_max", "abs", "sqrt", "square", "sigmoid", "exp", "log", "relu", "masked_fill")
DROPPED = (*IN_PLACE[:-1], "detach", "unsqueeze", "to", "float", "double", "contiguous", "nan_to_num")
MOVED = ("sqrt", "log")  # out of which an added constant may be moved
HELPERS: dict[str, Callable[..., Any]] = {
    "__detached__": lambda x: x.detach() if hasattr(x, "detach") else x,
    "__narrow__": lambda x: x.float().to(x.dtype) if getattr(x, "is_floating_point", lambda: False)() else x,
    "__last_one__": lambda x, dim: x.shape[dim] - 1 - x.flip(dim).argmax(dim),
    "__all_but_last__": lambda x: list(x)[:-1],
    "__backwards__": lambda x: list(x)[::-1],
}
"""What a mutated function may call, by names that no source has."""


def others(node: ast.AST) -> Iterator[Other]:
    """What may stand in a node's place, each with the name of the operator."""
    for kind, changes in CHANGES.items():
        if isinstance(node, kind):
            yield from changes(node)


def _helped(helper: str, node: Any) -> ast.Call:
    return ast.Call(ast.Name(helper, ast.Load()), [node], [])


def _of_binary(node: ast.BinOp) -> Iterator[Other]:
    other = SWAPPED.get(type(node.op))
    if other:
        yield "operator", ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, (ast.Sub, ast.Div, ast.Pow)):
        yield "order", ast.BinOp(node.right, node.op, node.left)
    yield "operand dropped", node.left
    if isinstance(node.op, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)):
        yield "first operand dropped", node.right
    if isinstance(node.op, (ast.Mult, ast.Div)):
        yield "factor detached", ast.BinOp(_helped("__detached__", node.left), node.op, node.right)
        yield "factor detached", ast.BinOp(node.left, node.op, _helped("__detached__", node.right))


def _of_compare(node: ast.Compare) -> Iterator[Other]:
    if len(node.ops) == 1:
        for other in TURNED.get(type(node.ops[0]), ()):
            yield "comparison", ast.Compare(node.left, [other()], node.comparators)


def _of_bool(node: ast.BoolOp) -> Iterator[Other]:
    yield "and, or", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _of_constant(node: ast.Constant) -> Iterator[Other]:
    if type(node.value) in (int, float):
        assert isinstance(node.value, (int, float))
        yield "constant + 1", ast.Constant(node.value + 1)
        if node.value:
            yield "constant doubled", ast.Constant(2 * node.value)
            yield "constant - 1", ast.Constant(node.value - 1)
    elif type(node.value) is bool:
        yield "flag", ast.Constant(not node.value)


def _of_unary(node: ast.UnaryOp) -> Iterator[Other]:
    yield "sign" if isinstance(node.op, ast.USub) else "not", node.operand


def _of_call(node: ast.Call) -> Iterator[Other]:
    for at in range(len(node.args) - 1):
        yield "arguments exchanged", ast.Call(node.func, _exchanged(node.args, at), node.keywords)
    for at, word in enumerate(node.keywords):
        if word.arg:
            yield (
                f"{word.arg} left out",
                ast.Call(node.func, node.args, [*node.keywords[:at], *node.keywords[at + 1 :]]),
            )
    if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        yield "min, max", ast.Call(ast.Name(RENAMED[node.func.id], ast.Load()), node.args, node.keywords)
    if isinstance(node.func, ast.Attribute):
        yield from _of_method(node, node.func)


def _of_method(node: ast.Call, called: ast.Attribute) -> Iterator[Other]:
    name = called.attr
    of_torch = isinstance(called.value, ast.Name) and called.value.id in ("torch", "F", "functional")
    inner = node.args[0] if of_torch and node.args else called.value

    def renamed(other: str) -> ast.Call:
        return ast.Call(ast.Attribute(called.value, other, ast.Load()), node.args, node.keywords)

    if name in RENAMED:
        yield f"{name} -> {RENAMED[name]}", renamed(RENAMED[name])
    if name in DROPPED:
        yield f"{name} dropped", inner
    if name in IN_PLACE:
        yield f"{name} in place", renamed(f"{name}_")
    if name in MOVED and isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add):
        alone = ast.Call(ast.Attribute(inner.left, name, ast.Load()), [], [])
        yield f"added after the {name}", ast.BinOp(alone, ast.Add(), inner.right)
    if name == "argmax" and len(node.args) == 1 + of_torch:
        yield "the last of equals", ast.Call(ast.Name("__last_one__", ast.Load()), [inner, node.args[-1]], [])


def _exchanged(nodes: list[ast.expr], at: int) -> list[ast.expr]:
    return [*nodes[:at], nodes[at + 1], nodes[at], *nodes[at + 2 :]]


def _of_tuple(node: ast.Tuple) -> Iterator[Other]:
    for at in range(len(node.elts) - 1 if isinstance(node.ctx, ast.Load) else 0):
        yield "exchanged", ast.Tuple(_exchanged(node.elts, at), node.ctx)


def _of_comprehension(node: ast.comprehension) -> Iterator[Other]:
    yield "the last left out", _over(node, "__all_but_last__")
    yield "backwards", _over(node, "__backwards__")
    for at in range(len(node.ifs)):
        yield (
            "condition dropped",
            ast.comprehension(node.target, node.iter, node.ifs[:at] + node.ifs[at + 1 :], node.is_async),
        )


def _over(node: ast.comprehension, helper: str) -> ast.comprehension:
    return ast.comprehension(node.target, _helped(helper, node.iter), node.ifs, node.is_async)


def _of_loop(node: ast.For) -> Iterator[Other]:
    for operator, helper in (("the last left out", "__all_but_last__"), ("backwards", "__backwards__")):
        other = ast.For(node.target, _helped(helper, node.iter), node.body, node.orelse)
        yield operator, ast.copy_location(other, node)


def _of_with(node: ast.With) -> Iterator[Other]:
    yield "context left out", ast.copy_location(ast.If(ast.Constant(True), node.body, []), node)


def _of_assignment(node: ast.Assign) -> Iterator[Other]:
    for operator, helper in (("detached", "__detached__"), ("float32", "__narrow__")):
        if isinstance(node.value, (ast.Call, ast.BinOp)):
            yield operator, ast.copy_location(ast.Assign(node.targets, _helped(helper, node.value)), node)
    yield "statement dropped", ast.copy_location(ast.Pass(), node)


def _of_statement(node: ast.Expr | ast.AugAssign) -> Iterator[Other]:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        yield "statement dropped", ast.copy_location(ast.Pass(), node)


def _of_return(node: ast.Return) -> Iterator[Other]:
    if isinstance(node.value, (ast.Call, ast.BinOp)):
        for operator, helper in (("detached", "__detached__"), ("float32", "__narrow__")):
            yield operator, ast.copy_location(ast.Return(_helped(helper, node.value)), node)


def _of_test(node: ast.If | ast.IfExp) -> Iterator[Other]:
    tests = {"branch": ast.UnaryOp(ast.Not(), node.test), "always": ast.Constant(True), "never": ast.Constant(False)}
    for operator, test in tests.items():
        if isinstance(node, ast.If):
            yield operator, ast.copy_location(ast.If(test, node.body, node.orelse), node)
        else:
            yield operator, ast.copy_location(ast.IfExp(test, node.body, node.orelse), node)


CHANGES: dict[Any, Callable[[Any], Iterator[Other]]] = {
    ast.BinOp: _of_binary,
    ast.BoolOp: _of_bool,
    ast.Compare: _of_compare,
    ast.Constant: _of_constant,
    ast.UnaryOp: _of_unary,
    ast.Call: _of_call,
    ast.Tuple: _of_tuple,
    ast.comprehension: _of_comprehension,
    ast.For: _of_loop,
    ast.With: _of_with,
    ast.Assign: _of_assignment,
    (ast.Expr, ast.AugAssign): _of_statement,
    ast.Return: _of_return,
    (ast.If, ast.IfExp): _of_test,
}
