"""Dialects as files: the settings that a target is held to, with their reasons, and findings that are known.

A file is TOML: `[[setting]]` with spec (names or globs, with commas between), name, value and reason; `[[known]]` with
finding (its id), reason, and perhaps spec, the specs that it is of; either may have `until`, the release from which on
it holds no longer.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossref import losses
from lossref.core.axes import frozen
from lossref.core.nouns import Spec, Verdict

SHIPPED = Path(__file__).parents[2] / "targets" / "dialects"
FIELDS = {"setting": ("spec", "name", "value", "reason"), "known": ("finding", "reason")}
MORE = {"setting": ("until",), "known": ("spec", "until")}


class BadDialect(Exception):
    """A dialect that cannot be read or does not fit the specs; the message is one sentence."""


@dataclass(frozen=True)
class Setting:
    """A parameter that stands elsewhere than at its default, on the specs that match, and why."""

    spec: str
    name: str
    value: Any
    reason: str
    until: str = ""


@dataclass(frozen=True)
class Known:
    """A finding that is expected, by its id, and why; of these specs, or of any."""

    finding: str
    reason: str
    until: str = ""
    spec: str = ""


@dataclass(frozen=True)
class Dialect:
    """What a target is held to in place of the defaults."""

    name: str
    settings: tuple[Setting, ...] = ()
    known: tuple[Known, ...] = ()

    def of(self, spec: Spec) -> dict[str, Any]:
        """The settings of one spec by name."""
        return {one.name: one.value for one in self.settings if one.name in spec.params and _fits(one, spec.name)}

    def expected(self, specs: Collection[str], every_spec: bool) -> tuple[Known, ...]:
        """The findings that a run of all checks on these specs has to have, if they are still there."""
        return tuple(one for one in self.known if every_spec or any(_fits(one, spec) for spec in specs))


def shipped() -> list[str]:
    """The names of the dialects that come with lossref."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def read(word: str, version: str = "") -> Dialect:
    """The dialect of that name, or in that file. Raises `BadDialect`, also for what no longer holds at a version."""
    path = SHIPPED / f"{word}.toml" if word in shipped() else Path(word)
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        names = ", ".join(shipped())
        raise BadDialect(f"there is no dialect {word!r}: name a file, or one of those shipped: {names}") from None
    except RecursionError:
        raise BadDialect(f"{path} is no dialect: it is nested too deeply") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadDialect(f"{path} is no dialect: {error}") from None
    unknown = sorted(content.keys() - FIELDS.keys())
    if unknown:
        raise BadDialect(f"{path}: {unknown[0]!r} is not one of {', '.join(FIELDS)}")
    settings = [_setting(path, number, one) for number, one in enumerate(_tables(path, content, "setting"), 1)]
    known = [
        Known(**_words(path, "known", number, one)) for number, one in enumerate(_tables(path, content, "known"), 1)
    ]
    ends = [(one.name, one.until) for one in settings] + [(one.finding, one.until) for one in known]
    for what, until in ends:
        if until and version and _release(version) >= _release(until):
            raise BadDialect(f"{path}: {what} holds until {until}, and this is {version}: strike it off")
    return Dialect(path.stem, tuple(settings), tuple(known))


def _tables(path: Path, content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadDialect(f"{path}: {name} is written as [[{name}]], one table for each")
    return found


def _words(path: Path, kind: str, number: int, one: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one table, all of them and no others."""
    allowed = (*FIELDS[kind], *MORE[kind])
    for name in FIELDS[kind]:
        if name not in one:
            raise BadDialect(f"{path}: [[{kind}]] number {number} has no {name!r}")
    for name, value in one.items():
        if name not in allowed:
            raise BadDialect(f"{path}: [[{kind}]] number {number}: {name!r} is not one of {', '.join(allowed)}")
        if name != "value" and not isinstance(value, str):
            raise BadDialect(f"{path}: [[{kind}]] number {number}: {name} is no text")
    return dict(one)


def _setting(path: Path, number: int, content: Mapping[str, Any]) -> Setting:
    one = Setting(**_words(path, "setting", number, content))
    where = f"{path}: [[setting]] number {number}"
    fitting = [spec for name, spec in losses.specs().items() if _fits(one, name)]
    if not fitting:
        raise BadDialect(f"{where}: there is no spec {one.spec!r}")
    having = [spec for spec in fitting if one.name in spec.params]
    if not having:
        raise BadDialect(f"{where}: {fitting[0].name} has no parameter {one.name!r}; {', '.join(fitting[0].params)}")
    return Setting(one.spec, one.name, _value(where, having[0], one), one.reason, one.until)


def _value(where: str, spec: Spec, one: Setting) -> Any:
    """The value as the spec has it: TOML has no None and no tuples."""
    param, given = spec.params[one.name], frozen(one.value)
    allowed = (param.default, *param.others)
    for value in allowed:
        if value == given or (isinstance(given, str) and repr(value) == given):
            return value
    if isinstance(given, int | float) and not isinstance(given, bool) and isinstance(param.default, int | float):
        return given
    raise BadDialect(f"{where}: {one.name} is {given!r}, expected one of {', '.join(map(repr, allowed))}")


def _fits(one: Setting | Known, spec: str) -> bool:
    return any(fnmatch.fnmatchcase(spec, pattern.strip()) for pattern in one.spec.split(","))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


# Writing ------------------------------------------------------------------------------------------------


def written(verdicts: Iterable[Verdict], about: str) -> str:
    """A dialect file with the settings that were found in a run."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in verdicts:
        for setting in (word for failure in one.failures for word in failure.settings):
            name, _, value = setting.partition("=")
            specs = found.setdefault((name, value), [])
            specs += [one.spec] if one.spec not in specs else []
    lines = [f"# {about}"]
    for (name, value), specs in sorted(found.items()):
        reason = losses.spec(specs[0]).params[name].doc
        lines += ["", "[[setting]]", f"spec = {_text(', '.join(specs))}", f"name = {_text(name)}"]
        lines += [f"value = {_toml(value)}", f"reason = {_text(f'measured ({reason})')}"]
    return "\n".join(lines) + "\n"


def _toml(value: str) -> str:
    """The repr of a value in TOML."""
    if value[:1] in "'\"":
        return _text(value[1:-1])
    if value in ("True", "False"):
        return value.lower()
    if value.startswith("("):
        return f"[{value.strip('(),')}]"
    return _text(value) if value == "None" else value


def _text(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)
