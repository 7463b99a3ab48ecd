"""Factors: the target's quantity is a multiple of another one, the same on every case or in step with a size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from lossref.core.nouns import Array, Params, Spec
from lossref.run.causes.explain.quantity import NONE, Gives, Told, close, reproduces
from lossref.run.causes.explain.whole.sizes import sizes_of

LARGEST = 12
NEAR = 1e-9
FEW = 3  # cases that have to agree on a factor that is no number with a name
CLEAR = 1e6
CONSTANTS = {"": 1.0, "pi": math.pi, "pi^2": math.pi**2, "e": math.e, "ln 2": math.log(2), "sqrt(2)": math.sqrt(2)}
DEGREES = math.pi / 180
POWERS = (-2, -1, 1, 2)
Numbers = Mapping[str, float]


def multiples(
    spec: Spec,
    told: Sequence[Told],
    base: Gives,
    of: str = "the right value",
    settings: Params = NONE,
    sized: bool = True,
) -> Iterator[str]:
    """Sentences' ends ("is 2 times the right value") that hold on every case; `base` is what is multiplied.

    Unless `sized` the factor has to be one number, and none in step with a size of the case.
    """
    known: list[tuple[Told, float]] = []
    for one in told:
        factor = ratio(one, base(one))
        if factor is not None and math.isnan(factor):
            return
        known += [] if factor is None else [(one, factor)]
        if not sized and known and _apart(known[0][1], known[-1][1]):
            return  # whatever the others are, one number it is not, and each takes a call of a composite
    if not known:
        return
    factors = [factor for _, factor in known]
    steady = float(np.median(factors))
    if same(factors, steady):
        telling = len(known) >= FEW or _name(abs(steady))
        if telling and all(_fits(one, base(one), steady) for one in told):
            yield in_words(steady, of)
        return
    if sized:
        yield from _in_step(spec, told, known, base, of, settings)


def nearly_multiple(told: Sequence[Told]) -> Iterator[str]:
    """The end of a sentence about a simple factor that fits every number nearly: another, small fault is there, too."""
    apart = [one for one in told if one.apart and one.got.size == one.want.size]
    if len(apart) < FEW:
        return
    got, want = (np.concatenate([getattr(one, part).ravel() for one in apart]) for part in ("got", "want"))
    kept = np.abs(want) > CLEAR * np.concatenate([np.broadcast_to(one.room, one.want.shape).ravel() for one in apart])
    with np.errstate(all="ignore"):
        ratios = got[kept] / want[kept]
    factor = float(np.median(ratios)) if ratios.size else 0.0
    steady = rounded(factor) if np.isfinite(factor) else 0.0
    if steady not in (0.0, 1.0) and _simple(steady) and np.isfinite(ratios).all() and same(ratios.tolist(), steady):
        yield f"{in_words(steady)}, to a millionth: something small is wrong, too"


def _fits(one: Told, base: Array | None, factor: float) -> bool:
    return base is not None and close(one.got, base * factor, one.room * max(1.0, abs(factor)))


def _apart(one: float, other: float) -> bool:
    """Whether no number is the `same` as both."""
    return abs(one - other) > 4e-6 * max(abs(one), abs(other), NEAR)


def same(factors: Iterable[float], steady: float) -> bool:
    """Whether numbers are one number, up to their rounding."""
    return max(abs(factor - steady) for factor in factors) <= 1e-6 * max(abs(steady), NEAR)


def ratio(one: Told, base: Array | None) -> float | None:
    """got / base of one case; None where both are lost in rounding, NaN where no factor fits."""
    if base is None or base.size != one.got.size or not np.isfinite(base).all() or not np.isfinite(one.got).all():
        return math.nan
    a, b = one.got.ravel(), base.ravel()
    if close(a, np.zeros(a.shape), one.room) and close(b, np.zeros(b.shape), one.room):
        return None
    size = float(b @ b)
    if size == 0:
        return math.nan
    if float(np.abs(b).max()) < CLEAR * float(np.max(one.room, initial=0.0)):
        return None  # rounding leaves too few digits to tell a factor by
    factor = float(a @ b) / size
    limit = one.room * max(1.0, abs(factor)) + 1e-12 * np.abs(a).max()
    return factor if close(a, factor * b, limit) else math.nan


def in_words(factor: float, of: str = "the right value") -> str:
    """A factor as people say it."""
    sign = "minus " if factor < 0 else ""
    name = named(abs(factor))
    if abs(factor) < 1e-300:
        return "is always 0: it is left out"
    if name == "1" and not sign:  # as it is wrong, it is not quite 1
        return f"is {of} times 1 {'-' if factor < 1 else '+'} {abs(factor - 1):.1g}"
    if name == "1":
        return f"is {sign}{of}"
    return f"is {sign}{name} times {of}"


def named(factor: float) -> str:
    """A positive number as a small fraction, with a constant where one is in it; or else its digits."""
    return _name(factor) or f"{factor:.8g}"


def _name(factor: float) -> str:
    """The same, and nothing for one that has only its digits."""
    for word, constant in CONSTANTS.items():
        for power in (1, -1) if word else (1,):
            found = _fraction(factor / constant**power)
            if found is not None:
                return _written(found, word, power)
    for word, value in (("pi/180 (degrees for radians)", DEGREES), ("180/pi (radians for degrees)", 1 / DEGREES)):
        if math.isclose(factor, value, rel_tol=NEAR):
            return word
    return ""


def _fraction(number: float) -> Fraction | None:
    found = Fraction(number).limit_denominator(LARGEST) if number < 1e6 else Fraction(0)
    whole = round(number) if number >= 1 else 0
    if whole and math.isclose(whole, number, rel_tol=NEAR) and whole <= 4096:
        return Fraction(whole)
    if found and found.numerator <= LARGEST and math.isclose(float(found), number, rel_tol=NEAR):
        return found
    part = round(1 / number) if 0 < number < 1 else 0
    return Fraction(1, part) if part and part <= 4096 and math.isclose(1 / part, number, rel_tol=NEAR) else None


def _written(found: Fraction, word: str, power: int) -> str:
    if not word:
        return str(found)
    if power < 0:
        return f"{found}/{word}" if found.denominator == 1 else f"{found.numerator}/({found.denominator} {word})"
    return word if found == 1 else f"{found} {word}"


# In step with something ------------------------------------------------------------------------------


def _in_step(
    spec: Spec, told: Sequence[Told], known: Sequence[tuple[Told, float]], base: Gives, of: str, settings: Params
) -> Iterator[str]:
    """Factors that are a number times a size, or two, of the case."""
    sizes = {id(one): sizes_of(spec, one, settings) for one in told}
    factors = np.array([factor for _, factor in known])
    first = sizes[id(known[0][0])]
    common = [name for name in first if all(one.get(name) for one in sizes.values())]
    columns = {name: np.array([sizes[id(one)][name] for one in told]) for name in common}
    place = {id(one): number for number, one in enumerate(told)}
    rows = [place[id(one)] for one, _ in known]
    for words, column in _products({name: column for name, column in columns.items() if np.ptp(column[rows]) > 0}):
        steady = float(np.median(factors / column[rows]))
        if _distinct(column[rows]) < min(3, _distinct(factors)) or not _simple(steady):
            continue
        if same(factors / column[rows], steady) and all(
            _fits(one, base(one), steady * column[place[id(one)]]) for one in told
        ):
            yield _said(steady, words, of)


def _products(columns: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, column in columns.items():
        for power in POWERS:
            yield _power(name, power), column**power
    for (name, column), (other, second) in itertools.permutations(columns.items(), 2):
        yield f"{name} / {other}", column / second
        if name < other:
            yield f"{name} x {other}", column * second
            yield f"1 / ({name} x {other})", 1 / (column * second)


def _power(name: str, power: int) -> str:
    whole = name if abs(power) == 1 else f"({name})^2"
    return whole if power > 0 else f"1 / {whole}"


def _distinct(column: Array) -> int:
    return len({float(f"{number:.6g}") for number in column})


def _simple(factor: float) -> bool:
    return factor != 0 and _fraction(abs(factor)) is not None


def _said(steady: float, words: str, of: str) -> str:
    sign = "minus " if steady < 0 else ""
    constant = "" if abs(abs(steady) - 1) < NEAR else f"{named(abs(steady))} x "
    return f"is {sign}{of} times {constant}{words}"


# Whole arrays ----------------------------------------------------------------------------------------


def constant_offset(told: Sequence[Told]) -> str:
    """ "is 1 minus the right value" and the like: a + b x with simple a and b, over at least four numbers."""
    if any(one.got.size != one.want.size for one in told):
        return ""
    a, b = (np.concatenate([getattr(one, part).ravel() for one in told]) for part in ("got", "want"))
    usable = np.isfinite(a) & np.isfinite(b)
    if _distinct(b[usable]) < 4:
        return ""
    slope, start = np.polyfit(b[usable], a[usable], 1)
    slope, start = rounded(slope), rounded(start)
    if not start or not slope or not reproduces(lambda one: start + slope * one.want, told):
        return ""
    return f"is {start:g} {'-' if slope < 0 else '+'} {'' if abs(slope) == 1 else f'{abs(slope):g} x '}the right value"


def rounded(number: float) -> float:
    """The nearest fraction with small terms."""
    return float(Fraction(float(number)).limit_denominator(LARGEST))


def swapped_columns(told: Sequence[Told]) -> str:
    """The numbers of the last axis in another order, perhaps with another sign or factor."""
    width = told[0].want.shape[-1] if told[0].want.ndim else 0
    fit = all(one.got.shape == one.want.shape and one.want.ndim and one.want.shape[-1] == width for one in told)
    if not fit or not 2 <= width <= LARGEST:
        return ""
    rows = [np.concatenate([getattr(one, part).reshape(-1, width) for one in told]) for part in ("got", "want", "room")]
    order = [_like(rows[0][:, column], rows[1], rows[2]) for column in range(width)]
    found = [place for place in order if place is not None]
    if len(found) < width or found == list(range(width)):
        return ""
    return f"has its columns in another order: {', '.join(map(str, found))} instead of 0 to {width - 1}"


def _like(column: Array, wanted: Array, room: Array) -> int | None:
    fits = (place for place in range(wanted.shape[1]) if close(column, wanted[:, place], room.max(axis=1)))
    return next(fits, None)
