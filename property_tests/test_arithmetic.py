"""The certified arithmetic against mpmath at 50 digits, and its rules at ties, kinks and branches."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

from lossref.core.families import LOGIT_FAMILIES
from lossref.core.nouns import Case, Domain, Spec
from lossref.oracle.answers import answer, certified_digits, endpoints, floats, is_certified, nearest
from lossref.oracle.tape import Number, Tape, Tie, Uncertified, gradient, precision

BITS = 300
CLOSE = mpmath.mpf(10) ** -45
ROUNDED = 1 + Fraction(1, 10**45)  # what mpmath's own rounding at 50 digits may add

mp = mpmath.mp.clone()
mp.dps = 50


def ends(ball: arb) -> tuple[Any, Any]:
    """The exact ends of a ball in mpmath, with room for mpmath's own rounding."""
    low, high = (mp.mpf(end.numerator) / end.denominator for end in endpoints(ball))
    room = CLOSE * max(abs(low), abs(high))
    return low - room, high + room


def contains(ball: arb, number: Any) -> bool:
    low, high = ends(ball)
    return bool(low <= number <= high)


def slope(output: Number, x: Number) -> arb:
    """d output / d x; zero where no path leads from x to the output."""
    return next((slope for node, slope in gradient(output) if node is x), arb(0))


def agree(ball: arb, number: Any) -> None:
    """The ball contains the number, and is small."""
    assert contains(ball, number), f"{ball.str(30)} does not contain {mp.nstr(number, 30)}"
    assert is_certified(ball)


# One operand --------------------------------------------------------------------------------------------


def number(low: float, high: float, *extra: float) -> Any:
    """Floats in a range, and some that must be tried."""
    drawn = st.floats(low, high, allow_subnormal=False)
    return st.one_of(drawn, st.sampled_from(extra)) if extra else drawn


def mp_sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def mp_softplus(x: Any) -> Any:
    """ln(1 + e^x); with more digits where e^x vanishes beside 1."""
    return (x if x > 0 else mp.zero) + mp.log1p(mp.exp(-abs(x)))


