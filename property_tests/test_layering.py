"""Who may import whom: one ordered list of rooms, held against the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "lossref"
DOOR = "door"
ROOMS = [
    *("spec", "core", "oracle", "losses", "hosts", "checks", "targets", "editions", "run", "report", "bench"),
    *("api", "pytest_plugin", "cli", "__main__"),
]
"""From the ground up: a room imports only itself and what stands before it. `__init__`, the door, is open to all,
by its public names only."""
WITHOUT_TORCH = ("spec", "core", "oracle")
MAY_TORCH = ("core/precision.py",)  # the rules of dtypes that references share
MOST_LINES, MOST_IN_A_ROOM = 250, 12


def imports(source: str) -> Iterator[str]:
    """Every module, or name of a module, that a source imports anywhere in it, by its dotted path."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The room that a file belongs to."""
    name = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return DOOR if name == "__init__" else name


def forbidden(place: str, source: str) -> set[str]:
    """What a source imports although its room must not."""
    below = set(ROOMS[: ROOMS.index(place) + 1]) if place in ROOMS else set(ROOMS)
    return {name for name in imports(source) if not _open(name.split("."), below)}


def _open(parts: list[str], below: set[str]) -> bool:
    if parts[0] != "lossref" or len(parts) == 1:
        return True
    return not parts[1].startswith("_") if parts[1] not in ROOMS else parts[1] in below


FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
FOLDERS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_arrows_point_downward(path: Path) -> None:
    assert room(path) in (*ROOMS, DOOR), "a new room wants its place in ROOMS"
    assert not forbidden(room(path), path.read_text())


PLANTED = [
    ("losses", "from lossref.checks.table import CHECKS", {"lossref.checks.table.CHECKS"}),
    ("losses", "from lossref import checks", {"lossref.checks"}),
    ("oracle", "import lossref.losses.box_terms.dfl", {"lossref.losses.box_terms.dfl"}),
    ("run", "def f():\n    from lossref import cli", {"lossref.cli"}),
    ("report", "from lossref.bench.timing import interval", {"lossref.bench.timing.interval"}),
    ("targets", "from lossref import _WHERE", {"lossref._WHERE"}),
    ("bench", "from lossref import bbox_iou\nimport lossref", set()),
    ("bench", "from lossref.core.nouns import Spec", set()),
    ("spec", "from lossref.core.nouns import Spec", {"lossref.core.nouns.Spec"}),
]


@pytest.mark.parametrize(("place", "source", "found"), PLANTED, ids=[f"{row[0]}: {row[1]}" for row in PLANTED])
def test_a_planted_arrow_is_seen(place: str, source: str, found: set[str]) -> None:
    assert forbidden(place, source) == found


GROUND = [path for path in FILES if room(path) in WITHOUT_TORCH and str(path.relative_to(ROOT)) not in MAY_TORCH]


@pytest.mark.parametrize("path", GROUND, ids=[str(path.relative_to(ROOT)) for path in GROUND])
def test_the_ground_floors_need_no_torch(path: Path) -> None:
    assert not {name for name in imports(path.read_text()) if name.split(".")[0] == "torch"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(folder.relative_to(ROOT)) for folder in FOLDERS])
def test_no_room_is_too_full(folder: Path) -> None:
    inside = {path for path in FILES if path.parent == folder and path.stem not in ("__init__", "__main__")}
    rooms = {other for other in FOLDERS if other.parent == folder}
    doors = {folder / f"{name}.py" for name in ("api", "cli", "pytest_plugin")} if folder == ROOT else set()
    assert len(inside - doors) + len(rooms) <= MOST_IN_A_ROOM


def test_no_circle() -> None:
    """Modules import each other in one direction, also within a room; what only types need counts, too."""
    graph = {
        _dotted(path): {name for name in imports(path.read_text()) if name.startswith("lossref.")} for path in FILES
    }
    modules = set(graph) - {"lossref"}
    arrows = {name: {_module(one, modules) for one in graph[name]} - {name, ""} for name in modules}
    while leaves := {name for name in arrows if not arrows[name]}:
        arrows = {name: into - leaves for name, into in arrows.items() if name not in leaves}
    assert not arrows, f"in a circle, or above one: {sorted(arrows)}"


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module(name: str, modules: set[str]) -> str:
    """The module that holds an imported name; nothing for a public name of the door."""
    return name if name in modules else next(iter({name.rpartition(".")[0]} & modules), "")


def _oracle_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions that get the arithmetic: their first argument is m."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [node for node in functions if node.args.args and node.args.args[0].arg == "m"]


LOSS_FILES = [path for path in FILES if room(path) == "losses"]


@pytest.mark.parametrize("path", LOSS_FILES, ids=[str(path.relative_to(ROOT)) for path in LOSS_FILES])
def test_no_oracle_reaches_torch_or_a_reference(path: Path) -> None:
    tree = ast.parse(path.read_text())
    oracles = {node.name for node in _oracle_functions(tree)}
    references = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name not in oracles}
    for function in _oracle_functions(tree):
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        own = {node.name for node in ast.walk(function) if isinstance(node, ast.FunctionDef)}
        allowed = {"_nearest"} | own
        assert not used & ({"torch", "Tensor", "nn", "functional"} | (references - allowed)), function.name
