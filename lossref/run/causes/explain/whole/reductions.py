"""One number where there should be many: a mean, a sum, one minus it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from lossref.core.nouns import Array
from lossref.run.causes.explain.quantity import Told, reproduces

Change = Callable[[Array], Array]
OVER: dict[str, Change] = {
    "the mean over all items": lambda x: np.asarray(x.mean()),
    "the sum over all items": lambda x: np.asarray(x.sum()),
    "the sum over each item of the first axis": lambda x: x.reshape(len(x), -1).sum(1) if x.ndim else x,
    "the mean over each item of the first axis": lambda x: x.reshape(len(x), -1).mean(1) if x.ndim else x,
    "the mean over the first axis": lambda x: x.mean(0) if x.ndim else x,
    "the sum over the first axis": lambda x: x.sum(0) if x.ndim else x,
    "the largest item": lambda x: np.asarray(x.max()),
}
FORMS: dict[str, Change] = {"{}": lambda x: x, "1 minus {}": lambda x: 1 - x, "minus {}": lambda x: -x}


def reduced(told: Sequence[Told]) -> Iterator[str]:
    """Ends of sentences ("is the mean over all items instead of the items"); of one item none can be told."""
    if all(one.got.size == one.want.size for one in told) or any(one.want.size == 0 for one in told):
        return
    for over, reduce in OVER.items():
        for form, change in FORMS.items():
            if reproduces(partial(_reduced, reduce, change), told):
                yield f"is {form.format(over)}, not a number for each item"


def _reduced(reduce: Change, change: Change, one: Told) -> Array:
    return change(reduce(one.want))
