"""Where a pair is timed: both in the host of the one that is compared, which then loads the baseline, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from lossref.bench.rows import Settings, Side
from lossref.bench.standing import Standing, standing
from lossref.checks.table import said_of
from lossref.core.nouns import Spec
from lossref.hosts.endings import TargetEnded
from lossref.hosts.kept import host_of
from lossref.hosts.process import Lodging, ProcessHost
from lossref.targets.lodged import Ended, loaded_in, lodged, settled
from lossref.targets.resolve import Unavailable, asks_package


class Place(NamedTuple):
    """Where the two are timed, and their numbers there; the baseline's is None where it cannot be asked."""

    host: ProcessHost
    mine: int
    base: int | None = None


class Start(NamedTuple):
    """Two sides when their turn comes: whether the first may be timed, and why it is not compared, if it is not."""

    side: Side
    base: Side | None
    place: Place | None
    standing: Standing
    lacking: str = ""


def started(spec: Spec, side: Side, base: Side | None, settings: Settings) -> Start:
    """Both sides in the host that they are timed in, once it is known that both are right."""
    try:
        side = _anew(side, settings.lodging)
        place = None if side.target.unsupported else Place(*_place_of(side, settings.lodging))
    except TargetEnded as error:
        return Start(side, base, None, Standing(error.status, said_of(error)))
    except Unavailable as error:
        return Start(side, base, None, Standing(error.status if isinstance(error, Ended) else "crashed", str(error)))
    found = _allowed(spec, side, place, settings)
    if found.word != "pass" or place is None:
        return Start(side, base, place, found)
    side = _at(side, found)
    try:
        base = base and _anew(base, settings.lodging)
        base, lacking = _compared(spec, base, place, settings)
        place = place._replace(base=None if lacking or base is None else _number_in(place.host, base))
    except (Unavailable, TargetEnded) as error:
        lacking = f"not compared with {settings.vs}: {error}"
    return Start(side, base, place, found, lacking)


def _allowed(spec: Spec, side: Side, place: Place | None, settings: Settings) -> Standing:
    """Whether the speed of this side may be shown."""
    if settings.device == "cuda" and place and not place.host.facts.get("cuda"):
        return Standing("unsupported", "torch finds no CUDA device here")
    return standing(spec, side.target, settings.dtype, settings.seed, settings.lodging.timeout)


def _compared(spec: Spec, base: Side | None, place: Place, settings: Settings) -> tuple[Side | None, str]:
    """The baseline at its own settings, and why it says nothing about this spec; empty if it does."""
    if base is None:
        return None, f"{settings.vs} has no {spec.name} to compare with"
    found = _allowed(spec, base, place, settings)
    why = f"not compared with {settings.vs}, which is not timed itself: {found.word}: {found.reason}"
    return _at(base, found), "" if found.word == "pass" else why


def _at(side: Side, found: Standing) -> Side:
    """The side as one that implements the settings that it was found right under."""
    return side._replace(target=replace(side.target, fixed={**side.target.fixed, **dict(found.settings)}))


def _anew(side: Side, lodging: Lodging) -> Side:
    """The side in a host that is kept, with its notation settled. Raises `Unavailable`."""
    if side.target.host is None:
        return side
    return side._replace(target=settled(lodged(side.word, None, lodging)[side.target.thing]))


def _place_of(side: Side, lodging: Lodging) -> tuple[ProcessHost, int]:
    """The host in which this side is timed, and its number there. Raises what `_number_in` raises."""
    host = side.target.host or host_of(side.word, lodging)
    assert isinstance(host, ProcessHost)
    return host, _number_in(host, side)


def _number_in(host: ProcessHost, side: Side) -> int:
    """The number of a side in any host, which loads its word unless it has it.

    Raises `UnknownTarget`, `Unavailable` or `TargetEnded`.
    """
    module, _, attribute = side.word.partition(":")
    found = loaded_in(host, module, attribute, asks_package(side.word))
    return int(found["first"]) + _place(found["things"], side)


def _place(things: Any, side: Side) -> int:
    """Which of the things of its word a side is: by number, as it was listed, or by the spec of a reference."""
    if side.target.host is not None:
        return side.target.thing
    names = [row["spec"] for row in things]
    if side.target.spec not in names:
        raise Unavailable(f"lossref there has no {side.target.spec}")
    return names.index(side.target.spec)
