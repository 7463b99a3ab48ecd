"""What test modules share: the comparison of printed digits, and that no test module imports another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.digits import agrees


@pytest.mark.parametrize(
    ("value", "printed", "same"),
    [
        (0.317880782492, "0.317880782492", True),
        (0.3178807824931, "0.317880782492", False),
        (0.3178807824925, "0.317880782492", True),
        (-6.30072274067e-05, "-6.30072274067e-05", True),
        (-6.30072274081e-05, "-6.30072274067e-05", False),
        (0.5, "0.5", True),
        (0.50000001, "0.5", False),
        (-0.5, "0.5", False),
        (0.0, "0", True),
        (1e-300, "0", False),
        (float("nan"), "0.5", False),
        (float("nan"), "0", False),
        (float("inf"), "200", False),
    ],
)
def test_agrees_is_neither_lax_nor_strict(value: float, printed: str, same: bool) -> None:
    assert agrees(value, printed) is same


ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("property_tests", "regression") for path in (ROOT / folder).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Every module and name that a source imports, by its dotted path; relative ones begin with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def is_a_test_module(name: str) -> bool:
    return name.startswith(".") or any(part == "anchors" or part.startswith("test_") for part in name.split("."))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_a_test_module(path: Path) -> None:
    """What several need lives in property_tests/shared."""
    assert not [name for name in imported(path.read_text()) if is_a_test_module(name)]


@pytest.mark.parametrize(
    "source",
    ["import test_api", "from anchors.overlap import ways", "from anchors import overlap", "from . import obb"],
)
def test_an_import_of_a_test_module_is_seen(source: str) -> None:
    assert all(is_a_test_module(name) for name in imported(source))
