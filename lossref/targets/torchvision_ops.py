"""Makes a torchvision importable whose compiled operators do not load, as is normal beside a CPU build of torch.

Its Python refuses to import because it registers shapes for operators that do not exist. Each missing
one is declared by name, without a kernel: the pure-Python losses work, and a call to an operator still
raises torchvision's own error.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

MOST_OPERATORS = 50
_declared: list[Any] = []


def importable(name: str) -> Any:
    """A module that imports torchvision, imported; raises what the import raises for any other reason."""
    for _ in range(MOST_OPERATORS):
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            _declare(missing[1])
    raise RuntimeError(f"{name}: more than {MOST_OPERATORS} operators of torchvision are missing")


def _declare(operator: str) -> None:
    library_of: Any = importlib.import_module("torch.library").Library

    for module in [module for module in sys.modules if module.partition(".")[0] == "torchvision"]:
        del sys.modules[module]
    library = library_of("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor absent) -> Tensor")
    _declared.append(library)  # the declaration lasts as long as its library object
