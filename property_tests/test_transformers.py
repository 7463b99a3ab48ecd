"""The adapter of transformers, held to a stand-in of what its models call: which layer goes where, and what counts.

The package itself is no dependency of the tests. The stand-in takes apart what it is given as the entry does that was
asked in 5.23.0, and computes each layer by lossref's own references.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lossref.core.nouns import Target
from lossref.losses import spec
from lossref.run.causes.beside.matrix.asked import chosen
from lossref.targets import packages
from lossref.targets.adapters import transformers
from lossref.targets.marks import DTYPES
from lossref.targets.packages import Row

IMAGES, QUERIES, CLASSES, NOISY, GROUPS = 2, 5, 3, 6, 2
HOW = {"use_vfl": True, "gamma": 2.0, "alpha": 0.75}
NAMES = ("vfl", "bbox", "giou")


@pytest.fixture(autouse=True)
def configurations(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What stands in place of the configurations of the package, and the list of those that were made."""
    made = list[SimpleNamespace]()

    def find(name: str) -> Callable[..., Any]:
        if not name.startswith("transformers."):
            return torch.sum
        defaults = {"auxiliary_loss": True, "max_num_bins": 7, "name": name}
        return lambda **settings: made.append(SimpleNamespace(**{**defaults, **settings})) or made[-1]

    monkeypatch.setattr(packages, "find", find)
    return made


def given(layers: int, noisy: bool = False) -> list[Tensor]:
    draw = torch.Generator().manual_seed(layers)

    def boxes(*shape: int) -> Tensor:
        return torch.rand(*shape, 4, generator=draw, dtype=torch.float64) * 0.5 + 0.25

    def scores(*shape: int) -> Tensor:
        return torch.randn(*shape, CLASSES, generator=draw, dtype=torch.float64)

    objects = [torch.tensor([0, 0, 1]), torch.tensor([2, 0, 1]), boxes(3)]
    found = [boxes(layers, IMAGES, QUERIES), scores(layers, IMAGES, QUERIES), *objects]
    return found + ([boxes(layers, IMAGES, NOISY), scores(layers, IMAGES, NOISY)] if noisy else [])


def entry(
    logits: Tensor,
    labels: list[dict[str, Tensor]],
    device: torch.device,
    boxes: Tensor,
    config: Any,
    all_logits: Tensor,
    all_boxes: Tensor,
    enc_topk_logits: Tensor,
    enc_topk_bboxes: Tensor,
    denoising_meta_values: dict[str, Any] | None,
    **more: Tensor,
) -> tuple[Tensor, dict[str, Tensor], None]:
    """As the models call it: (b, L, q, .), denoising queries first; the encoder's layer is the last auxiliary one."""
    assert torch.equal(logits, all_logits[:, -1])
    assert torch.equal(boxes, all_boxes[:, -1])
    meta = denoising_meta_values
    noisy = meta["dn_num_split"][0] if meta else 0
    assert all_boxes.shape[2] == sum(meta["dn_num_split"] if meta else [QUERIES])
    layers = list(zip(all_boxes[:, :, noisy:].unbind(1), all_logits[:, :, noisy:].unbind(1), strict=True))
    parts = dict(_named("", *layers[-1], labels))
    if config.auxiliary_loss:
        for number, layer in enumerate([*layers[:-1], (enc_topk_bboxes, enc_topk_logits)]):
            parts |= dict(_named(f"_aux_{number}", *layer, labels))
        for number in range(len(layers)) if meta else ():
            dn = all_boxes[:, number, :noisy], all_logits[:, number, :noisy]
            parts |= dict(_denoised(f"_dn_{number}", *layers[-1], labels, *dn, meta))
    parts |= {f"{name}_of_no_spec": x.sum() + 1 for name, x in more.items()}
    return sum(parts.values(), boxes.new_zeros(())), parts, None