UNARY: dict[str, tuple[Callable[..., Number], Callable[..., Any], Callable[..., Any], Any]] = {
    "exp": (lambda m, x: m.exp(x), mp.exp, mp.exp, number(-1e4, 1e4, 0.0, -745.5)),
    "log": (lambda m, x: m.log(x), mp.log, lambda x: 1 / x, number(1e-300, 1e300, 1.0)),
    "log1p": (lambda m, x: m.log1p(x), mp.log1p, lambda x: 1 / (1 + x), number(-0.999, 1e300, 0.0, 1e-30)),
    "sqrt": (lambda m, x: m.sqrt(x), mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), number(1e-300, 1e300, 4.0)),
    "sin": (lambda m, x: m.sin(x), mp.sin, mp.cos, number(-1e6, 1e6, 0.0)),
    "cos": (lambda m, x: m.cos(x), mp.cos, lambda x: -mp.sin(x), number(-1e6, 1e6, 0.0)),
    "atan": (lambda m, x: m.atan(x), mp.atan, lambda x: 1 / (1 + x * x), number(-1e9, 1e9, 0.0, 1e-30)),
    "erf": (lambda m, x: m.erf(x), mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), number(-30, 30, 0.0)),
    "sigmoid": (
        lambda m, x: m.sigmoid(x),
        mp_sigmoid,
        lambda x: mp_sigmoid(x) * mp_sigmoid(-x),
        number(-1e4, 1e4, 0.0, 1e4, -1e4),
    ),
    "softplus": (lambda m, x: m.softplus(x), mp_softplus, mp_sigmoid, number(-1e4, 1e4, 0.0, 1e4, -1e4)),
    "negation": (lambda m, x: -x, lambda x: -x, lambda x: mp.mpf(-1), number(-1e300, 1e300, 0.0)),
    "abs": (lambda m, x: m.abs(x), abs, mp.sign, number(-1e300, 1e300, 0.0)),
    "stop": (lambda m, x: m.stop(x), lambda x: x, lambda x: mp.zero, number(-1e300, 1e300)),
    "x + 0.1": (lambda m, x: x + 0.1, lambda x: x + mp.mpf(0.1), lambda x: mp.one, number(-1e9, 1e9)),
    "0.1 + x": (lambda m, x: 0.1 + x, lambda x: x + mp.mpf(0.1), lambda x: mp.one, number(-1e9, 1e9)),
    "x - 0.1": (lambda m, x: x - 0.1, lambda x: x - mp.mpf(0.1), lambda x: mp.one, number(-1e9, 1e9)),
    "0.1 - x": (lambda m, x: 0.1 - x, lambda x: mp.mpf(0.1) - x, lambda x: -mp.one, number(-1e9, 1e9)),
    "x * 0.1": (lambda m, x: x * 0.1, lambda x: x * mp.mpf(0.1), lambda x: mp.mpf(0.1), number(-1e9, 1e9)),
    "0.1 * x": (lambda m, x: 0.1 * x, lambda x: x * mp.mpf(0.1), lambda x: mp.mpf(0.1), number(-1e9, 1e9)),
    "x / 0.1": (lambda m, x: x / 0.1, lambda x: x / mp.mpf(0.1), lambda x: 1 / mp.mpf(0.1), number(-1e9, 1e9)),
    "0.1 / x": (lambda m, x: 0.1 / x, lambda x: mp.mpf(0.1) / x, lambda x: -mp.mpf(0.1) / x / x, number(1e-9, 1e9)),
    "clamp inside": (lambda m, x: m.clamp(x, -2.0, 2.0), lambda x: x, lambda x: mp.one, number(-2, 2, 2.0, -2.0)),
    "clamp above": (lambda m, x: m.clamp(x, high=2.0), lambda x: mp.mpf(2), lambda x: mp.zero, number(2.1, 1e9)),
    "clamp below": (lambda m, x: m.clamp(x, low=0.5), lambda x: mp.mpf(0.5), lambda x: mp.zero, number(-1e9, 0.4)),
    "x used twice": (lambda m, x: x * x + x, lambda x: x * x + x, lambda x: 2 * x + 1, number(-1e9, 1e9)),
    "a chain": (
        lambda m, x: m.log(m.exp(x) + m.sqrt(m.exp(x))),
        lambda x: mp.log(mp.exp(x) + mp.exp(x / 2)),
        lambda x: (mp.exp(x) + mp.exp(x / 2) / 2) / (mp.exp(x) + mp.exp(x / 2)),
        number(-100, 100, 0.0),
    ),
}


@pytest.mark.parametrize("name", UNARY)
def test_value_and_slope_of_one_operand(name: str) -> None:
    formula, value, derivative, numbers = UNARY[name]

    @settings(max_examples=30, deadline=None, database=None)
    @given(x=numbers)
    def examine(x: float) -> None:
        with precision(BITS):
            tape = Tape()
            leaf = tape.number(x)
            output = formula(tape, leaf)
            agree(output.value, value(mp.mpf(x)))
            agree(slope(output, leaf), derivative(mp.mpf(x)))

    examine()


EXPONENTS = [0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 63.0, 64.0, 2.25, -1.0, -0.5]


@pytest.mark.parametrize("exponent", EXPONENTS)
@settings(max_examples=25, deadline=None, database=None)
@given(x=number(1e-4, 1e4, 1.0, 0.5))
def test_power(exponent: float, x: float) -> None:
    with precision(BITS):
        tape = Tape()
        leaf = tape.number(x)
        output = tape.pow(leaf, exponent)
        agree(output.value, mp.power(x, exponent))
        agree(slope(output, leaf), exponent * mp.power(x, exponent - 1))


@pytest.mark.parametrize(
    ("exponent", "value", "derivative"), [(0.0, 1, 0), (0, 1, 0), (1.0, 0, 1), (1.5, 0, 0), (2.0, 0, 0), (2.5, 0, 0)]
)
def test_power_of_zero(exponent: float, value: int, derivative: int) -> None:
    """0 ** 0 is 1, as in torch; a focal factor of 0 has slope 0 for gamma > 1."""
    tape = Tape()
    zero = tape.number(0.0)
    output = tape.pow(zero, exponent)
    assert (output.value == value, slope(output, zero) == derivative) == (True, True)


def test_root_of_zero_has_no_finite_slope() -> None:
    tape = Tape()
    zero = tape.number(0.0)
    output = tape.pow(zero, 0.5)
    assert output.value == 0
    assert not slope(output, zero).is_finite()


