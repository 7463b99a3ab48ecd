"""What to paste where an implementation gives the right numbers in another form: one line that then passes.

`hint(spec, target, got, want)` is for the first numbers that are wrong, `of_arguments` for a signature that does not
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.nouns import Array, Spec, Target

NEAR = 1e-4  # of the largest number: float32 is nearer, another formula is not
FORMS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("the value", "{}", lambda x: x),
    ("1 minus the value", "1 - {}", lambda x: 1 - x),
    ("minus the value", "-{}", lambda x: -x),
)
"""In words, as Python around a call, and what it does: each undoes itself."""
REDUCED: tuple[tuple[str, Callable[[Array], Any]], ...] = (("mean", np.mean), ("sum", np.sum))


def hint(spec: Spec, target: Target, got: Array | None, want: Array, raised: str = "") -> str:
    """What the numbers are, where they are the right ones in another form, and the line that puts it right.

    `got` and `want` are one term in its shape; `got` is None where the target `raised`. Empty where nothing is known.
    """
    if got is None:
        return _of_a_sum(spec) if "returned 1 result" in raised else ""
    for words, python, form in FORMS:
        if got.size == want.size and not (_is_scalar(got) and want.ndim):
            if _near(form(got.reshape(want.shape)), want) and (python != "{}" or got.shape != want.shape):
                return _told(spec, target, _of_shape(words, got, want), python, _shaping(got, want))
        elif _is_scalar(got) and _has_rows(spec, want):
            for name, reduce in REDUCED:
                if _near(form(got), np.asarray(reduce(want))) or _near(got, np.asarray(reduce(form(want)))):
                    shown = f"the {name} of " * (want.size > 1) + f"{words} as one number"
                    return _told(spec, target, shown, python, "", by_rows=True)
    return ""


def forms_of(got: Array) -> list[Array]:
    """The numbers, and what they would be if they came in another form."""
    return [form(got) for _, _, form in FORMS]


def by_row(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss that reduces what it gives, asked for each row of its inputs (..., k) by itself: (..., 1)."""

    def each(*inputs: Tensor, **params: Any) -> Tensor:
        spread = torch.broadcast_tensors(*inputs)
        rows = [x.reshape(-1, x.shape[-1]) for x in spread]

        def one(*row: Tensor) -> Tensor:
            return loss(*(x[None] for x in row), **params).reshape(())

        out = torch.vmap(one)(*rows) if len(rows[0]) else torch.stack(rows).sum((0, -1))
        return out.reshape(*spread[0].shape[:-1], 1)

    return each


def of_arguments(spec: Spec, thing: Mapping[str, Any], accepts: Sequence[str]) -> str:
    """Why a function cannot be handed the inputs one after the other, and the line that hands them over by name.

    `thing` is as its host describes it. Empty where it fits, and where nothing is known of its parameters.
    """
    name, listed = str(thing["name"]), list(thing["takes"])
    if not listed:
        return ""
    names, inputs = [one for one, _, _ in listed], [*spec.inputs]
    places = [one for one, has_place, _ in listed if has_place]
    more = [
        one for one, _, optional in listed if not optional and one not in (*inputs, *accepts, *places[: len(inputs)])
    ]
    by_name = {*inputs} <= {*names} and places[: len(inputs)] != inputs
    misplaced = {*places[: len(inputs)]} & {*spec.params}  # a parameter where an input is handed over
    if not by_name and not more and not misplaced and len(places) >= len(inputs):
        return ""
    if not by_name:
        need = f"{name} takes ({', '.join(names)}), {spec.name} gives ({', '.join(inputs)})"
        call = f"{name}({', '.join([*inputs[: len(places)], *(f'{one}=...' for one in more)])})"
        return f"{need}; paste and complete: {_line(spec, {}, accepts, call, name)}"
    handed = ", ".join(f"{one}={one}" for one in (*inputs, *accepts))
    return (
        f"the inputs come in the order {', '.join(inputs)}; "
        f"paste, instead of a mark on {name}: {_line(spec, {}, accepts, f'{name}({handed})', name)}"
    )


def _told(spec: Spec, target: Target, words: str, python: str, shaping: str, by_rows: bool = False) -> str:
    call = _call(target)
    if not call:
        return f"it returns {words}"
    name = call.partition("(")[0]
    imports = ""
    if by_rows:
        called, inputs, rest = call.partition(f"({', '.join(spec.inputs)}")
        imports, call = "from lossref.targets.hints import by_row; ", f"by_row({called}){inputs}{rest}"
    fixed = {one: value for one, value in target.fixed.items() if not spec.params[one].convention}
    line = _line(spec, fixed, target.accepts, python.format(f"{call}{shaping}"), name)
    return f"it returns {words}; paste, instead of a mark on {name}: {imports}{line}"


def _call(target: Target) -> str:
    """Python that calls the target with inputs and parameters of their own names, as its usage shows."""
    call = target.usage.rpartition("out = ")[2]
    for name in target.accepts:
        call = call.replace(f"{{{name}!r}}", name)
    return call


def _line(spec: Spec, fixed: Mapping[str, Any], accepts: Sequence[str], body: str, name: str) -> str:
    """One line of Python: a marked function that calls another one."""
    takes = ", ".join([*spec.inputs, *(f"{one}={spec.params[one].default!r}" for one in accepts)])
    stands = "".join(f", {one}={value!r}" for one, value in fixed.items())
    as_spec = f"{name.replace('.', '_')}_as_{spec.name}"
    return f'import lossref; {as_spec} = lossref.target("{spec.name}"{stands})(lambda {takes}: {body})'


def _of_a_sum(spec: Spec) -> str:
    gains = [name for name in spec.params if name.endswith("_gain")]
    ways = f", or take {', '.join(gains)}: it is then asked with one at a time" if gains else ""
    return f"it returns one number; return the terms before they are added, ({', '.join(spec.terms)}){ways}"


def _of_shape(words: str, got: Array, want: Array) -> str:
    return words if got.shape == want.shape else f"{words} in the shape {got.shape}, not {want.shape}"


def _shaping(got: Array, want: Array) -> str:
    """What gives a result the shape that is wanted."""
    if got.shape == want.shape:
        return ""
    if want.shape == (*got.shape, 1):
        return "[..., None]"
    if got.shape == (*want.shape, 1):
        return "[..., 0]"
    return ".reshape(())" if want.ndim == 0 else f".reshape(-1, {', '.join(map(str, want.shape[1:]))})"


def _is_scalar(x: Array) -> bool:
    return x.ndim == 0


def _has_rows(spec: Spec, want: Array) -> bool:
    """Whether each row of the inputs has one number of its own."""
    axes = [domain.axes.split() for domain in spec.inputs.values()]
    return want.ndim == 2 and want.shape[1] == 1 and all(one == axes[0] and len(one) == 2 for one in axes)


def _near(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape are the same but for rounding; NaN is near nothing."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    return bool(np.abs(a - b).max(initial=0) <= NEAR * (1 + np.abs(b).max(initial=0)))
