"""A loss prepared to be fast: compiled, or captured in CUDA graphs. One call, and the result is called like the loss.

Objects are padded to as many as there are slots (rows of image -1, which no loss counts), so that a batch has one of a
few sizes, and each size is compiled or captured once. What a graph would not see change, a gain or a setting, is
compared at every call. A loss with a part or a method of its own in it is computed as it is, by its parts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from lossref.core.precision import as_it_is
from lossref.losses.assignment.static.strategy import slots_for

OBJECTS = ("batch_idx", "cls", "bboxes", "keypoints")
READ = (*OBJECTS, "masks", "sem_masks")
INNER = ("one2many", "one2one")
WARM_UPS = 3
Call = Callable[..., Any]


def compiled(loss: Any, **options: Any) -> Any:
    """`loss` compiled: called with the same arguments, with the same result; the first call of a size takes long.

    `options` are those of torch.compile. The two branches of an end-to-end loss are compiled each for itself, so that
    their weights may change. Values of objects are not looked at: a class without a score, or NaN, makes the loss
    NaN. What is no loss of a YOLO head is given to torch.compile as it is.
    """
    if inner := _inner(loss):
        return Branches(loss, {name: compiled(part, **options) for name, part in inner.items()})
    if not hasattr(loss, "_replaced"):
        return torch.compile(loss, dynamic=False, **options)
    return Prepared(loss, torch.compile(_own_code(loss), fullgraph=True, dynamic=False, **options))


def captured(loss: Any, *example: Any) -> Any:
    """`loss`, or a `compiled` one, as CUDA graphs of forward and backward; called with the same arguments.

    `example` are arguments to capture at once; other sizes are captured when they come, which takes some calls each.
    The predictions' gradients of one call are overwritten by the next. Without a GPU, and where no prediction needs a
    gradient, the loss is computed as it is. Any function of tensors may be captured that does not wait for a value; one
    that does (RT-DETR, whose matching is solved on the host) raises what torch says of it.
    """
    if inner := _inner(loss):
        of = loss.of if isinstance(loss, Branches) else loss
        fast: Any = Branches(of, {name: captured(part) for name, part in inner.items()})
    elif isinstance(loss, Prepared):
        fast = Prepared(loss.of, Graphs(loss.of, loss.steps))
    else:
        graphs = Graphs(getattr(loss, "_orig_mod", loss), loss)
        fast = Prepared(loss, graphs) if hasattr(loss, "_replaced") else graphs
    if example:
        fast(*example)
    return fast


@dataclass
class Prepared:
    """A loss of one head, `of`, whose steps were prepared for predictions and batches of fixed sizes."""

    of: Any
    steps: Call

    @property
    def hyp(self) -> Any:
        """The gains of the loss."""
        return self.of.hyp

    def parse_output(self, preds: Any) -> Any:
        """As that of the loss."""
        return self.of.parse_output(preds)

    def loss(self, preds: Any, batch: dict[str, Any]) -> Any:
        """The result of the loss."""
        if self.of._replaced():
            return self.of.loss(preds, batch)
        found = sizes_only(self.of.parse_output(preds))
        separate = () if getattr(self.of, "overlap", True) else ("masks",)
        return self.steps(found, padded(batch, tree_leaves(found)[0].device, *separate))

    __call__ = loss


@dataclass
class Branches:
    """A loss `of` other losses, which were prepared; weights of its own are read at every call."""

    of: Any
    parts: dict[str, Any]

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Any:
        """The result of the loss."""
        twin = copy.copy(self.of)
        vars(twin).update(self.parts)
        return twin(preds, batch)


def _inner(loss: Any) -> dict[str, Any]:
    """The losses of heads that a loss of several is made of, by the name of the attribute."""
    if isinstance(loss, Branches):
        return loss.parts
    return {name: getattr(loss, name) for name in INNER if hasattr(loss, name)}


@dataclass
class Graphs:
    """CUDA graphs of `steps`, one for each size of the arguments and each state of the loss `of`."""

    of: Any
    steps: Call
    found: dict[Any, tuple[Call, Any]] = field(default_factory=dict)

    def __call__(self, *given: Any) -> Any:
        """The result of the loss, captured if it was not yet."""
        leaves, shape = tree_flatten(given)
        if not torch.is_grad_enabled() or not all(isinstance(x, Tensor) for x in leaves):
            return self.steps(*given)
        if not any(x.requires_grad for x in leaves) or not capturable(leaves[0]):
            return self.steps(*given)
        key = (str(shape), *((x.shape, x.stride(), x.dtype, x.requires_grad) for x in leaves), _state(self.of))
        if key not in self.found:
            self.found[key] = self._capture(given)
        graph, rated = self.found[key]
        return tree_map(lambda x, has: x.clone() if has else x.detach().clone(), graph(*given), rated)

    def _capture(self, given: tuple[Any, ...]) -> tuple[Call, Any]:
        """The graph of arguments like these, which are copied, and which parts of its result have a gradient."""
        example = tree_map(lambda x: x.detach().clone().requires_grad_(x.requires_grad), given)
        rated = tree_map(lambda x: x.requires_grad, self.steps(*example))
        with as_it_is(tree_leaves(example)[0]):
            graph: Call = torch.cuda.make_graphed_callables(
                _Module(self.of, self.steps), example, num_warmup_iters=WARM_UPS, allow_unused_input=True
            )
        return graph, rated


def _state(loss: Any) -> Any:
    """What a graph of a loss would not see change: what it says itself, or its numbers and words."""
    if hasattr(loss, "_baked"):
        return loss._baked()
    plain = (int, float, str, type(None))
    return tuple((name, x) for name, x in getattr(loss, "__dict__", {}).items() if isinstance(x, plain))


def capturable(x: Tensor) -> bool:
    """Whether what is computed from x can be captured now."""
    return x.is_cuda and not torch.cuda.is_current_stream_capturing()


class _Module(nn.Module):
    """The steps of a loss as a module of the networks in it, whose parameters get gradients, too."""

    def __init__(self, loss: Any, steps: Call) -> None:
        super().__init__()
        self.steps = steps
        within = [loss, *getattr(loss, "__dict__", {}).values()]
        self.networks = nn.ModuleList(x for x in within if isinstance(x, nn.Module))

    def forward(self, *given: Any) -> Any:
        return self.steps(*given)


def _own_code(loss: Any) -> Call:
    """The call of a loss as a function of its own code, for which a compiler counts by itself."""

    def steps(preds: Any, batch: dict[str, Any]) -> Any:
        return loss(preds, batch)

    code = steps.__code__.replace(co_name=f"steps_of_{type(loss).__name__}")
    return FunctionType(code, steps.__globals__, code.co_name, None, steps.__closure__)


def sizes_only(preds: Any) -> Any:
    """Predictions by name, and of the feature maps (b, C, h, w) their sizes only: (0, C, h, w)."""
    if not isinstance(preds, dict):
        return preds
    feats = [x.detach()[:0] for x in preds["feats"]]
    return {**{name: x for name, x in preds.items() if tree_leaves(x) and _tensors(x)}, "feats": feats}


def _tensors(x: Any) -> bool:
    return all(isinstance(leaf, Tensor) for leaf in tree_leaves(x))


def padded(batch: dict[str, Any], device: torch.device, *by_object: str) -> dict[str, Any]:
    """What losses read of a batch, with as many objects as there are slots; those that are added have image -1.

    What is elsewhere is moved to the device. `by_object` are further names that have a row for each object.
    """
    count = batch["batch_idx"].numel()
    more = slots_for(count) - count
    given = {name: batch[name] for name in READ if isinstance(batch.get(name), Tensor)}
    kept = {name: x.to(device, non_blocking=True).contiguous() for name, x in given.items()}
    if not more:
        return kept
    grown = {*OBJECTS, *by_object} & kept.keys()
    rows = {name: pad(kept[name], (0, 0) * (kept[name].ndim - 1) + (0, more)) for name in grown}
    index = kept["batch_idx"]
    return {**kept, **rows, "batch_idx": pad(index, (0, 0) * (index.ndim - 1) + (0, more), value=-1)}
