"""What is known of a bug that became public: where, what went wrong, and the loss with it and without it.

The code is written for lossref from the formula of the spec and the symptom that the thread describes; none of it is
the code of the package that the thread is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from lossref.core.nouns import Target

GITHUB = "https://github.com/"


def require(x: Tensor, *shape: int) -> None:
    """Raise ValueError unless the last axes of a tensor are these, as every reference does."""
    if x.shape[len(x.shape) - len(shape) :] != shape:
        raise ValueError(f"expected the last axes {shape}, got {tuple(x.shape)}")


@dataclass(frozen=True)
class Bug:
    """A silent bug of a loss, or of a block that losses stand on.

    id:            a few words that name the mistake
    where:         the thread, as in `owner/repository#number`
    kind:          "issues" or "pull", for its address
    spec:          the spec whose target it would have been
    what:          the symptom, in our words
    wrong, mended: the loss as a target of the spec, with the bug and without it
    accepts:       parameters of the spec that both take; the others stay at their defaults
    seen_by:       the first check of the table that rejects it
    says:          words of the sentence that names the cause; none where a run describes the numbers and names nothing
    """

    id: str
    where: str
    kind: str
    spec: str
    what: str
    wrong: Callable[..., Any]
    mended: Callable[..., Any]
    accepts: tuple[str, ...] = ()
    seen_by: str = "value"
    says: str = ""

    @property
    def url(self) -> str:
        """The address of the thread."""
        repository, _, number = self.where.partition("#")
        return f"{GITHUB}{repository}/{self.kind}/{number}"

    def target(self, function: Callable[..., Any]) -> Target:
        """One of the two as a stranger's target."""
        return Target(self.spec, partial(partial, function), self.id, self.accepts)