@pytest.mark.parametrize("exponent", [0.5, 1.5, 2.0])
def test_power_of_a_ball_that_touches_zero(exponent: float) -> None:
    """Everything between 0 and (3/4) ** exponent is in the result, at any precision."""
    ball = Tape().pow(Number(Tape(), arb(0.375, 0.375)), exponent).value
    for inside in (Fraction(0), Fraction(1, 3), Fraction(3, 4)):
        assert contains(ball, mp.power(mp.mpf(inside.numerator) / inside.denominator, exponent))


# Two operands and more ----------------------------------------------------------------------------------

BINARY: dict[str, tuple[Callable[..., Number], Callable[..., Any], Callable[..., tuple[Any, Any]]]] = {
    "a + b": (lambda m, a, b: a + b, lambda a, b: a + b, lambda a, b: (mp.one, mp.one)),
    "a - b": (lambda m, a, b: a - b, lambda a, b: a - b, lambda a, b: (mp.one, -mp.one)),
    "a * b": (lambda m, a, b: a * b, lambda a, b: a * b, lambda a, b: (b, a)),
    "a / b": (lambda m, a, b: a / b, lambda a, b: a / b, lambda a, b: (1 / b, -a / b / b)),
    "min": (lambda m, a, b: m.min(a, b), min, lambda a, b: (halves(b - a), halves(a - b))),
    "max": (lambda m, a, b: m.max(a, b), max, lambda a, b: (halves(a - b), halves(b - a))),
    "stop(a) * b": (lambda m, a, b: m.stop(a) * b, lambda a, b: a * b, lambda a, b: (mp.zero, a)),
}


def halves(difference: Any) -> Any:
    """1, 1/2 or 0: the share of the gradient that goes to the side that is ahead, level or behind."""
    return (mp.sign(difference) + 1) / 2


NONZERO = st.floats(1e-3, 1e9) | st.floats(-1e9, -1e-3)


@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=30, deadline=None, database=None)
@given(a=NONZERO, b=NONZERO, same=st.booleans())
def test_value_and_slopes_of_two_operands(name: str, a: float, b: float, same: bool) -> None:
    formula, value, partials = BINARY[name]
    b = a if same else b
    with precision(BITS):
        tape = Tape()
        first, second = tape.number(a), tape.number(b)
        output = formula(tape, first, second)
        agree(output.value, value(mp.mpf(a), mp.mpf(b)))
        for leaf, expected in zip((first, second), partials(mp.mpf(a), mp.mpf(b)), strict=True):
            agree(slope(output, leaf), expected)


LISTS = st.lists(st.floats(-1e4, 1e4) | st.sampled_from([1e4, -1e4, 0.0]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, database=None)
@given(xs=LISTS)
def test_logsumexp(xs: list[float]) -> None:
    """The value, and the softmax as its gradient, however far apart the numbers are."""
    at = xs.index(max(xs))
    with mp.workdps(100), precision(BITS):
        terms = [mp.exp(mp.mpf(x) - mp.mpf(xs[at])) for x in xs]
        rest = mp.fsum(term for i, term in enumerate(terms) if i != at)
        value, shares = mp.mpf(xs[at]) + mp.log1p(rest), [term / (1 + rest) for term in terms]
        tape = Tape()
        leaves = [tape.number(x) for x in xs]
        output = tape.logsumexp(leaves)
        assert contains(output.value, value)
        for leaf, share in zip(leaves, shares, strict=True):
            assert contains(slope(output, leaf), share)


@pytest.mark.parametrize(
    ("operation", "value", "derivative"),
    [
        ("softplus(1e4)", "1e4", "1"),
        ("softplus(-1e4)", "exp(-1e4)", "exp(-1e4)"),
        ("sigmoid(1e4)", "1", "exp(-1e4)"),
        ("sigmoid(-1e4)", "exp(-1e4)", "exp(-1e4)"),
    ],
)
def test_far_out_nothing_is_lost(operation: str, value: str, derivative: str) -> None:
    """The tails are tiny and known to 80 bits, not rounded to zero."""
    name, _, argument = operation.rstrip(")").partition("(")
    numbers = {"1e4": mp.mpf(10000), "1": mp.one, "exp(-1e4)": mp.exp(-10000)}
    with precision(BITS):
        tape = Tape()
        leaf = tape.number(float(argument))
        output = getattr(tape, name)(leaf)
        for ball, expected in ((output.value, numbers[value]), (slope(output, leaf), numbers[derivative])):
            assert contains(ball, expected)
            assert ball.rad() < 2.0**-80 * ball.abs_lower()


@settings(max_examples=30, deadline=None, database=None)
@given(xs=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8))
def test_sum_and_sorted(xs: list[float]) -> None:
    with precision(BITS):
        tape = Tape()
        leaves = [tape.number(x) for x in xs]
        total = tape.sum(leaves)
        agree(total.value, mp.fsum(xs))
        assert [slope(total, leaf) == 1 for leaf in leaves] == [True] * len(xs)
        assert [float(x.value) for x in tape.sorted(leaves)] == sorted(xs)


