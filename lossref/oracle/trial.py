"""Whether an oracle can be asked at all: one run of it, on one corner."""

from __future__ import annotations

from dataclasses import replace

from lossref.core.nouns import Spec
from lossref.oracle.answers import evaluate
from lossref.oracle.tape import Tape, Tie, Uncertified

BITS = 64


def refused(spec: Spec) -> str | None:
    """What goes wrong when the oracle is asked about the first corner of an elementary loss; None: nothing.

    A composite takes half a second, and is asked when it is checked.
    """
    corner = next((case for case in spec.corners if "shape" not in case.flags), None)
    if corner is None or spec.composite:
        return None
    try:
        evaluate(spec, replace(corner, params={**spec.defaults(), **corner.params}), BITS, "raise")
    except (Tie, Uncertified):
        return None  # it was asked, and is entitled to that
    except Exception as error:  # an oracle is a stranger's function
        has = ", ".join(name for name in vars(Tape) if not name.startswith("_") and name not in ("number", "tie"))
        advice = f"; m has {has}, pi" if isinstance(error, AttributeError) else ""
        return f"{spec.name}: oracle: on the corner {corner.id!r}: {type(error).__name__}: {error}{advice}"
    return None