def _objects(labels: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    image = torch.tensor([number for number, one in enumerate(labels) for _ in one["boxes"]])
    return image, *(torch.cat([one[name] for one in labels]) for name in ("class_labels", "boxes"))


def _named(key: str, boxes: Tensor, scores: Tensor, labels: list[dict[str, Tensor]]) -> Any:
    found = spec("detr").reference(boxes[None], scores[None], *_objects(labels), **HOW)
    return zip([f"loss_{name}{key}" for name in NAMES], found[:3], strict=True)


def _denoised(
    key: str, boxes: Tensor, scores: Tensor, labels: Any, dn: Tensor, dn_scores: Tensor, meta: dict[str, Any]
) -> Any:
    assert [list(one) for one in meta["dn_positive_idx"]] == [[0, 1, 2, 3], [0, 2]]
    x = (boxes[None], scores[None], *_objects(labels), dn[None], dn_scores[None])
    found = spec("rtdetr").reference(*x, **HOW, dn_num_group=meta["dn_num_group"])
    return zip([f"loss_{name}{key}" for name in NAMES], found[6:9], strict=True)


@pytest.mark.parametrize("call", [transformers.losses, transformers.fine])
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("name", ["detr", "rtdetr"])
def test_every_layer_and_query_counts_where_it_stands(call: Any, name: str, layers: int) -> None:
    """Values and gradients; with one layer, and with denoising queries, the encoder's is a copy that counts nowhere."""
    x = [one.requires_grad_(one.dtype == torch.float64) for one in given(layers, name == "rtdetr")]
    wrt = [one for at, one in enumerate(x) if at not in (2, 3, 4)]
    both = call(entry, *x), spec(name).reference(*x, **HOW)
    assert torch.allclose(torch.stack(both[0]), torch.stack(list(both[1])), rtol=1e-12)
    weights = torch.arange(1.0, len(both[0]) + 1, dtype=torch.float64)
    slopes = [torch.autograd.grad((torch.stack(list(one)) * weights).sum(), wrt) for one in both]
    assert all(torch.allclose(*pair, rtol=1e-9, atol=1e-12) for pair in zip(*slopes, strict=True))


def test_without_auxiliary_losses_there_is_the_last_layer_alone() -> None:
    found, wanted = (
        one(*given(3), aux_loss=False)
        for one in (partial(transformers.losses, entry), partial(spec("detr").reference, **HOW))
    )
    assert torch.allclose(torch.stack(found), torch.stack(list(wanted)), rtol=1e-12)


def test_parameters_reach_the_configuration(configurations: list[SimpleNamespace]) -> None:
    numbers = {"matcher_class_gain": 1.5, "giou_gain": 0.5, "class_gain": 3.0, "gamma": 1.25, "alpha": 0.5}
    transformers.losses(entry, *given(2), **numbers)
    transformers.fine(entry, *given(2), **numbers)
    for made, kind in zip(configurations, ("RTDetr", "DFine"), strict=True):
        assert made.name == f"transformers.{kind}Config"
        found = [made.matcher_class_cost, made.weight_loss_giou, made.weight_loss_vfl]
        assert found == [1.5, 0.5, 3.0]
        assert [made.focal_loss_gamma, made.focal_loss_alpha, made.num_labels] == [1.25, 0.5, CLASSES]


def test_a_total_that_is_not_the_sum_of_its_terms_is_told() -> None:
    def more(*x: Any, **named: Any) -> Any:
        loss, parts, _ = entry(*x, **named)
        return loss * 1.25, parts, None

    with pytest.raises(ValueError, match=r"the loss is .*, what it lists is "):
        transformers.losses(more, *given(2))


def test_dfine_is_given_corners_for_every_query() -> None:
    seen = dict[str, Tensor]()

    def look(*x: Any, **named: Any) -> Any:
        seen.update(named)
        return entry(*x, **named)

    transformers.fine(look, *given(3, noisy=True), dn_num_group=GROUPS)
    assert seen["predicted_corners"].shape == (IMAGES, 3, NOISY + QUERIES, 4 * 8)
    assert seen["initial_reference_points"].shape == (IMAGES, 3, NOISY + QUERIES, 4)


# Two of one spec in one package -----------------------------------------------------------------------------------


def test_a_package_may_have_a_loss_twice() -> None:
    rows = [
        Row("focal", "torch.sum", torch.sum),
        Row("focal", "torch.sum", torch.sum, (), {}, {}, "mean", ("float32",)),
    ]
    found = [one for one in packages.targets(rows, "some") if one.spec == "focal"]
    assert [(one.label, one.dtypes) for one in found] == [("some", DTYPES), ("some mean", ("float32",))]
    assert len({one.spec for one in packages.targets(rows, "some")}) == len(packages.targets(rows, "some")) - 1


def test_a_matrix_asks_the_one_that_bears_the_name_of_the_package() -> None:
    both = [Target("focal", partial, label) for label in ("some mean", "some")]
    assert [one.label for one in chosen(both, "focal", "some")] == ["some"]
    assert len(chosen(both, "focal", "mine.py")) == 2
    assert chosen(both, "iou", "some") == []