def test_sorted_keeps_the_order_of_equal_numbers() -> None:
    tape = Tape()
    leaves = [tape.number(x) for x in (2.0, 1.0, 2.0, 1.0)]
    assert tape.sorted(leaves) == [leaves[1], leaves[3], leaves[0], leaves[2]]


@settings(max_examples=50, deadline=None, database=None)
@given(x=st.floats(-1e9, 1e9) | st.integers(-1000, 1000).map(float))
def test_floor(x: float) -> None:
    assert Tape().floor(Tape().number(x)) == math.floor(x)


@settings(max_examples=50, deadline=None, database=None)
@given(a=st.floats(-1e9, 1e9), b=st.floats(-1e9, 1e9), same=st.booleans())
def test_less(a: float, b: float, same: bool) -> None:
    b = a if same else b
    tape = Tape()
    assert tape.less(tape.number(a), tape.number(b)) is (a < b)
    assert tape.less(tape.number(a), b) is (a < b)


def test_cells_walk_nested_tuples_side_by_side() -> None:
    tape = Tape()
    a, b, c, d = (tape.number(float(i)) for i in range(4))
    assert list(tape.cells(((a, b), (c,)), ((d, c), (b,)))) == [(a, d), (b, c), (c, b)]


def test_cells_refuse_different_lengths() -> None:
    tape = Tape()
    a = tape.number(1.0)
    with pytest.raises(ValueError, match="zip"):
        list(tape.cells((a, a), (a,)))


def test_pi() -> None:
    with precision(BITS):
        agree(Tape().pi.value, +mp.pi)


# Ties and kinks -----------------------------------------------------------------------------------------

BALL, OTHER = arb(2, 0.75), arb(2.5, 0.75)

# operation on a = BALL and b = OTHER -> the second number of the message
UNDECIDABLE: dict[str, tuple[Callable[[Tape, Number, Number], Any], arb]] = {
    "min": (lambda m, a, b: m.min(a, b), OTHER),
    "max": (lambda m, a, b: m.max(b, a), OTHER),
    "less": (lambda m, a, b: m.less(a, b), OTHER),
    "less than a float": (lambda m, a, b: m.less(a, 2.25), arb(2.25)),
    "clamp, low": (lambda m, a, b: m.clamp(a, low=2.25), arb(2.25)),
    "clamp, high": (lambda m, a, b: m.clamp(a, high=2.25), arb(2.25)),
    "abs": (lambda m, a, b: m.abs(a - 2.0), arb(0)),
    "sorted": (lambda m, a, b: m.sorted([a, b]), OTHER),
}


@pytest.mark.parametrize("name", UNDECIDABLE)
def test_overlapping_balls_raise_and_are_named(name: str) -> None:
    operation, second = UNDECIDABLE[name]
    tape = Tape()
    with pytest.raises(Tie) as caught:
        operation(tape, Number(tape, BALL), Number(tape, OTHER))
    first = BALL - 2 if name == "abs" else BALL
    assert first.str(15) in str(caught.value)
    assert second.str(15) in str(caught.value)


def test_integer_part_of_a_ball_across_an_integer_raises() -> None:
    tape = Tape()
    with pytest.raises(Tie, match="integer part") as caught:
        tape.floor(Number(tape, BALL))
    assert BALL.str(15) in str(caught.value)


