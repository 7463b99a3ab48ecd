"""Steps of a formula in words: their source, and where it stands."""

from __future__ import annotations

import linecache
from functools import lru_cache
from pathlib import Path

from lossref.run.causes.explain.formula.plain import Place


@lru_cache(maxsize=2048)
def text_of(place: Place) -> str:
    """The source of a step, and where it stands."""
    code, instruction, _ = place
    line, last, begin, end = list(code.co_positions())[instruction // 2]
    source = linecache.getline(code.co_filename, line or 0).encode()
    text = source[begin:end] if line == last else source[begin:].strip() + b" ..."
    return f"`{text.decode()}` ({line_of(place)[3:]}, {code.co_name})"


def line_of(place: Place) -> str:
    """The line that a step stands in."""
    code, instruction, _ = place
    file, line = Path(code.co_filename), list(code.co_positions())[instruction // 2][0]
    return f"in {file.parent.name}/{file.name}, line {line}"
