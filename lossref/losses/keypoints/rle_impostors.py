"""Careless versions of residual log-likelihood, each with one term or the divisor done wrong.

`use` are the flags of the loss: use_target_weight, size_average, residual. Source: spec/30-elementary.md section 5.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lossref.core.declare import impostor


class Terms(NamedTuple):
    """What each number costs, (n, D): ln sigma - log_phi and, residual, ln(2 sigma) and |error|."""

    likelihood: Tensor
    spread: Tensor
    deviation: Tensor


def terms_of(sigma: Tensor, log_phi: Tensor, error: Tensor) -> Terms:
    return Terms(sigma.log() - log_phi[:, None], (2 * sigma).log(), error.abs())


def factor_of(target_weight: Tensor, rows: int, use_target_weight: bool) -> Tensor:
    """The weight of each row, (n, 1)."""
    return (target_weight[:, None] if use_target_weight else target_weight.new_ones(())).expand(rows, 1)


def summed(terms: Terms, target_weight: Tensor, use_target_weight: bool, residual: bool, **use: bool) -> Tensor:
    cost = terms.likelihood + terms.spread + terms.deviation if residual else terms.likelihood
    return (cost * factor_of(target_weight, len(cost), use_target_weight)).sum()


def per_row(terms: Terms, target_weight: Tensor, **use: bool) -> Tensor:
    """The right divisor: the number of rows."""
    return summed(terms, target_weight, **use) / (len(terms.likelihood) if use["size_average"] else 1)


def log_phi_once(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    return per_row(terms_of(sigma, log_phi / sigma.shape[1], error), target_weight, **use)


def log_phi_detached(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    return per_row(terms_of(sigma, log_phi.detach(), error), target_weight, **use)


def divided_by_all_numbers(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    total = summed(terms_of(sigma, log_phi, error), target_weight, **use)
    return total / (sigma.numel() if use["size_average"] else 1)


def divided_by_the_weight(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    total = summed(terms_of(sigma, log_phi, error), target_weight, **use)
    return total / (factor_of(target_weight, len(sigma), use["use_target_weight"]).sum() if use["size_average"] else 1)


def factor_2_missing(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    terms = terms_of(sigma, log_phi, error)
    return per_row(terms._replace(spread=sigma.log()), target_weight, **use)


def spread_missing(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    terms = terms_of(sigma, log_phi, error)
    return per_row(terms._replace(spread=0 * sigma), target_weight, **use)


def squared_error(sigma: Tensor, log_phi: Tensor, error: Tensor, target_weight: Tensor, **use: bool) -> Tensor:
    terms = terms_of(sigma, log_phi, error)
    return per_row(terms._replace(deviation=error**2), target_weight, **use)


IMPOSTORS = (
    impostor("log_phi once", "subtracted once for each row", "value", log_phi_once),
    impostor("log_phi detached", "no gradient reaches the flow", "gradient reduced", log_phi_detached),
    impostor("divided by n D", "mean over all numbers", "value", divided_by_all_numbers),
    impostor("divided by the weight", "mean by weight", "value", divided_by_the_weight),
    impostor("2 missing", "ln sigma instead of ln(2 sigma)", "value", factor_2_missing),
    impostor("ln sigma missing", "sigma counts once", "value", spread_missing),
    impostor("squared error", "Gauss instead of Laplace", "value", squared_error),
)
