"""From exact numbers to tensors as a question wants them, and from what comes back to numbers."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .messages import Array, Call

# Bound before a target is imported: what it patches afterwards changes nothing here.
_new, _same, _array, _contiguous = torch.tensor, torch.equal, np.array, np.ascontiguousarray
_where, _arange, _cumsum, _split = np.where, np.arange, np.cumsum, np.split
_detach, _to, _numpy, _clone, _as_plain = Tensor.detach, Tensor.to, Tensor.numpy, Tensor.clone, Tensor.as_subclass
_copy = Tensor.copy_
_DTYPES = {
    name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "bool")
}
_DTYPES |= {name: getattr(torch, name) for name in ("int8", "int16", "uint8")}
_plainly = torch._C.DisableTorchFunctionSubclass
_requires, _gradient, _hooks = (
    vars(torch._C.TensorBase)[one].__get__ for one in ("requires_grad", "grad", "_backward_hooks")
)
_parameter = torch.nn.Parameter


CHANNELS_LAST, IMAGES = "on inputs whose channels lie last in memory", 4  # axes
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "on inputs that are no leaves": _clone,
    "on inputs that are Parameters": lambda x: _parameter(_detach(x)),
    CHANNELS_LAST: lambda x: x.contiguous(memory_format=torch.channels_last) if x.ndim == IMAGES else x,
}
"""What the inputs of a call can be; `state.CONTEXTS` is where it can stand."""
TWICE, BETWEEN = "on a second backward pass", "with another call before its backward pass"
EVALUATED, TRAINED = "in evaluation mode", "in training mode again"
BESIDE = "beside another one with other settings"
COPIED, PICKLED, LOADED = (
    "of a deep copy",
    "of one that was pickled",
    "of a new one that its state_dict was loaded into",
)
DOUBLED = "after .double()"
REFILLED = ("on tensors that are filled anew", "on tensors that are filled anew, without gradients")
ALIASED, VIEWS = "where both inputs are one tensor", "where both inputs are views of one tensor"
COLUMNS, INTEGERS = "with batch_idx and cls as columns", "with batch_idx and cls as integers"
AS_EVALUATED = "with the predictions of a model in evaluation mode"
TURNED = "after a call with images of another shape, and as many anchors"
REGAINED = "of a loss whose gains were changed after it was made"
UNDENOISED = "without denoising queries"
BATCHES = (COLUMNS, INTEGERS, AS_EVALUATED, TURNED, REGAINED, UNDENOISED)
"""Forms of predictions and batches, of what is given such: `in_form` gives what takes its inputs in one of them."""
_forms = dict(FORMS)  # a target can change the table, not this


def given(call: Call, device: str) -> dict[str, Tensor]:
    """The inputs of a call as leaf tensors, in their dtypes, layout and place."""
    made = {}
    for name, array in call.inputs.items():
        tensor = _new(_contiguous(array)).reshape(array.shape).to(device, _DTYPES[call.dtypes[name]])
        made[name] = _laid_out(tensor, call.layout) if call.alone in ("", name) else tensor
        if name in call.wrt:
            made[name] = _forms.get(call.context, _as_it_is)(made[name].requires_grad_())
    if call.context == VIEWS:
        return dict(zip(made, torch.stack(tuple(made.values())).unbind(), strict=True))
    return dict.fromkeys(made, next(iter(made.values()))) if call.context == ALIASED else made


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _laid_out(x: Tensor, layout: str) -> Tensor:
    if x.ndim == 0 or layout == "contiguous":
        return x
    if layout == "transposed":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced":
        return x.repeat_interleave(2, dim=-1)[..., ::2]
    rows = x[:1].expand(x.shape)
    return rows.contiguous() if layout == "repeated" else rows


def weights(count: int) -> Array:
    """Upstream gradients, one for each number that is returned: they differ, and are exact in every dtype."""
    k = _arange(count)
    return _array(_where(k % 3 == 1, -1.0, 1.0) * (7 - k % 5) / 4)


def upstream(outs: tuple[Tensor, ...], call: Call) -> list[Tensor]:
    """The gradient that comes from above to each term."""
    ends = _cumsum([out.numel() for out in outs])
    first, step = call.every
    count = int(ends[-1])
    chosen = _where(_arange(count) % step == first, weights(count) * call.scale, 0.0)
    made = [_new(part).reshape(out.shape).to(out) for part, out in zip(_split(chosen, ends[:-1]), outs, strict=True)]
    return [_laid_out(one, call.upstream) for one in made]


def dense(out: Any, term: str) -> Tensor:
    """A returned tensor, without its subclass. Raises TypeError, with what it is, for anything that has no numbers."""
    if not isinstance(out, Tensor):
        raise TypeError(f"returned {type(out).__name__} for {term}, expected a torch tensor")
    with _plainly():
        plain = out if type(out) is Tensor else _as_plain(out, Tensor)
        kind = _not_dense(plain)
        if kind:
            raise TypeError(f"returned a {kind} tensor for {term}, expected a dense one of real numbers")
    return plain


def _not_dense(x: Tensor) -> str:
    if x.is_nested or x.layout != torch.strided:
        return "nested" if x.is_nested else "sparse"
    if x.is_quantized or x.is_complex():
        return "quantized" if x.is_quantized else "complex"
    return "meta" if x.device.type == "meta" else ""


def array_of(x: Tensor) -> Array:
    """A tensor as a float64 array of its own."""
    with _plainly():
        return _array(_numpy(_to(_detach(x), "cpu", torch.float64)))


def name_of(dtype: torch.dtype) -> str:
    """float32, not torch.float32."""
    return str(dtype).removeprefix("torch.")


def fill(inputs: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Write the numbers of others into the memory of the inputs, as a batch that is used again is filled."""
    for name, x in inputs.items():
        _copy(_detach(x), _detach(others[name]))


def copies(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs as they are now."""
    return {name: _clone(_detach(x)) for name, x in inputs.items()}


def written(before: Mapping[str, Tensor], after: Mapping[str, Tensor], wrt: Container[str]) -> tuple[str, ...]:
    """One sentence for each input that is not as it was: its numbers, and what autograd knows of it."""
    found = (_written(name, before[name], _detach(x)) or _marked(name, x, name in wrt) for name, x in after.items())
    return tuple(filter(None, found))


def _marked(name: str, x: Tensor, asked: bool) -> str:
    """What else a call has set on an input that was a leaf of its own."""
    with _plainly():
        if _requires(x) != asked:
            return f"{name}.requires_grad was {asked} before the call and is {not asked} after it"
        if _gradient(x) is not None:
            return f"{name}.grad was None before the call and is a tensor after it"
        if _hooks(x):
            return f"{name} had no hooks before the call and has some after it"
    more = next(iter(vars(x)), "")
    return f"{name} had no attribute {more!r} before the call and has it after it" if more else ""


def _written(name: str, old: Tensor, new: Tensor) -> str:
    if old.shape != new.shape or old.dtype != new.dtype:
        was, now = (f"{name_of(x.dtype)} {tuple(x.shape)}" for x in (old, new))
        return f"{name} was {was} before the call and is {now} after it"
    if _same(old.nan_to_num(), new.nan_to_num()) and _same(old.isnan(), new.isnan()):
        return ""
    at = int(((old != new) & ~(old.isnan() & new.isnan())).flatten().nonzero()[0])
    one, other = old.flatten()[at].item(), new.flatten()[at].item()
    return f"{name} was written to: element {at} was {one:g} before the call and is {other:g} after it"
