"""Whose implementation is checked: how a TARGET word, or a function with what is said about it, becomes a target."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import io
import logging
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossref.checks.cases.limits import said_of
from lossref.core.nouns import Spec, Target
from lossref.hosts.probe import itself
from lossref.targets.declaring import UnknownTarget as UnknownTarget
from lossref.targets.declaring import declared
from lossref.targets.marks import Mark, marks

FORKED = ("ultralytics",)
"""The adapters that ask a package of another name, too: word FORK@ADAPTER."""


class Unavailable(RuntimeError):
    """A package that is missing or cannot be imported here; the message is one line."""


@contextlib.contextmanager
def quietly(what: str) -> Iterator[None]:
    """Import foreign code without its chatter; whatever it raises becomes one line."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a package may raise anything, SystemExit too
        said = (str(error).strip().splitlines() or [""])[0]
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        top = (missing or "").partition(".")[0]
        advice = f"; if {top} is a package: pip install -c constraints.txt {top}" if top else ""
        raise Unavailable(f"{what} cannot be imported: {type(error).__name__}: {said}{advice}") from error
    finally:
        logging.disable(level)


def adapters() -> list[str]:
    """The TARGET words that ship with lossref."""
    package = importlib.import_module("lossref.targets.adapters")
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return ["reference", *sorted(names - {"reference"})]


def asks_package(word: str) -> bool:
    """Whether a word is an adapter that ships, or FORK@ADAPTER: a package with the names of the one that it asks."""
    fork, _, name = word.rpartition("@")
    return name in adapters() and (not fork or name in FORKED)


def fork_of(word: str, package: str) -> str:
    """The word of a fork of a package, FORK@PACKAGE; the word itself where no package is named.

    Raises `UnknownTarget` for a package whose forks are not asked.
    """
    if not package:
        return word
    if package not in FORKED:
        raise UnknownTarget(f"--as-package takes {' or '.join(FORKED)}, of which TARGET is a fork; got {package!r}")
    return f"{word}@{package}"


def resolve(word: str, as_spec: str | None = None) -> list[Target]:
    """Every target that a TARGET word stands for. Raises `UnknownTarget` or `Unavailable`."""
    from lossref.losses import specs

    if word == "reference":
        return [reference(spec) for spec in specs().values()]
    if word in adapters():
        return [ready(one) for one in importlib.import_module(f"lossref.targets.adapters.{word}").targets()]
    module_name, _, attribute = word.partition(":")
    module = _load(module_name)
    if attribute:
        return [ready(one) for one in _named(module, module_name, attribute, as_spec)]
    found = [one for thing in vars(module).values() for one in _marked(thing, word)]
    if not found:
        raise UnknownTarget(how_to_declare(word))
    return [ready(one) for one in found]


def version(word: str) -> str:
    """The version of what a TARGET word stands for, or an empty string."""
    if word in adapters() and word != "reference":
        return str(importlib.import_module(f"lossref.targets.adapters.{word}").version())
    return ""


def reference(spec: Spec) -> Target:
    """lossref's own implementation, as a target like any other."""
    usage = f"{_specs_of(spec)}from lossref.losses import spec\nout = spec({spec.name!r}).reference({_arguments(spec)})"
    return replace(itself(spec), usage=usage)


def _specs_of(spec: Spec) -> str:
    """The lines that make a spec known that a user's file declares."""
    from lossref.losses import FILES, origin

    file = origin(spec)
    return f"import os\nos.environ[{FILES!r}] = {file!r}\n" if file.endswith(".py") else ""


def _arguments(spec: Spec) -> str:
    return ", ".join([*spec.inputs, *(f"{name}={{{name}!r}}" for name in spec.params)])


def how_to_declare(word: str) -> str:
    """The lines to paste into a module that declares no target."""
    from lossref.losses import specs

    module = word.removesuffix(".py").replace("/", ".")
    return (
        f"{word} declares no target. Paste this into it (specs: {', '.join(specs())}):\n\n"
        "    import lossref\n\n"
        '    @lossref.target("ciou")\n'
        "    def my_ciou(box1, box2, xywh=True, eps=1e-7):\n"
        "        ...  # return one number for each pair, shape (n, 1)\n\n"
        f"or name one function:  lossref validate {module}:my_ciou --as ciou"
    )


def _load(name: str) -> Any:
    """A module by dotted name or by path, from the current directory too."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    path = Path(name)
    if path.suffix == ".py":
        if not path.exists():
            raise UnknownTarget(f"there is no file {name}")
        sys.path.insert(0, str(path.resolve().parent))
        name = path.stem
    try:
        exists = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        exists = False
    except BaseException as error:  # a parent package may raise anything
        raise Unavailable(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if not exists:
        near = difflib.get_close_matches(name, adapters(), n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else "a module must be importable from here, a file must end in .py."
        )
        raise UnknownTarget(f"there is no target {name!r}; {hint} Built in: {', '.join(adapters())}")
    with quietly(name):
        return importlib.import_module(name)


def _marked(thing: Any, word: str) -> list[Target]:
    return [declared(thing, mark, word) for mark in marks(thing)]


def _named(module: Any, module_name: str, attribute: str, as_spec: str | None) -> list[Target]:
    thing = getattr(module, attribute, None)
    if thing is None or not callable(thing):
        near = difflib.get_close_matches(attribute, [n for n, x in vars(module).items() if callable(x)], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownTarget(f"{module_name} has no function {attribute!r}{hint}")
    if as_spec:
        return [declared(thing, Mark(as_spec), module_name)]
    marked = _marked(thing, module_name)
    if not marked:
        raise UnknownTarget(f"say which loss {attribute} is: lossref validate {module_name}:{attribute} --as SPEC")
    return marked


def ready(one: Target) -> Target:
    """The target with its notation settled (xyxy or xywh), where it has no parameter for it, and what there is to say.

    Asks the target, also one that declares its notation: it may follow another one, or none.
    """
    from lossref.losses import spec as find
    from lossref.targets.notation import followed

    spec = find(one.spec)
    for name, param in spec.params.items():
        if param.convention and name not in one.accepts and not one.unsupported:
            choice, note = followed(spec, one, name)
            fixed, notes = {**one.fixed, name: choice}, filter(None, (one.note, note))
            one = replace(one, fixed=fixed, note="; ".join(notes))
    return replace(one, note="; ".join(filter(None, (one.note, said_of(one.only)))))
