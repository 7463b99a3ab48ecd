"""How a class that takes a model is called with the inputs of its spec.

The model is any object with the attributes that spec/00-conventions.md section 5 lists; the heads are
the dict of edition 8.4, or the feature maps of edition 8.3 (spec/60-api.md section 2.2).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lossref.targets.dropin.entry import Mismatch, Shapes, parameters_of
from lossref.targets.dropin.forms import LATER

GAINS = ("box", "cls", "dfl", "pose", "kobj", "rle", "angle")
ITEMS_TOLERANCE = 1e-5
Ask = Callable[[Mapping[str, Tensor]], Any]
# The gain of each term, by the number of items.
SHARES = {3: ("box", "cls", "dfl"), 4: ("box", "box", "cls", "dfl"), 5: ("box", "pose", "kobj", "cls", "dfl")}
MASK_INPUTS = ("mask_coefficient", "proto")


def model(params: Mapping[str, Any], nc: int, flow: Any = None, device: str = "cpu") -> SimpleNamespace:
    """A namespace with everything that a loss reads from a model, on a device."""
    args = SimpleNamespace(overlap_mask=params.get("overlap", True), epochs=params.get("epochs", 100))
    vars(args).update(_gains(params))
    head = SimpleNamespace(
        stride=torch.tensor([float(s) for s in params["strides"]], device=device),
        nc=params.get("ori_nc", nc),
        reg_max=params["reg_max"],
        kpt_shape=list(params.get("kpt_shape", (17, 3))),
        flow_model=flow,
    )

    def parameters() -> Iterator[Tensor]:
        return iter([torch.zeros(1, device=device)])

    return SimpleNamespace(args=args, model=[head], parameters=parameters)


def _gains(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: params[f"{name}_gain"] for name in GAINS if f"{name}_gain" in params}


def maps(params: Mapping[str, Any], like: Tensor, channels: int) -> list[Tensor]:
    """Feature maps, of which a loss reads shape, dtype and device only."""
    height, width = params["imgsz"]
    return [like.new_zeros(len(like), channels, height // s, width // s) for s in params["strides"]]


def heads(params: Mapping[str, Any], edition: str, boxes: Tensor, scores: Tensor, **more: Tensor | None) -> Any:
    """The predictions of one head, in the form of the edition."""
    if edition == "8.3":
        cells = torch.cat([boxes, scores], 1)
        shapes = [one.shape[2:] for one in maps(params, boxes, 1)]
        ends = list(itertools.accumulate(h * w for h, w in shapes))[:-1]
        levels = torch.tensor_split(cells, ends, 2)
        return [part.reshape(*part.shape[:2], *shape) for part, shape in zip(levels, shapes, strict=True)]
    given = {name: x for name, x in more.items() if x is not None}
    return {"boxes": boxes, "scores": scores, "feats": maps(params, boxes, 1), **given}


def make(kind: Any, params: Mapping[str, Any], shapes: Shapes, device: str, **options: Any) -> Any:
    """The loss, built on a model with the class count of the inputs that are to come.

    What offers `hyp`, the arguments of the model, reads the gains there at every call (spec/40-yolo.md section 1.8):
    where they come `LATER`, they were others while it was made.
    """
    listed = parameters_of(kind)
    wanted = {name: params[name] for name in ("tal_topk", "tal_topk2") if name in params}
    chosen = {name: value for name, value in {**wanted, **options}.items() if name in listed}
    flow = StandardNormal() if params.get("flow") else None
    built_on = model(params, shapes["scores"][1], flow, device)
    if not params.get(LATER):
        return kind(built_on, **chosen)
    vars(built_on.args).update({name: 1.0 + 2.0 * gain for name, gain in _gains(params).items()})
    loss = kind(built_on, **chosen)
    if not hasattr(getattr(loss, "one2many", loss), "hyp"):
        raise TypeError("it offers no arguments of its model")
    vars(built_on.args).update(_gains(params))
    return loss


def edition_of(loss: Any) -> str:
    """ "8.3" where a class takes feature maps: it has no method of its own that parses a dict, or is known to do so."""
    if known := getattr(loss, "__form__", ""):
        return str(known)
    inner = getattr(loss, "one2many", getattr(loss, "vp_criterion", loss))
    return "8.4" if hasattr(inner, "parse_output") else "8.3"


class StandardNormal(torch.nn.Module):
    """The flow whose parameters are all zero: the standard normal density."""

    def log_prob(self, x: Tensor) -> Tensor:
        """ln of the density at x (n, 2)."""
        return -(x**2).sum(-1) / 2 - math.log(2 * math.pi)


def terms_of(ask: Ask, loss: Any, x: Mapping[str, Tensor], terms: int) -> tuple[Tensor, ...]:
    """The named terms of a call, in whatever form a release returns them."""
    result, images = ask(x), len(x["boxes"])
    total, items = result
    if total.ndim == 0 and values_of(items).numel() in SHARES:
        found = separated(ask, loss, x, values_of(items) * images)
        return (*found, *(found[0] * 0 for _ in range(terms - len(found))))
    return vector(result, terms, images)


def separated(ask: Ask, loss: Any, x: Mapping[str, Tensor], values: Tensor) -> tuple[Tensor, ...]:
    """The terms of a release that returns their sum (up to 8.3.90), with the gradient of each.

    A gain of 0 takes a term out of the sum. Box and mask term share a gain, but no input has a gradient in both.
    """
    gains, names, found = getattr(loss, "hyp", None) or loss.one2many.hyp, SHARES[len(values)], []
    for place, gain in enumerate(names):
        kept = x
        if names.count(gain) > 1:
            masks = place == names.index(gain) + 1
            kept = {name: one if (name in MASK_INPUTS) == masks else one.detach() for name, one in x.items()}
        with alone(gains, gain, set(names)):
            total = ask(kept)[0]
        found.append(values[place] + (total - total.detach()))
    return tuple(found)


@contextmanager
def alone(gains: Any, kept: str, names: set[str]) -> Iterator[None]:
    """All gains but one at 0."""
    before = {name: getattr(gains, name) for name in names}
    try:
        for name in names - {kept}:
            setattr(gains, name, 0.0)
        yield
    finally:
        for name, value in before.items():
            setattr(gains, name, value)


def vector(result: Any, terms: int, images: int | None) -> tuple[Tensor, ...]:
    """The named terms of (loss, items); raises where items are not the loss without the factor of images."""
    loss, items = result
    listed = values_of(items)
    found = tuple(loss.reshape(-1).unbind())
    if images is not None:
        _items_agree(listed, loss.detach().reshape(-1), images)
    return (*found, *(found[0] * 0 for _ in range(terms - len(found)))) if missing_is_zero(terms, found) else found


def _items_agree(items: Tensor, loss: Tensor, images: int) -> None:
    """Raises `Mismatch` where items are not the loss without the factor of images."""
    near = {"rtol": ITEMS_TOLERANCE, "atol": ITEMS_TOLERANCE, "equal_nan": True, "check_dtype": False}
    try:
        torch.testing.assert_close(items, loss / images, **near)  # type: ignore[arg-type]
    except AssertionError as error:
        raise Mismatch(f"the items are not the loss / {images}: {str(error).splitlines()[0]}") from None


def missing_is_zero(terms: int, found: Sequence[Tensor]) -> bool:
    """Edition 8.3 has no semantic term (5 terms, 4 given) and no angle term (4, 3): it stands as 0."""
    return (terms, len(found)) in ((5, 4), (4, 3))


def values_of(items: Any) -> Tensor:
    """Loss items as a vector, whether a release gives a vector, a number or a dict."""
    if isinstance(items, Mapping):
        return torch.stack([_tensor(value).reshape(()) for value in items.values()])
    return _tensor(items).reshape(-1)


def _tensor(item: Any) -> Tensor:
    """A number, or a tensor where it is."""
    return item.detach() if torch.is_tensor(item) else torch.tensor(item)