@pytest.mark.parametrize("name", ["min", "max"])
def test_exact_tie_shares_the_gradient(name: str) -> None:
    tape = Tape()
    a, b = tape.number(3.0), tape.number(3.0)
    output = getattr(tape, name)(a, b)
    assert output.value == 3
    assert (float(slope(output, a)), float(slope(output, b))) == (0.5, 0.5)
    assert (tape.ties, tape.margin) == (1, 0.0)


@pytest.mark.parametrize("name", ["min", "max"])
def test_a_number_does_not_tie_with_itself(name: str) -> None:
    tape = Tape()
    a = tape.number(3.0)
    output = getattr(tape, name)(a, a)
    assert float(slope(output, a)) == 1
    assert tape.ties == 0


@pytest.mark.parametrize(
    ("x", "value", "derivative"), [(-1.5, -1.0, 0), (-1.0, -1.0, 1), (0.5, 0.5, 1), (2.0, 2.0, 1), (2.5, 2.0, 0)]
)
def test_clamp_passes_the_gradient_at_both_bounds(x: float, value: float, derivative: int) -> None:
    tape = Tape()
    leaf = tape.number(x)
    output = tape.clamp(leaf, -1.0, 2.0)
    assert (float(output.value), float(slope(output, leaf))) == (value, derivative)


@pytest.mark.parametrize(("x", "derivative"), [(-2.0, -1), (-0.0, 0), (0.0, 0), (2.0, 1)])
def test_abs_has_slope_zero_at_zero(x: float, derivative: int) -> None:
    tape = Tape()
    leaf = tape.number(x)
    assert float(slope(tape.abs(leaf), leaf)) == derivative


def test_stop_blocks_one_path_only() -> None:
    tape = Tape()
    x = tape.number(3.0)
    output = tape.stop(x * x) * x
    assert (float(output.value), float(slope(output, x))) == (27, 9)


# comparison -> (margin, ties)
MARGINS: dict[str, tuple[Callable[[Tape], Any], float, int]] = {
    "nothing compared": (lambda m: m.number(1.0) + 1.0, math.inf, 0),
    "less": (lambda m: m.less(m.number(1.0), 1.5), 1 / 3, 0),
    "the smallest counts": (lambda m: [m.less(m.number(1.0), b) for b in (4.0, 1.25, 2.0)], 0.2, 0),
    "min": (lambda m: m.min(m.number(-1.0), m.number(4.0)), 1.25, 0),
    "abs": (lambda m: m.abs(m.number(-0.001)), 1.0, 0),
    "clamp, both bounds": (lambda m: m.clamp(m.number(3.0), 0.0, 4.0), 0.25, 0),
    "clamp at a bound": (lambda m: m.clamp(m.number(4.0), 0.0, 4.0), 0.0, 1),
    "floor": (lambda m: m.floor(m.number(2.5)), 1 / 6, 0),
    "floor of an integer": (lambda m: m.floor(m.number(2.0)), 0.0, 1),
    "sorted with equals": (lambda m: m.sorted([m.number(2.0), m.number(2.0)]), 0.0, 2),
}


@pytest.mark.parametrize("name", MARGINS)
def test_margin_and_ties_are_recorded(name: str) -> None:
    compare, margin, ties = MARGINS[name]
    tape = Tape()
    compare(tape)
    assert tape.margin == pytest.approx(margin, rel=1e-12)
    assert tape.ties == ties


# operation -> the derivatives of a = BALL that the result must cover, and of b = OTHER
BOTH_BRANCHES: dict[str, tuple[Callable[[Tape, Number, Number], Number], tuple[float, ...], tuple[float, ...]]] = {
    "min": (lambda m, a, b: m.min(a, b), (0, 0.5, 1), (0, 0.5, 1)),
    "max": (lambda m, a, b: m.max(a, b), (0, 0.5, 1), (0, 0.5, 1)),
    "max, times 4": (lambda m, a, b: m.max(a, b) * 4.0, (0, 2, 4), (0, 2, 4)),
    "clamp, low": (lambda m, a, b: m.clamp(a, low=2.25), (0, 1), (0,)),
    "clamp, high": (lambda m, a, b: m.clamp(a, high=2.25), (0, 1), (0,)),
    "abs": (lambda m, a, b: m.abs(a - 2.0), (-1, 0, 1), (0,)),
}


