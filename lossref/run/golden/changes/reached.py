"""Which definitions a piece of code rests on, followed from name to name through all files, and a digest of them.

Files are read, not run. A definition counts as its syntax tree without docstrings and annotations: comments, line
breaks and whatever is not reached change nothing; every constant, default and decorator that is reached does. Where a
name may mean several things all of them count. What a name is bound to while the program runs is not seen.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PACKAGE = "lossref"
UNSEEN = ("annotation", "returns", "type_comment", "type_params", "ctx", "kind")  # fields that change no number
IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INNER = (*FUNCTIONS, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)  # scopes of their own
Place = tuple[str, str]  # a module and a name in it; no name: the module as a whole
NOTHING, NONE = frozenset[str](), frozenset[int]()


@dataclass(frozen=True, eq=False)
class Module:
    """What a file binds at its top level.

    bound:   name -> the statements that bind it
    effects: statements that bind nothing and may change what is bound, `TABLE["a"] = 1`; they belong to every name
    """

    bound: Mapping[str, tuple[ast.stmt, ...]]
    effects: tuple[ast.stmt, ...]

    def of(self, name: str) -> list[ast.stmt]:
        """Those that a name rests on: all, where it is the module itself, or nothing there that can be read."""
        named = self.bound.get(name) or [one for ones in self.bound.values() for one in ones]
        return [*named, *self.effects]


class Sources:
    """The modules below the folder of the package, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = lru_cache(maxsize=None)(self._file)
        self.module = lru_cache(maxsize=None)(self._module)
        self.step = lru_cache(maxsize=None)(self._step)

    def _file(self, name: str) -> Path | None:
        first, *rest = name.split(".")
        base = self.root.joinpath(*rest)
        places = [base / "__init__.py", *([base.with_suffix(".py")] if rest else [])]
        return next((one for one in places if one.is_file()), None) if first == PACKAGE else None

    def _module(self, name: str) -> Module:
        path = self.file(name)
        bound, effects = dict[str, tuple[ast.stmt, ...]](), list[ast.stmt]()
        for one in ast.parse(path.read_bytes()).body if path else []:
            names = dict.fromkeys(_bound_by(one))
            bound |= {word: (*bound.get(word, ()), one) for word in names}
            effects += [] if names or _says_nothing(one) else [one]
        return Module(bound, tuple(effects))

    def _step(self, place: Place) -> tuple[list[str], list[Place]]:
        """What is said at a place, and the places that this uses, in its order: which name is which counts, too."""
        module, name = place
        found = self.module(module).of(name) if self.file(module) else []
        words = [said(one) for one in found if not isinstance(one, IMPORTS)]
        return words, [other for one in found for other in uses(self, module, one, name)]


def digest(sources: Sources, roots: Iterable[Place]) -> str:
    """A digest of everything that these names rest on, the same on every machine."""
    lines = sorted(f"{place}: {sources.step(place)}" for place in reached(sources, roots))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def reached(sources: Sources, roots: Iterable[Place]) -> set[Place]:
    """Every name that these rest on, with the module that binds it, be it by an import."""
    seen, waiting = set[Place](), list(roots)
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            waiting += sources.step(place)[1]
    return {place for place in seen if sources.file(place[0])}


# One step -------------------------------------------------------------------------------------------------


def uses(sources: Sources, here: str, tree: ast.AST, name: str = "") -> Iterator[Place]:
    """The names of the package that code in a module uses; of an import what it brings, under this name or any."""
    bound = sources.module(here).bound
    if isinstance(tree, IMPORTS):
        names = [_name(alias) for alias in tree.names]
        yield from (
            place for one in names if one == name or name not in names for place in _brought(sources, here, tree, one)
        )
        return
    asked = set[int]()  # modules that are only asked for one of their names
    for node in _free(tree, NOTHING):
        if isinstance(node, IMPORTS):
            yield from uses(sources, here, node)
        elif isinstance(node, ast.Name) and node.id in bound and id(node) not in asked:
            yield here, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            imports = (one for one in bound.get(node.value.id, ()) if isinstance(one, IMPORTS))
            places = [place for one in imports for place in _brought(sources, here, one, node.value.id)]
            yield from (_member(sources, module, node.attr) for module, inner in places if not inner)
            asked |= {id(node.value)} if places and not any(inner for _, inner in places) else NONE


