"""Recorded cases: exact inputs and the certified answer, one .json and one .safetensors for each spec."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from lossref.checks.material import conventions, draw_case, with_defaults
from lossref.checks.table import examine, named
from lossref.core.nouns import Answer, Array, Case, Spec
from lossref.hosts.probe import itself
from lossref.oracle import cache
from lossref.oracle.answers import (
    NOTHING,
    answer,
    certified_digits,
    climbed,
    endpoints,
    floats,
    is_certified,
    nearest,
)
from lossref.oracle.tape import Tie, Uncertified
from lossref.run.atomic import write_bytes, write_text
from lossref.run.golden.recorded import FOLDER, case_of, damaged, digest, places, tensors_of

SCHEMA = 1
SEED = 20261122
DRAWN = {False: 12, True: 2}
CORNERS = {False: 1000, True: 5}  # an answer of a composite takes the oracle half a second
SHOWN_DIGITS = 200


class Unrecordable(Exception):
    """A spec that cannot be recorded; the message says at which case, and why."""


def folder_to_check() -> Path:
    """Where the record is looked for unless a folder is named: ./golden, if it holds one, else lossref's own.

    lossref's own is in the package where it was installed from a wheel, and beside the package in a checkout.
    """
    return next((folder for folder in places() if any(folder.glob("*.safetensors"))), FOLDER)


def recorded_cases(spec: Spec) -> Iterator[Case]:
    """The corners that the oracle answers, then drawn cases with a fixed seed."""
    corners = (replace(case, params=with_defaults(spec, case.params)) for case in spec.corners)
    yield from itertools.islice((case for case in corners if answerable(spec, case)), CORNERS[spec.composite])
    rng = np.random.default_rng(SEED)
    for number in range(DRAWN[spec.composite]):
        for layout in conventions(spec):
            dims = spec.sizes["small"][number % len(spec.sizes["small"])]
            case = replace(draw_case(spec, rng, dims, layout), id=f"drawn {number} {layout or ''}".strip())
            if answerable(spec, case):
                yield case


def answerable(spec: Spec, case: Case) -> bool:
    """Whether the inputs have the axes of the spec, and the answer is unique.

    Other shapes are the reference's business; where a matching or a top-k is tied there is no answer.
    """
    if "shape" in case.flags or any(
        case.inputs[name].ndim != len(domain.axes.split()) for name, domain in spec.inputs.items()
    ):
        return False
    try:
        answer(spec, case)
    except Tie:
        return False
    return True


def entry(spec: Spec, case: Case) -> tuple[dict[str, Any], dict[str, Array]]:
    """The JSON entry of one case, and its tensors by name."""
    truth = certain(spec, case)
    tensors = {f"input/{name}": np.array(array, order="C") for name, array in case.inputs.items()}
    digits: dict[str, Any] = {}
    for kind, arrays in (("value", truth.value), ("gradient", truth.gradient)):
        for name, balls in arrays.items():
            tensors[f"{kind}/{name}"] = np.asarray(floats(balls))
            if balls.size <= SHOWN_DIGITS or not spec.composite:
                digits[f"{kind}/{name}"] = [certified_digits(ball) for ball in balls.flat]
    described = {
        "id": case.id,
        "flags": sorted(set(case.flags)),
        "why": case.why,
        "params": dict(case.params),
        "source": f"oracle of {spec.name}: {spec.cite}",
        "sha256": {name: digest(array) for name, array in tensors.items()},
        "digits": digits,
    }
    return described, {f"{case.id}/{name}": array for name, array in tensors.items()}


def certain(spec: Spec, case: Case) -> Answer:
    """The answer with balls so small that 24 digits and the nearest float64 are unique."""
    return climbed(spec, case, lambda ball: is_certified(ball) and unique(ball))


def unique(ball: Any) -> bool:
    """Whether every number in the ball has the same 24 digits and the same nearest float64."""
    if ball.abs_upper() < NOTHING:
        return True
    low, high = endpoints(ball)
    return certified_digits(ball) is not None and (nearest(ball) == float(low) == float(high) or nearest(ball) == 0)


@cache.bypassed()
def write(spec: Spec, folder: Path = FOLDER) -> int:
    """Record one spec, both files atomically; returns the number of cases. Raises `Unrecordable`."""
    entries, tensors = [], {}
    try:
        for case in recorded_cases(spec):
            described, arrays = entry(spec, case)
            entries.append(described)
            tensors.update(arrays)
    except Uncertified as error:
        raise Unrecordable(f"{spec.name} is not recorded: {error}") from error
    if not entries:
        raise Unrecordable(f"{spec.name} is not recorded: none of its cases has one answer; each is a tie")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / f"{spec.name}.safetensors", save(tensors))
    content = {"schema": SCHEMA, "spec": spec.name, "seed": SEED, "cases": entries}
    write_text(folder / f"{spec.name}.json", json.dumps(content, indent=1) + "\n")
    return len(entries)


@cache.bypassed()
def check(spec: Spec, folder: Path = FOLDER) -> list[str]:
    """What differs from the record: the oracle bit for bit, the reference within budget. Empty: nothing."""
    path = folder / f"{spec.name}.json"
    try:
        content = json.loads(path.read_text())
        tensors = load_file(folder / f"{spec.name}.safetensors")
        entries = content["cases"]
    except FileNotFoundError as error:
        return [f"{spec.name}: {error.filename} is missing; record it with `lossref golden write --spec {spec.name}`"]
    except Exception as error:  # a torn or foreign file can fail in any way
        return [f"{spec.name}: {path} cannot be read ({type(error).__name__}: {error}); record it again"]
    if not entries:
        return [f"{spec.name}: {path} holds no case; record it again"]
    return [problem for recorded in entries for problem in differences(spec, recorded, tensors)]


def differences(spec: Spec, recorded: dict[str, Any], tensors: dict[str, Array]) -> Iterator[str]:
    """One sentence for each thing about a recorded case that is no longer so."""
    mine = tensors_of(recorded, tensors)
    bad = damaged(recorded, mine)
    if bad:
        yield f"{spec.name}: {recorded['id']}: the recorded tensor {bad} is damaged or missing"
        return
    case = case_of(spec.name, recorded, mine)
    try:
        now, _ = entry(spec, case)
    except (Tie, Uncertified) as error:
        yield f"{spec.name}: {recorded['id']}: the oracle now gives no certified answer: {error}"
        return
    for name, wanted in recorded["sha256"].items():
        if now["sha256"].get(name) != wanted or now["digits"].get(name) != recorded["digits"].get(name):
            yield f"{spec.name}: {recorded['id']}: the oracle now gives another {name}"
    own = itself(spec)
    for dtype in ("float64", "float32"):
        problem = examine(named("reduced"), spec, own, case, dtype).problem
        if problem:
            yield f"{spec.name}: {recorded['id']}: the reference in {dtype}: {problem}"