@pytest.mark.parametrize("name", BOTH_BRANCHES)
def test_both_branches_are_covered_where_balls_overlap(name: str) -> None:
    operation, of_a, of_b = BOTH_BRANCHES[name]
    tape = Tape("both")
    a, b = Number(tape, BALL), Number(tape, OTHER)
    output = operation(tape, a, b)
    assert tape.open_branches == 1
    for leaf, wanted in ((a, of_a), (b, of_b)):
        assert [x for x in wanted if not contains(slope(output, leaf), x)] == []


BRANCH_VALUES: dict[str, tuple[Callable[[Tape, Number, Number], Number], tuple[float, ...]]] = {
    "min": (lambda m, a, b: m.min(a, b), (1.25, 2, 2.75)),
    "max": (lambda m, a, b: m.max(a, b), (1.75, 2.5, 3.25)),
    "clamp, low": (lambda m, a, b: m.clamp(a, low=2.25), (2.25, 2.75)),
    "clamp, high": (lambda m, a, b: m.clamp(a, high=2.25), (1.25, 2.25)),
    "abs": (lambda m, a, b: m.abs(a - 2.0), (0, 0.75)),
}


@pytest.mark.parametrize("name", BRANCH_VALUES)
def test_values_of_both_branches_are_covered(name: str) -> None:
    operation, wanted = BRANCH_VALUES[name]
    tape = Tape("both")
    ball = operation(tape, Number(tape, BALL), Number(tape, OTHER)).value
    assert [x for x in wanted if not contains(ball, x)] == []


@pytest.mark.parametrize("mode", ["raise", "both"])
def test_less_is_always_decided_or_raises(mode: str) -> None:
    """A Python bool cannot cover two branches."""
    tape = Tape(mode)
    with pytest.raises(Tie, match="cannot order"):
        tape.less(Number(tape, BALL), Number(tape, OTHER))


@pytest.mark.parametrize("mode", ["raise", "both"])
def test_balls_apart_are_decided_alike(mode: str) -> None:
    tape = Tape(mode)
    a, b = Number(tape, arb(1, 0.25)), Number(tape, arb(2, 0.25))
    output = tape.max(a, b)
    assert (float(slope(output, a)), float(slope(output, b))) == (0, 1)
    assert tape.open_branches == 0


# Precision ----------------------------------------------------------------------------------------------


def test_precision_is_restored() -> None:
    before = flint.ctx.prec
    with precision(before + 100):
        assert flint.ctx.prec == before + 100
        with precision(before + 200):
            assert flint.ctx.prec == before + 200
        assert flint.ctx.prec == before + 100
    assert flint.ctx.prec == before


def test_precision_is_restored_after_an_exception() -> None:
    before = flint.ctx.prec
    with pytest.raises(Tie), precision(before + 100):
        raise Tie("from inside")
    assert flint.ctx.prec == before


def made_up(oracle: Callable[..., Any]) -> Spec:
    """A spec of one input x (n,) and one parameter-free oracle of its numbers."""
    domain = Domain("n", "any numbers", LOGIT_FAMILIES)
    return Spec("made up", "", "", {"x": domain}, ("x",), {}, ("loss",), lambda x: x, oracle, {"single": ({"n": 1},)})


def ask(oracle: Callable[..., Any], *x: float) -> Any:
    return answer(made_up(oracle), Case("made up", {"x": np.array(x)}))


# (1 + x) - 1 cancels everything but x: the smaller x, the more bits it takes.
@pytest.mark.parametrize(("exponent", "bits"), [(-20, 128), (-60, 256), (-300, 1280)])
def test_precision_is_raised_for_a_formula_that_cancels(exponent: int, bits: int) -> None:
    third = 2.0**exponent / 3
    before = flint.ctx.prec
    truth = ask(lambda m, x: m.log(1 + m.exp(m.log(x[0]))), third)
    assert truth.bits == bits
    assert floats(truth.value["loss"]).item() == pytest.approx(math.log1p(third), rel=1e-15)
    assert flint.ctx.prec == before


def test_what_cancels_to_nothing_is_certified_as_zero() -> None:
    truth = ask(lambda m, x: m.sin(x[0]) * m.sin(x[0]) + m.cos(x[0]) * m.cos(x[0]) - 1.0, 0.7)
    assert floats(truth.value["loss"]).item() == 0.0
    assert floats(truth.gradient["x"]).tolist() == [0.0]


