"""Failing cases as files: what `lossref replay` reads, exact to the last bit, and readable by people.

The numbers of a large case stand in a compressed file beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossref.checks.evidence import Evidence
from lossref.checks.table import Check, named
from lossref.core.axes import frozen
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import call, itself
from lossref.hosts.process import HERE, Lodging
from lossref.losses import origin
from lossref.oracle.answers import weights
from lossref.run.atomic import write_text
from lossref.run.saved.arrays import encode, restored, stored
from lossref.run.saved.schema import Fault, read

SCHEMA = 1
KEPT = ("python", "command", "timeout", "memory", "tf32")  # of a lodging
LONGEST = 400
LONGEST_NAME = 160  # of a file or folder; a system takes 255


class SavedCaseError(Exception):
    """A file that is no saved case; the message is one sentence."""


@dataclass(frozen=True)
class SavedCase:
    """One failing case, with the check, dtype and target it belongs to, and how that was kept.

    `origin` is where a stranger's spec is from.
    """

    case: Case
    check: str
    dtype: str
    target: str
    as_spec: str | None = None
    origin: str = ""
    label: str = ""
    where: str = ""
    recorded: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    lodging: Lodging = HERE


def file_name(*words: str) -> str:
    """Words as the name of a file or folder, whatever they are."""
    name = "-".join(_plain(word) for word in words)
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{_digest(name)}"


def distinct(word: str) -> str:
    """The same for one word, so that no two have one name: a digest follows where it could not be kept as it is."""
    name = _plain(word)
    return name if name == word else f"{name}-{_digest(word)}"


def _plain(word: str) -> str:
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in word)
    return kept.strip(".-")[:80] or "target"


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "backslashreplace")).hexdigest()[:8]


def snippet(spec: Spec, target: Target, case: Case, check: Check, dtype: str) -> str:
    """Python that needs torch and the target only, and prints value and gradients; empty if it would not show it."""
    size = sum(array.size for array in case.inputs.values())
    if not check.one_call or not target.usage or len(spec.terms) > 1 or size > LONGEST:
        return ""
    lines = ["import torch", "torch.set_printoptions(precision=17)"]
    lines += ["torch.set_default_dtype(torch.float64)", ""] if dtype == "float64" else [""]
    for name, array in case.inputs.items():
        leaf = ", requires_grad=True" if name in spec.wrt else ""
        lines.append(f"{name} = torch.tensor({encode(array)['values']}, dtype=torch.{dtype}{leaf})")
    usage = target.usage
    for name, value in case.params.items():
        usage = usage.replace(f"{{{name}!r}}", repr(value))
    lines += [usage, "print(out)"]
    upstream = weights(_output_shape(spec, case))
    lines.append(f"out.backward(torch.tensor({upstream.tolist()}, dtype=out.dtype).reshape(out.shape))")
    return "\n".join([*lines, *(f"print({name!r}, {name}.grad)" for name in spec.wrt), ""])


def _output_shape(spec: Spec, case: Case) -> tuple[int, ...]:
    return call(spec, itself(spec), case, "float64").shapes[0]


def save(path: Path, spec: Spec, saved: SavedCase, target: Target, evidence: Evidence, why: str) -> None:
    """Write one failing case atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    case = saved.case
    before = {
        "schema": SCHEMA,
        "why": why,
        "spec": case.spec,
        "spec_from": origin(spec),
        "check": saved.check,
        "dtype": saved.dtype,
        "device": saved.device,
        "target": saved.target,
        "label": target.label,
        "where": target.where,
        "as": saved.as_spec,
        "lodging": {name: getattr(saved.lodging, name) for name in KEPT},
        "params": {**case.params, **case.asked},
    }
    after = {
        "flags": sorted(set(case.flags)),
        "id": case.id,
        "problem": evidence.problem,
        "detail": {
            key: x if not isinstance(x, float) or math.isfinite(x) else str(x) for key, x in evidence.detail.items()
        },
        "snippet": snippet(spec, target, case, named(saved.check), saved.dtype),
    }
    write_text(path, _joined(_text(before), f' "inputs": {stored(path, case)}', _text(after)) + "\n")


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1)


def _joined(before: str, between: str, after: str) -> str:
    """One object of two, with a field between them that is text already."""
    return ",\n".join((before.removesuffix("\n}"), between, after.removeprefix("{\n")))


def load(path: Path) -> SavedCase:
    """Read a file that `save` wrote. Raises `SavedCaseError`."""
    try:
        content = read(path.read_bytes(), "case")
        return _loaded(path, content)
    except FileNotFoundError:
        raise SavedCaseError(f"there is no file {path}; a failing run writes its cases to reports/.../cases/") from None
    except RecursionError:
        raise SavedCaseError(f"{path} is not a saved case: it is nested too deeply") from None
    except (OSError, Fault) as error:
        raise SavedCaseError(f"{path} is not a saved case: {error}") from None


def _loaded(path: Path, content: Mapping[str, Any]) -> SavedCase:
    params = {name: frozen(value) for name, value in content["params"].items()}
    inputs, flags = restored(path, content["inputs"]), tuple(content["flags"])
    return SavedCase(
        Case(content["spec"], inputs, params, content["id"], flags, content["why"]),
        check=content["check"],
        dtype=content["dtype"],
        target=content["target"],
        as_spec=content["as"],
        origin=content.get("spec_from", ""),
        label=content.get("label", ""),
        where=content.get("where", ""),
        device=str(content.get("device", "cpu")),
        lodging=Lodging(**content.get("lodging", {})),
        recorded={"problem": content["problem"], **content["detail"]},
    )
