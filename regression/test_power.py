"""The slips that the measuring of power knows: each is made of one line, and the changed function is code that runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "power"))
from mutants import mutants

SLIPS = {
    "return a * b": {"operator", "operand dropped", "first operand dropped", "factor detached", "detached", "float32"},
    "return (a + 1e-7).sqrt()": {"added after the sqrt", "sqrt dropped", "sqrt in place", "constant doubled"},
    "return a < b and b <= 2": {"comparison", "and, or", "constant - 1"},
    "return a.clamp(min=0)": {"min left out", "clamp dropped", "clamp in place", "constant + 1"},
    "return a.argmax(-1)": {"the last of equals", "argmax -> argmin", "sign"},
    "return a.detach().to(b)": {"detach dropped", "to dropped"},
    "return a, b": {"exchanged"},
    "return f(a, b)": {"arguments exchanged"},
    "return [x for x in a if x]": {"the last left out", "backwards", "condition dropped"},
    "return a if b else 0": {"branch", "always", "never"},
    "with f():\n        return a": {"context left out"},
    "for x in a:\n        b += x": {"the last left out", "backwards", "statement dropped"},
}


@pytest.mark.parametrize(("line", "operators"), SLIPS.items(), ids=[line.splitlines()[-1] for line in SLIPS])
def test_slips_of_a_line(line: str, operators: set[str]) -> None:
    found = list(mutants(f"import torch\n\n\ndef g(a, b):\n    {line}\n", "line.py", "g", 4))
    assert operators <= {one.operator for one in found}
    assert all(one.code.co_name == "g" for one in found)
