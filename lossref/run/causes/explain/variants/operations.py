"""What may be done otherwise by one operation of a reference, in words; of each only what makes sense of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

Usual = Callable[..., Any]
Step = Callable[..., Any]  # usual operation, arguments, keywords -> another result


VIEWS = (
    *("get", "size", "dim", "to", "type", "item", "numel", "is_floating_point", "tolist", "len", "is_complex", "bool"),
    *("expand", "expand_as", "reshape", "view", "flatten", "unflatten", "t", "transpose", "permute", "movedim", "int"),
    *("contiguous", "clone", "unsqueeze", "squeeze", "unbind", "split", "chunk", "stack", "cat", "repeat", "float"),
    *("empty", "new_empty", "zeros", "new_zeros", "ones", "new_ones", "full", "new_full", "zeros_like", "ones_like"),
    *("arange", "tensor", "empty_like", "broadcast_tensors", "requires_grad", "new_tensor", "isnan", "isfinite"),
)
"""Operations that compute nothing."""


class Other(NamedTuple):
    """What is done instead, in words; whether it is only that a gradient is cut off, or flows."""

    words: str
    step: Step
    cuts: bool = False


def _after(change: Callable[[Tensor], Tensor], usual: Usual, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
    return change(usual(*args, **how))


def _operand(place: int, usual: Usual, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
    return args[place]


def _as(name: str, usual: Usual, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
    return getattr(torch, name)(*args, **how)


def _with(place: int, change: Callable[[Any], Any], usual: Usual, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
    return usual(*(change(x) if at == place else x for at, x in enumerate(args)), **how)


def _without(name: str, usual: Usual, args: tuple[Any, ...], how: Mapping[str, Any]) -> Any:
    return usual(*args, **{key: value for key, value in how.items() if key != name})


def _first_row(x: Tensor) -> Tensor:
    return x[:1].expand_as(x)


def _narrowed(x: Tensor) -> Tensor:
    return x.to(torch.float32).to(x.dtype)


RESULT = (
    Other("is doubled", partial(_after, lambda x: x * 2)),
    Other("is halved", partial(_after, lambda x: x / 2)),
    Other("is negated", partial(_after, torch.neg)),
    Other("is squared", partial(_after, lambda x: x * x)),
    Other("is its root", partial(_after, lambda x: x.clamp(min=0).sqrt())),
    Other("is cut off below 0", partial(_after, lambda x: x.clamp(min=0))),
    Other("is limited to [0, 1]", partial(_after, lambda x: x.clamp(0, 1))),
    Other("is 1 where it is not 0", partial(_after, lambda x: (x != 0).to(x.dtype))),
    Other("is rounded to a whole number", partial(_after, torch.round)),
    Other("is rounded down", partial(_after, torch.floor)),
)
ROWS = (
    Other("is its first row throughout", partial(_after, _first_row)),
    Other("is shifted by one row", partial(_after, lambda x: x.roll(1, 0))),
    Other("is shifted by one along its last axis", partial(_after, lambda x: x.roll(1, -1))),
    Other("is reversed along its last axis", partial(_after, lambda x: x.flip(-1))),
    Other("is its mean throughout", partial(_after, lambda x: x.mean().expand_as(x))),
    Other("is its largest number throughout", partial(_after, lambda x: x.amax().expand_as(x))),
)
WHOLE = (
    Other("is one more", partial(_after, lambda x: x + 1)),
    Other("is one less", partial(_after, lambda x: x - 1)),
    Other("is 0 throughout", partial(_after, torch.zeros_like)),
    Other("is shifted by one", partial(_after, lambda x: x.roll(1, 0))),
)
TRUTH = (
    Other("always holds", partial(_after, torch.ones_like)),
    Other("never holds", partial(_after, torch.zeros_like)),
    Other("is turned round", partial(_after, torch.logical_not)),
)
DETACHED = Other("is detached", partial(_after, torch.detach), cuts=True)
NARROW = Other("is rounded to float32", partial(_after, _narrowed))
FIRST, SECOND = (
    Other("is its first operand", partial(_operand, 0)),
    Other("is its second operand", partial(_operand, 1)),
)
INSTEAD: Mapping[str, tuple[str, ...]] = {
    **{"add": ("sub",), "sub": ("add",), "rsub": ("add",), "mul": ("div", "add"), "div": ("mul",)},
    **{"lt": ("le",), "le": ("lt",), "gt": ("ge",), "ge": ("gt",), "minimum": ("maximum",), "maximum": ("minimum",)},
    **{"amax": ("amin", "sum"), "amin": ("amax",), "sum": ("mean", "amax"), "mean": ("sum",), "prod": ("sum",)},
    **{"logical_and": ("logical_or",), "logical_or": ("logical_and",), "exp": ("expm1",), "softmax": ("sigmoid",)},
    **{"floor": ("ceil", "round"), "ceil": ("floor", "round"), "round": ("floor",), "cos": ("sin",), "sin": ("cos",)},
}
BINARY = ("add", "sub", "rsub", "mul", "div", "pow", "minimum", "maximum", "logical_and", "logical_or", "and", "or")
BOUNDS = {"min": "has no lower bound", "max": "has no upper bound"}


def others(name: str, args: tuple[Any, ...], how: Mapping[str, Any], result: Any) -> Iterator[Other]:
    """All that is tried in the place of an operation of that name, by what it was once given and gave."""
    if not isinstance(result, Tensor):
        yield from _of_topk() if name == "topk" else ()
        return
    if name in ("getitem", "gather", "index_select", "take_along_dim"):
        yield from ROWS[:3] if result.ndim and len(result) > 1 else ()
        return
    if name == "detach":
        yield Other("is left out", partial(_operand, 0), cuts=True)
        return
    yield from _instead(name, args)
    yield from (Other(words, partial(_without, bound)) for bound, words in BOUNDS.items() if bound in how)
    if args and isinstance(args[0], Tensor) and args[0].shape == result.shape and args[0].dtype == result.dtype:
        yield FIRST if name in BINARY else Other("is left out", partial(_operand, 0))
    if name in BINARY and isinstance(args[-1], Tensor) and args[-1].shape == result.shape:
        yield SECOND
    if name in BINARY or name == "dot":
        yield from _detached_operands(args)
    if any(isinstance(x, Tensor) and x.requires_grad for x in args):
        yield DETACHED
    yield from _of_dtype(result)


def _instead(name: str, args: tuple[Any, ...]) -> Iterator[Other]:
    for other in INSTEAD.get(name, ()):
        yield Other(f"is {other}", partial(_as, other))
    if name == "pow":
        for exponent in (1.0, 2.0, 3.0, 0.5):
            yield Other(f"has the exponent {exponent:g}", partial(_with, 1, partial(_constant, exponent)))


def _constant(value: Any, given: Any) -> Any:
    return value


def _detached_operands(args: tuple[Any, ...]) -> Iterator[Other]:
    having = [place for place, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    for place in having if len(having) > 1 else ():
        yield Other(f"has operand {place + 1} detached", partial(_with, place, torch.detach), cuts=True)


def _of_dtype(result: Tensor) -> Iterator[Other]:
    if result.dtype == torch.bool:
        yield from TRUTH
    elif result.is_floating_point():
        yield from RESULT
        yield from ROWS if result.ndim and len(result) > 1 else ()
        yield NARROW
    else:
        yield from WHOLE if result.ndim else WHOLE[:3]


def _of_topk() -> Iterator[Other]:
    yield Other("takes one less", partial(_with, 1, lambda k: max(k - 1, 1)))
    yield Other("takes one more", partial(_with, 1, lambda k: k + 1))
