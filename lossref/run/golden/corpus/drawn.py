"""What was found out about drawn cases, and depends on no target: which draw tells a setting, which cases are decided.

To find it out the references are asked hundreds of times, at the same seed in every fresh clone. So it is recorded once
(`regression/drawn.py`) in drawn.json beside this file, and put into the cache, where a run looks for it: where the code
is another by now, or the machine, nothing is found there, and it is found out as ever.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from lossref.checks.attempts import Arithmetic
from lossref.checks.cases import decided
from lossref.checks.material import material
from lossref.checks.settings import TOLD_BY, place_of_draw
from lossref.core.nouns import Case, Spec
from lossref.oracle import cache
from lossref.oracle.kept import digest_of, keep
from lossref.run.golden.changes.code import module_of, sources
from lossref.run.golden.changes.reached import Place, reached, uses

FILE = Path(__file__).with_name("drawn.json")
TIER, SEED = "quick", 0  # what is recorded: what a run asks unless it is told otherwise
ROOTS: tuple[Place, ...] = (("lossref.checks.settings", "telling_number"), ("lossref.checks.cases.decided", "decided"))
CARRIERS = ("lossref.hosts.", "lossref.oracle.")  # what carries references and oracles out, and moves no number of them
UNUSED = ("impostors", "laws", "api", "returns", "cite", "summary")  # of a declaration: no draw hangs on them


@dataclass(frozen=True)
class Found:
    """Of one spec, by code of this digest.

    draws:   of each drawn case of a setting, in order, the number of the draw that tells, as `telling_number` gives it
    decided: the names of cases that were asked -> whether they have one answer
    """

    code: str
    draws: tuple[int, ...]
    decided: Mapping[str, bool]


@dataclass(frozen=True)
class Record:
    """Everything that was found out, and what the references were computed with."""

    by: Arithmetic
    specs: Mapping[str, Found]


@lru_cache(maxsize=1)
def record() -> Record | None:
    """What is recorded; None where that cannot be read."""
    try:
        content = json.loads(FILE.read_bytes())
        specs = {
            name: Found(one["code"], tuple(one["draws"]), one["decided"]) for name, one in content["specs"].items()
        }
        version, processor, threads = content["by"]
        return Record((version, processor, threads), specs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def bytes_of(made: Record) -> bytes:
    """The content of the file."""
    specs = {name: asdict(one) for name, one in sorted(made.specs.items())}
    return (json.dumps({"by": made.by, "specs": specs}, indent=1) + "\n").encode()


@lru_cache(maxsize=256)
def fed(spec: Spec) -> int:
    """Put what is recorded of a composite into the cache, if the code is that that it was found by; how much."""
    known = record()
    found = known.specs.get(spec.name) if known else None
    note = cache.place("drawn", spec, Case(spec.name, {}, {}, found.code), TOLD_BY) if found else None
    if known is None or found is None or note is None or cache.read(note) is not None:
        return 0
    found = found if found.code == code_of(spec) else Found("", (), {})
    places = [(place_of_draw(spec, TIER, SEED, (), at, known.by[0]), draw) for at, draw in enumerate(found.draws)]
    places += [(decided.place_of(spec, name, known.by), said) for name, said in found.decided.items()]
    for place, said in places:
        keep(place, [said])
    cache.write(note, b"fed")
    return len(places)


def code_of(spec: Spec) -> str:
    """A digest of what is drawn first, and of all code that decides what is found out about it, but what carries it."""
    these, module = sources(), module_of(spec)
    names = [place for one in _declared(module) for place in uses(these, module, one)]
    places = [one for one in reached(these, [*ROOTS, *names]) if not one[0].startswith(CARRIERS)]
    lines = sorted(f"{place}: {these.step(place)}" for place in places)
    drawn = digest_of(material(spec, "setting", TIER, SEED)).hex()
    return hashlib.sha256("\n".join([drawn, *lines]).encode()).hexdigest()


def _declared(module: str) -> list[ast.AST]:
    """What `SPEC = Spec(...)` says; of a declaration of another form, all of it."""
    found = list[ast.AST]()
    for one in sources().module(module).bound["SPEC"]:
        value = getattr(one, "value", None)
        words = value.keywords if isinstance(value, ast.Call) else []
        found += [word.value for word in words if word.arg not in UNUSED] or [one]
    return found
