"""A run in parts, one for each machine: what a part is asked, and one folder made of the folders of all parts."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossref.core.nouns import Verdict, verdict_of
from lossref.run.atomic import held, write_text
from lossref.run.plan import Job, is_short
from lossref.run.saved.schema import Fault, read

SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")
FACTS, VERDICTS = "run.json", "verdicts.jsonl"
SAME = ("target", "version", "lossref", "torch", "tier", "seed")


class ShardError(Exception):
    """It is no part of a run, or no part of this one; the message says why, and what to do."""


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of` parts; the first one is 1."""

    number: int
    of: int


def shard(text: str) -> Shard:
    """The part that a word like "1/3" names. Raises `ShardError`."""
    match = SHARD.fullmatch(text)
    if not match or int(match[1]) > int(match[2]):
        raise ShardError(f"{text!r} is no part of a run; write NUMBER/PARTS, 1/3 to 3/3 for three machines")
    return Shard(int(match[1]), int(match[2]))


def part(plan: Sequence[Job], which: Shard) -> list[int]:
    """The numbers of the jobs of a part, the same on every machine: long ones are dealt out first."""
    order = sorted(range(len(plan)), key=lambda at: is_short(plan[at]))
    return sorted(order[which.number - 1 :: which.of])


def facts(plan: Sequence[Job], which: Shard, digest: str) -> dict[str, Any]:
    """What run.json says of a part: which it is, of which run, and where its jobs stand in the whole plan."""
    rows = [[at, plan[at].spec, plan[at].label, plan[at].lodging.device] for at in part(plan, which)]
    return {"shard": {"number": which.number, "of": which.of, "whole": digest, "jobs": rows}}


# Together again ---------------------------------------------------------------------------------------


def merge(folders: Sequence[Path], out: Path) -> None:
    """Write the folder of one run from those of all its parts. Raises `ShardError`, `InUse` or `OSError`.

    A part that was cut off gives what it has; the whole is then as incomplete as that part. The `out` folder is empty,
    or is not there.
    """
    known = [_facts(folder) for folder in folders]
    _belong_together(folders, known)
    if out.exists() and any(out.iterdir()):
        raise ShardError(f"{out} is not empty; name another place with --out")
    place = {(spec, label, device): at for one in known for at, spec, label, device in one["shard"]["jobs"]}
    verdicts = [one for folder in folders for one in _verdicts(folder)]
    verdicts.sort(key=lambda one: place.get((one.spec, one.target, one.device), len(place)))
    out.mkdir(parents=True, exist_ok=True)
    with held(out):
        (out / "cases").mkdir(exist_ok=True)
        for folder in folders:
            for path in sorted((folder / "cases").glob("*")):
                shutil.copyfile(path, out / "cases" / path.name)
        write_text(out / VERDICTS, "".join(json.dumps(asdict(one)) + "\n" for one in verdicts))
        write_text(out / FACTS, json.dumps(_of_all(known), indent=1) + "\n")


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    try:
        found = dict(read(path.read_bytes(), "run", whole=False))
    except FileNotFoundError:
        raise ShardError(f"there is no {path}; say which folders `lossref validate --shard` wrote") from None
    except (OSError, Fault) as error:
        raise ShardError(f"{path} is broken ({error}); run that part again") from None
    if "shard" not in found:
        raise ShardError(f"{folder} is a whole run, no part of one; parts are made with lossref validate --shard 1/3")
    return found


def _belong_together(folders: Sequence[Path], known: Sequence[Mapping[str, Any]]) -> None:
    """Raise `ShardError` unless these are all parts of one run, each once."""
    first, one = folders[0], known[0]
    for folder, other in zip(folders, known, strict=True):
        two = f"{first} and {folder} are parts of two runs"
        for name in SAME:
            if one.get(name) != other.get(name):
                raise ShardError(f"{two}: {name} is {one.get(name)!r} and {other.get(name)!r}")
        if (one["shard"]["whole"], one["shard"]["of"]) != (other["shard"]["whole"], other["shard"]["of"]):
            raise ShardError(f"{two}: `{one.get('command')}` and `{other.get('command')}`")
    parts = Counter(other["shard"]["number"] for other in known)
    for number in range(1, one["shard"]["of"] + 1):
        if parts[number] != 1:
            what = "is not there" if not parts[number] else "is there more than once"
            raise ShardError(f"part {number} of {one['shard']['of']} {what}; give the folder of each part once")


def _verdicts(folder: Path) -> list[Verdict]:
    """Those that are on disk; a line that was cut off is none."""
    path = folder / VERDICTS
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    try:
        return [verdict_of(read(line, "verdict", infinite=True)) for line in lines]
    except Fault as error:
        raise ShardError(f"{path} is broken ({error}); run that part again") from None


def _of_all(known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of the whole: sums and unions where the parts differ."""
    one = known[0]
    families: dict[str, Counter[str]] = {}
    for other in known:
        for spec, counts in other.get("families", {}).items():
            families.setdefault(spec, Counter()).update(counts)
    hosts = {json.dumps(host, sort_keys=True): host for other in known for host in other.get("hosts", ())}
    return {
        **{name: value for name, value in one.items() if name not in ("shard", "processes")},
        "command": "; ".join(str(other.get("command")) for other in known),
        "started": min(str(other.get("started")) for other in known),
        "planned": sum(int(other.get("planned", 0)) for other in known),
        "seconds": round(sum(float(other.get("seconds", 0)) for other in known), 2),
        "families": {spec: dict(counts) for spec, counts in sorted(families.items())},
        "hosts": list(hosts.values()),
        "notes": list(dict.fromkeys(note for other in known for note in other.get("notes", ()))),
        "files": {path: digest for other in known for path, digest in other.get("files", {}).items()},
        "plan": one["shard"]["whole"],
        "finished": all(other.get("finished") for other in known),
    }
