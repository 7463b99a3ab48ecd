"""The scalar oracle of the DETR losses, from the formulas, layer by layer.

Source: spec/50-detr.md sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossref.core.arithmetic import Arithmetic
from lossref.losses.classification.bce import oracle_bce
from lossref.losses.detr.matching_oracle import oracle_box_terms, oracle_match

Pairs = list[dict[int, int]]  # for each image: query -> object, counted over the batch


def oracle_detr(
    m: Arithmetic, pred_bboxes: Any, pred_scores: Any, cls: Any, bboxes: Any, pairs: list[Pairs], p: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The six losses under given pairs for each layer."""
    layers = [oracle_layer(m, *layer, cls, bboxes, p) for layer in zip(pred_bboxes, pred_scores, pairs, strict=True)]
    aux = [m.sum([layer[term] for layer in layers[:-1]]) for term in range(3)]
    return (*layers[-1], *(aux if p["aux_loss"] else [m.sum([])] * 3))


def oracle_pairs(
    m: Arithmetic, pred_bboxes: Any, pred_scores: Any, batch_idx: Any, cls: Any, bboxes: Any, p: Mapping[str, Any]
) -> list[Pairs]:
    """Who is matched in each layer: each its own matching, or that of one auxiliary layer for all of these."""
    gains = (p["matcher_class_gain"], p["matcher_bbox_gain"], p["matcher_giou_gain"])
    costs = (*gains, True, p["matcher_alpha"], p["matcher_gamma"], p["eps"])
    last = len(pred_bboxes) - 1
    source = list(range(last + 1))
    if p["use_uni_match"]:
        source[:last] = [source[:last][p["uni_match_ind"]]] * last
    if not p["aux_loss"]:
        source[:last] = [last] * last  # whatever: these layers do not count
    found = {
        layer: oracle_match(m, pred_bboxes[layer], pred_scores[layer], batch_idx, cls, bboxes, *costs)
        for layer in set(source)
    }
    return [found[layer] for layer in source]


def oracle_layer(
    m: Arithmetic, boxes: Any, scores: Any, pairs: Pairs, cls: Any, bboxes: Any, p: Mapping[str, Any]
) -> tuple[Any, Any, Any]:
    """Class, L1 and GIoU loss of one layer, gains included."""
    matched = [(image, query, which) for image, own in enumerate(pairs) for query, which in own.items()]
    terms = {
        (image, query): oracle_box_terms(m, boxes[image][query], bboxes[which], p["eps"])
        for image, query, which in matched
    }
    count = max(len(matched) if p["counted"] == "pairs" else len(bboxes), 1)
    near = m.sum([near for near, _, _ in terms.values()]) * p["bbox_gain"]
    apart = m.sum([1 - giou for _, giou, _ in terms.values()]) * p["giou_gain"]
    wanted = {(i, k, cls[which]): m.stop(terms[i, k][2]) for i, k, which in matched}
    found = oracle_classes(m, scores, wanted, bool(matched), p)
    found = found / (count if p["use_fl"] else len(scores[0]))
    return found * p["class_gain"], near / count, apart / count


def oracle_classes(m: Arithmetic, scores: Any, wanted: Mapping[Any, Any], any_pair: bool, p: Mapping[str, Any]) -> Any:
    """Sum over all logits; `wanted` holds the quality of the matched ones, by (image, query, class)."""
    varifocal = p["use_fl"] and p["use_vfl"] and (any_pair or p["vfl_empty"] == "varifocal")
    cells = []
    for i, rows in enumerate(scores):
        for k, row in enumerate(rows):
            for c, x in enumerate(row):
                q, y = wanted.get((i, k, c), 0.0), float((i, k, c) in wanted)
                if not p["use_fl"]:
                    cells.append(oracle_bce(m, x, q) if y else m.softplus(x))
                elif varifocal:
                    cells.append(oracle_varifocal(m, x, q, y, p))
                else:
                    cells.append(oracle_focal(m, x, y, p["gamma"], p["alpha"]))
    return m.sum(cells)


def oracle_varifocal(m: Arithmetic, x: Any, q: Any, y: float, p: Mapping[str, Any]) -> Any:
    """bce(x, q) (alpha p^gamma (1 - y) + q y), with q = 0 where y = 0."""
    if y:
        return oracle_bce(m, x, q) * q
    gamma, alpha = (2.0, 0.75) if p["vfl_constants"] == "own" else (p["gamma"], p["alpha"])
    weight = m.pow(m.sigmoid(x), gamma) * alpha
    return m.softplus(x) * (m.stop(weight) if p["vfl_weight_gradient"] == "detached" else weight)


def oracle_focal(m: Arithmetic, x: Any, y: float, gamma: float, alpha: float) -> Any:
    """bce(x, y) (1 - p_t)^gamma alpha_t for y = 0 or 1; alpha <= 0 means no alpha_t."""
    x = -x if y else x
    balance = (alpha if y else 1 - alpha) if alpha > 0 else 1.0
    return m.softplus(x) * m.pow(m.sigmoid(x), gamma) * balance
