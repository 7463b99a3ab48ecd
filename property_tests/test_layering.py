"""Who may import whom; the arrows of the design, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "lossref"
FRONT = {
    "cli",
    "session",
    "terminal",
    "replay",
    "run",
    "report",
    "golden",
    "saved",
    "faults",
    "explain",
    "resolve",
    "pytest_plugin",
}
BENCH = {"bench", "bench_rows", "bench_lines", "bench_page", "footprint", "standing", "timing", "workloads"}
FORBIDDEN = {
    **{part: {"cli"} for part in BENCH},  # may use anything; nobody but cli uses them
    "timing": {"checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "footprint": {"core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "axes": {"torch", "core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "core": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "number": {"torch", "numpy", "core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "arith": {"torch", "numpy", "core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "picking": {"torch", "core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "domains": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "laws": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "declare": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "cases": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "oracle": {"torch", "checks", "catalog", "blocks", "losses", *FRONT},
    "budgets": {"torch", "checks", "catalog", "blocks", "losses", *FRONT},
    "precision": {"core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "blocks": {"checks", "oracle", "arith", "number", "catalog", "losses", "probe", *FRONT},
    "losses": {"checks", "oracle", "arith", "number", "catalog", "probe", *FRONT},
    "catalog": {"checks", "oracle", *FRONT},
    "probe": {"checks", "catalog", "blocks", "losses", *FRONT},
    "checks": {"catalog", "blocks", "losses", *FRONT},
    "faults": {"cli", "session", "terminal", "run", "report"},
    "explain": {"cli", "session", "terminal", "run", "report"},
    "notation": {"cli", "session", "terminal", "run", "report", "explain"},
    "atomic": {"torch", "core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "limits": {"core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "run": {"cli", "session", "terminal"},
    "scenes": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "fixture_f": {"torch", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "packages": {"cli", "session", "terminal", "run", "report", "checks", "oracle"},
    "torchvision_ops": {"core", "checks", "oracle", "catalog", "blocks", "losses", *FRONT},
    "dropin": {"cli", "session", "terminal", "run", "report", "checks", "oracle"},
    "editions": {"checks", "oracle", "arith", "number", "catalog", "probe", "dropin", *FRONT},
    "api": {"cli", "session", "terminal", "run", "report", "checks", "oracle"},
    "targets": {"cli", "session", "terminal", "run", "report", "checks", "oracle"},
}
NOBODY_IMPORTS = {"cli", "pytest_plugin"}


def imported(source: str) -> set[str]:
    """Top-level packages, and the parts of lossref, that a module imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            found.add(parts[1] if parts[0] == "lossref" and len(parts) > 1 else parts[0])
    return found


def room(path: Path) -> str:
    """The part of lossref that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def violations(part: str, source: str) -> set[str]:
    """What a source imports although its part must not."""
    banned = set(FORBIDDEN.get(part, ())) | (NOBODY_IMPORTS if part != "__main__" else set())
    banned |= set() if part in BENCH | {"cli"} else BENCH
    return imported(source) & banned - ({part} if part in ("checks", "blocks", "losses") else set())


FILES = sorted(path for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_arrows(path: Path) -> None:
    assert not violations(room(path), path.read_text())


PLANTED = [
    ("losses", "from lossref.checks import CHECKS", {"checks"}),
    ("arith", "def f():\n    import torch", {"torch"}),
    ("oracle", "import lossref.losses.dfl", {"losses"}),
    ("run", "from lossref import cli", {"cli"}),
    ("blocks", "from lossref.run import plan", {"run"}),
    ("report", "from lossref.timing import interleaved", {"timing"}),
]


@pytest.mark.parametrize(("part", "source", "found"), PLANTED, ids=[f"{row[0]}-{min(row[2])}" for row in PLANTED])
def test_a_planted_violation_is_seen(part: str, source: str, found: set[str]) -> None:
    assert violations(part, source) == found


def test_every_part_has_a_rule() -> None:
    parts = {room(path) for path in FILES} - FRONT - {"__init__", "__main__"}
    assert parts <= set(FORBIDDEN), parts - set(FORBIDDEN)


def _oracle_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions that get the arithmetic: their first argument is m."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [node for node in functions if node.args.args and node.args.args[0].arg == "m"]


SPEC_FILES = [path for path in FILES if room(path) in ("blocks", "losses")]


@pytest.mark.parametrize("path", SPEC_FILES, ids=[path.stem for path in SPEC_FILES])
def test_no_oracle_reaches_torch_or_a_reference(path: Path) -> None:
    tree = ast.parse(path.read_text())
    oracles = {node.name for node in _oracle_functions(tree)}
    references = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name not in oracles}
    for function in _oracle_functions(tree):
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        own = {node.name for node in ast.walk(function) if isinstance(node, ast.FunctionDef)}
        allowed = {"_nearest"} | own
        assert not used & ({"torch", "Tensor", "nn", "functional"} | (references - allowed)), function.name