def _brought(sources: Sources, here: str, one: ast.Import | ast.ImportFrom, name: str) -> Iterator[Place]:
    """What a name that is imported stands for: a name of another module, or a module."""
    for alias in one.names:
        if _name(alias) != name:
            continue
        if isinstance(one, ast.Import):
            yield (alias.name if alias.asname else name), ""
        else:
            yield _member(sources, _base(sources, here, one), "" if alias.name == "*" else alias.name)


def _member(sources: Sources, module: str, name: str) -> Place:
    """A name of a module, or the module of that name in a package."""
    inner = f"{module}.{name}"
    return (inner, "") if sources.file(inner) and name not in sources.module(module).bound else (module, name)


def _base(sources: Sources, here: str, one: ast.ImportFrom) -> str:
    """The module that `from ... import` names, also where it is told by dots."""
    if not one.level:
        return one.module or ""
    path, parts = sources.file(here), here.split(".")
    up = one.level - (path is not None and path.name == "__init__.py")
    return ".".join([*parts[: len(parts) - up], *([one.module] if one.module else [])])


# Trees ----------------------------------------------------------------------------------------------------


def _bound_by(one: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top level binds."""
    if isinstance(one, IMPORTS):
        yield from map(_name, one.names)
    elif isinstance(one, DEFINITIONS):
        yield one.name
    else:
        yield from (node.id for node in ast.walk(one) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        inner = [node for node in ast.walk(one) if isinstance(node, (*IMPORTS, *DEFINITIONS))]
        yield from (name for node in inner for name in _bound_by(node))


def _name(alias: ast.alias) -> str:
    """The name under which something is imported."""
    return alias.asname or alias.name.partition(".")[0]


def _says_nothing(one: ast.AST) -> bool:
    return isinstance(one, ast.Pass) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))


def _free(tree: ast.AST, local: frozenset[str]) -> Iterator[ast.AST]:
    """Every node that is not of an annotation, but for names that are local to a function."""
    if isinstance(tree, ast.Name) and tree.id in local:
        return
    yield tree
    inside = local | _locals(tree) if isinstance(tree, FUNCTIONS) else local
    for field, value in _fields(tree):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield from _free(one, inside if field == "body" else local)


def _locals(function: ast.AST) -> set[str]:
    """The parameters of a function, and the names that its own statements bind, but for global ones."""
    args, body = function.args, function.body  # type: ignore[attr-defined]
    found = {one.arg for one in ast.walk(args) if isinstance(one, ast.arg)}
    nodes = [node for one in (body if isinstance(body, list) else [body]) for node in _own(one)]
    found |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return found - {name for node in nodes if isinstance(node, ast.Global) for name in node.names}


def _own(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the scopes within it."""
    yield tree
    if not isinstance(tree, INNER):
        for one in ast.iter_child_nodes(tree):
            yield from _own(one)


def _fields(tree: ast.AST) -> list[tuple[str, object]]:
    """The fields of a node that can change a number; a docstring is none."""
    found = [(name, value) for name, value in ast.iter_fields(tree) if name not in UNSEEN]
    if not isinstance(tree, DEFINITIONS):
        return found
    return [(name, [x for x in value if not _says_nothing(x)] if name == "body" else value) for name, value in found]


def said(tree: object) -> str:
    """A tree in words that are the same for every version of Python; docstrings and annotations are left out."""
    if isinstance(tree, list):
        return f"[{' '.join(map(said, tree))}]"
    if not isinstance(tree, ast.AST):
        return repr(tree)
    words = [f"{name}={said(value)}" for name, value in _fields(tree) if value is not None and value != []]
    return f"{type(tree).__name__}({' '.join(words)})"