def test_gradient_of_several_outputs_is_weighted() -> None:
    """Outputs 1, 2, 3 have the upstream gradients 7/4, -6/4, 5/4."""
    truth = ask(lambda m, x: tuple(3.0 * a for a in x), 1.0, 2.0, 4.0)
    assert floats(truth.value["loss"]).tolist() == [3.0, 6.0, 12.0]
    assert floats(truth.gradient["x"]).tolist() == [3 * 1.75, -3 * 1.5, 3 * 1.25]


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        (lambda m, x: m.log(-x[0]), "no finite number"),
        (lambda m, x: x[0] / (x[0] - 1.0), "no finite number"),
        (lambda m, x: m.sqrt(x[0] - 1.0), "no finite number"),
        (lambda m, x: x[0] + Number(m, arb(0, 1)), "too uncertain"),
    ],
    ids=["log of a negative number", "division by zero", "slope of a root at zero", "a radius that stays"],
)
def test_what_cannot_be_certified_is_refused(oracle: Callable[..., Any], message: str) -> None:
    before = flint.ctx.prec
    with pytest.raises(Uncertified, match=message):
        ask(oracle, 1.0)
    assert flint.ctx.prec == before


def test_ties_reach_the_caller() -> None:
    """sin^2 + cos^2 and 1 are equal, but at no precision are they known to be."""
    with pytest.raises(Tie, match="cannot order"):
        ask(lambda m, x: m.max(m.sin(x[0]) * m.sin(x[0]) + m.cos(x[0]) * m.cos(x[0]), m.number(1.0)), 0.7)


# From balls to digits -----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, database=None)
@given(x=st.floats(allow_nan=False, allow_infinity=False), digits=st.integers(1, 30))
def test_digits_of_an_exact_number_are_its_rounding(x: float, digits: int) -> None:
    """Decimal knows the exact value of a float; below half the smallest float everything is 0."""
    text = certified_digits(arb(x), digits)
    assert text is not None
    assert Decimal(text) == Context(prec=digits).create_decimal(Decimal(x))


@settings(max_examples=100, deadline=None, database=None)
@given(x=st.floats(1e-100, 1e100), radius=st.floats(1e-40, 1e-1), digits=st.integers(1, 24))
def test_digits_are_given_only_where_the_ball_has_one_rounding(x: float, radius: float, digits: int) -> None:
    ball = arb(x, x * radius)
    context = Context(prec=digits)
    low, high = (context.divide(Decimal(end.numerator), Decimal(end.denominator)) for end in endpoints(ball))
    text = certified_digits(ball, digits)
    assert (text is None) == (low != high)
    if text is not None:
        assert Decimal(text) == low


@pytest.mark.parametrize(
    ("ball", "digits", "text"),
    [
        (arb(0.125), 24, "1.25e-1"),
        (arb(-1536), 24, "-1.536e+3"),
        (arb(0), 24, "0"),
        (arb(0, 2.0**-1000) * arb(2.0**-100), 24, "0"),
        (arb(2.5, 1e-30), 1, None),
        (arb(2.5, 1e-30), 2, "2.5e+0"),
        (arb(1, 0.25), 3, None),
        (arb(0, 1e-30), 3, None),
    ],
    ids=str,
)
def test_digits(ball: arb, digits: int, text: str | None) -> None:
    assert certified_digits(ball, digits) == text


@settings(max_examples=60, deadline=None, database=None)
@given(x=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_nearest_gives_back_every_normal_float(x: float) -> None:
    assert nearest(arb(x)) == x


@pytest.mark.parametrize(
    ("ball", "certified"),
    [
        (arb(1), True),
        (arb(1, 2.0**-81), True),
        (arb(1, 2.0**-79), False),
        (arb(0, 2.0**-1000), False),
        (arb(0, 2.0**-1000) * arb(2.0**-100), True),
        (arb.nan(), False),
        (arb(0, math.inf), False),
    ],
    ids=str,
)
def test_is_certified(ball: arb, certified: bool) -> None:
    assert is_certified(ball) is certified


def test_operators_go_through_the_same_comparison() -> None:
    tape = Tape()
    a, b = tape.number(2.0), tape.number(3.0)
    assert a < b
    assert b > a
    assert b > 1
    assert tape.margin == pytest.approx(1 / 3)
    with pytest.raises(Tie):
        assert tape.pi * tape.pi < tape.pi**2
