"""Whether an implementation is right, as far as a few cases tell: the condition for showing its speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from lossref.checks.table import applies, cases_for, check, named
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.limits import limited
from lossref.hosts.worker.words import one_line
from lossref.run.ask import ENDING, ENDINGS
from lossref.run.causes.settings.adoption import settings_of

CHECKED = ("value", "gradient", "reduced")
CASES, SECONDS = 12, 1.0  # for each check: as many cases as fit, up to so many
GIVEN_UP = 30


class Standing(NamedTuple):
    """pass, or why not: fails, unsupported, timeout, crashed; with the reason, and the settings that it holds under."""

    word: str
    reason: str = ""
    settings: tuple[tuple[str, Any], ...] = ()


def standing(spec: Spec, target: Target, dtype: str, seed: int, timeout: float) -> Standing:
    """Value and gradient against the oracle on corners, single items and batches, in one dtype.

    `timeout` is what one question may take to a target that lives in a host.
    """
    if target.unsupported:
        return Standing("unsupported", target.unsupported)
    if dtype not in target.dtypes:
        return Standing("unsupported", f"declares no {dtype}")
    seconds = GIVEN_UP + (0 if target.host is None else int(ENDING * timeout))
    try:
        with limited(seconds):
            found = _examined(spec, target, dtype, seed)
            return found if found.word != "fails" else _under_its_own(spec, target, dtype, seed, found)
    except TimeoutError:
        return Standing("timeout", f"was not checked within {seconds} s")
    except Exception as error:  # a target can return what nobody thought of; the others are still timed
        return Standing("crashed", f"could not be checked: {one_line(error)}")


def _under_its_own(spec: Spec, target: Target, dtype: str, seed: int, otherwise: Standing) -> Standing:
    """The standing under the settings that the target follows in place of the defaults, if it holds under them."""
    settings = settings_of(spec, target, seed)
    held = replace(target, fixed={**target.fixed, **settings})
    found = _examined(spec, held, dtype, seed) if settings else otherwise
    return found._replace(settings=tuple(settings.items())) if found.word == "pass" else otherwise


def _examined(spec: Spec, target: Target, dtype: str, seed: int) -> Standing:
    passed = False
    for one in (one for one in map(named, CHECKED) if applies(one, spec)):
        cases = cases_for(one, spec, target, "quick", seed)
        verdict, _ = check(one, spec, target, _some(cases), dtype)
        if verdict.status in ("fail", "known"):
            return Standing("fails", f"{one.name}: {verdict.note}")
        if verdict.status in ENDINGS:
            return Standing(verdict.status, f"{one.name}: {verdict.note}")
        passed |= verdict.status == "pass"
    return Standing("pass") if passed else Standing("fails", "nothing could be examined")


def _some(cases: list[Case]) -> Iterator[Case]:
    """Evenly spaced cases, until the time is up."""
    begin = time.perf_counter()
    for case in cases[:: max(1, len(cases) // CASES)]:
        yield case
        if time.perf_counter() - begin > SECONDS:
            return
