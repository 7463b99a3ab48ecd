"""What a TARGET word stands for, found where the target lives: rows of an adapter, or marked functions and classes."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .described import described, parameters

MARK = "__lossref_targets__"
ADAPTERS = "lossref.targets.adapters"
Build = Callable[..., Callable[..., Any]]
ROW = ("spec", "label", "accepts", "fixed", "dtypes", "slack", "known", "unsupported", "note", "usage", "only", "where")
"""What is told of each target of an adapter."""


class Absent(Exception):
    """There is no file, module or function of that name; the message is one sentence."""


class NoFunction(Absent):
    """The module is there, the function is not."""


def rows_of_adapter(word: str) -> Iterator[tuple[Build, dict[str, Any]]]:
    """The targets of an adapter that ships, each with how it is built; of FORK@ADAPTER, those of the fork."""
    module, package = _adapter(word)
    for target in module.targets(*package):
        yield target.build, {name: getattr(target, name) for name in ROW}


def version_of_adapter(word: str) -> str:
    """The version of the package that an adapter asks."""
    module, package = _adapter(word)
    return str(module.version(*package))


def _adapter(word: str) -> tuple[Any, list[str]]:
    """The adapter that a word names, and the package that it is to ask where it is not the usual one."""
    fork, _, name = word.rpartition("@")
    return importlib.import_module(f"{ADAPTERS}.{name}"), [fork] if fork else []


def loaded(name: str) -> Any:
    """A module by dotted name or by path. Raises `Absent` with a sentence where there is none."""
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise Absent(f"there is no file {name}")
        return _from_file(path.resolve())
    try:
        exists = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        exists = False
    except (ValueError, AttributeError):
        exists = False
    if not exists:
        raise Absent(f"there is no target {name!r}")
    return importlib.import_module(name)


def _from_file(path: Path) -> Any:
    """The module of a file: part of its package where the folder is one, else under a name that nothing else has."""
    root = path.parent
    parts = [] if path.stem == "__init__" else [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    sys.path.insert(0, str(root))
    if len(parts) > 1 or path.stem == "__init__":
        return importlib.import_module(".".join(parts))
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise Absent(f"{path} cannot be loaded as a module")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module


def sources() -> list[str]:
    """The files of what was imported here, but for lossref and what is installed: they may be edited meanwhile."""
    installed = tuple({f"{place}/" for place in (sys.prefix, sys.base_prefix)})
    files = {str(getattr(module, "__file__", "")) for name, module in list(sys.modules.items()) if not _is_ours(name)}
    return sorted(file for file in files if file.endswith(".py") and not file.startswith(installed))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("lossref", __name__.partition(".")[0])


def marked(module: Any) -> Iterator[tuple[Build, dict[str, Any]]]:
    """Every marked function or class of a module, once, with every mark that it bears."""
    seen: set[int] = set()
    for attribute, thing in _within(module):
        if id(thing) in seen or not callable(thing):
            continue
        for mark in _marks(thing):
            seen.add(id(thing))
            yield _as_marked(thing, attribute, mark)


def _within(module: Any) -> Iterator[tuple[str, Any]]:
    """What a module holds, and what its own classes hold. Raises `Absent` for a marked method that needs an object."""
    for attribute, thing in list(vars(module).items()):
        yield attribute, thing
        if isinstance(thing, type) and thing.__module__ == module.__name__:
            yield from _of_class(thing, attribute)


def _of_class(owner: type, path: str) -> Iterator[tuple[str, Any]]:
    for name, part in list(vars(owner).items()):
        bound, attribute = getattr(owner, name, None), f"{path}.{name}"
        if isinstance(part, type) and part.__qualname__.startswith(f"{owner.__qualname__}."):
            yield from _of_class(part, attribute)
        elif inspect.isfunction(part) and _marks(part):
            raise Absent(f"{attribute} is marked, but is a method: mark the class, a function or a @staticmethod")
        yield attribute, bound


def _marks(thing: Any) -> list[Mapping[str, Any]]:
    own = getattr(thing, "__dict__", {}).get(MARK, ())
    return [dict(vars(mark)) for mark in own] if isinstance(own, tuple) else []


def named(module: Any, attribute: str, as_spec: str = "") -> Iterator[tuple[Build, dict[str, Any]]]:
    """One function or class by its name, as `as_spec` or with its marks, or without any.

    Raises `Absent` where there is none.
    """
    thing: Any = module
    for part in attribute.split("."):
        thing = getattr(thing, part, None)
    if thing is None or not callable(thing):
        near = difflib.get_close_matches(attribute, callables(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NoFunction(f"{module.__name__} has no function {attribute!r}{hint}")
    marks: list[Any] = [mark for mark in _marks(thing) if as_spec in ("", mark["spec"])]
    for mark in marks or ([{"spec": as_spec}] if as_spec else [None]):
        yield _as_marked(thing, attribute, mark)


def _as_marked(thing: Any, attribute: str, mark: Mapping[str, Any] | None) -> tuple[Build, dict[str, Any]]:
    """How something is built for a mark, and what is said of it."""
    said = {**described(thing, attribute), "mark": mark}
    how = _asking(thing, mark) if mark else None
    if how is None:
        return build_of(thing), said
    return how.build, {**said, "asking": {"accepts": how.accepts, "fixed": dict(how.fixed), "note": how.note}}


def _asking(thing: Any, mark: Mapping[str, Any]) -> Any:
    """How lossref asks what takes more, or gives less, than the inputs and terms of a spec; None for what does not."""
    if not _may_need_asking(thing):
        return None
    try:
        own = importlib.import_module("lossref.targets.dropin.own")
    except ImportError:  # in an environment that has not all that lossref needs
        return None
    return own.asking(thing, str(mark["spec"]), dict(mark.get("fixed", {})))


def _may_need_asking(thing: Any) -> bool:
    """Whether it is worth while to import lossref: a class with parents or few arguments, or something with gains."""
    if isinstance(thing, type):
        return True
    return sum(name.endswith("_gain") for name in parameters(thing)) > 1


def callables(module: Any) -> list[str]:
    """The names in a module that can be called."""
    return [name for name, thing in vars(module).items() if callable(thing)]


def build_of(thing: Any) -> Build:
    """A class is built with the parameters; a function is called with them, after the inputs."""
    return thing if isinstance(thing, type) else partial(partial, thing)
