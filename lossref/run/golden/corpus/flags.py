"""What every flag of a recorded case is for, and which mistake it catches. MANIFEST.json has the table.

A flag `input=family` says from which family a row of an input was drawn; the table explains the family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lossref.core.nouns import Spec

GROUPS = """
corner: written by hand for one rule of the formula; catches whoever has that rule another way
setting: one parameter away from its default; catches a parameter that is ignored or means something else
single: one item, its families in turn; catches a wrong number where nothing else hides it
batch: several items of different families; catches a wrong reduction and items that reach into each other
kink: exactly on a tie, a clamp or a branch; catches another share of the gradient there
witness: digits of a source outside of lossref; catches a formula that is wrong in oracle and reference alike
full size: as large as a training; catches sums in a narrow dtype and what only many items do
labels: labels that are not one of the usual; catches a class index that is taken for granted
rare: legal input that is often forgotten; catches who relies on sorted or complete objects
"""

FAMILIES = """
+-1e4: logits of 10000; catches exp that overflows
+-20: logits at which sigmoid is all but 0 or 1; catches 1 - sigmoid instead of sigmoid of the negative
+-88: logits at the edge of exp in float32; catches exp that overflows there only
+-1000: large numbers of both signs; catches squares that lose the small part
32 to 640: sides of an image from 32 to 640; catches a size that is fixed
8 to 32: small images; catches a size that is fixed
above: beyond the last bin; catches a clamp that is missing
aligned: edges and centres that coincide; catches how ties of min and max are shared
all: everything is positive; catches an average over the wrong number
all one: targets that are all 1; catches the term of the negatives left in
all padding: nothing but padding; catches a division by the number of objects
all real: no padding at all; catches a mask that is taken the wrong way round
all visible: every keypoint counts; catches a visibility that is applied twice
all zero: targets that are all 0; catches a division by their sum
angle beyond pi: angles from pi to 4 pi; catches an angle that is folded back where the formula is not
any: class ids 0 to c - 1; catches the last class left out
anywhere: objects at any place; catches a place that is clamped to the image
around: numbers around the place that matters; catches rounding to the nearest cell
at random: a choice by chance; catches an order that is taken for granted
below: below the first bin; catches a clamp that is missing
below 2 px: one side of 1 to 2 pixels; catches objects that are dropped as too small, or kept
beside: a little in common; catches a clamp of the overlap that comes too early
beyond pi: angles beyond pi; catches an angle that is folded back
binary: numbers 0 and 1; catches a threshold at 1/2 that is open on the wrong side
border: ends at the border of the image; catches a rule at the border that is closed instead of open
borders: on the borders of cells; catches floor where ceil belongs
cell centre: on the centre of a cell; catches an offset of half a cell
cell centres: on centres of cells; catches an offset of half a cell
cell corner: on the corner of a cell; catches an offset of half a cell
centres: centres of objects on anchors; catches a distance of 0 that is divided by
close: nearly the same; catches a difference that cancels
confident: scores near 0 and 1; catches a logarithm of 0
corner: two boxes that touch at a corner; catches the gradient of a clamp at 0
disjoint far: boxes 20 to 40 sides apart; catches a penalty that saturates
disjoint near: boxes that are barely apart; catches a negative overlap of both axes, whose product is positive
distant: far beyond the mask; catches a slice that wraps
edge: two boxes that touch along an edge; catches the gradient of a clamp at 0
edges on centres: edges exactly on centres of cells; catches an open edge that is closed
eighths: multiples of 1/8; catches rounding of coordinates
empty: a second corner that is not beyond the first; catches an area that is negative
evenly: objects spread evenly over the images; catches an image index that is ignored
exact: numbers that meet the target exactly; catches a division of 0 by 0
far: far away; catches a clamp that is missing, or an overflow
first: all objects in the first image; catches a count of images taken from the objects
fractional: quarters of a pixel; catches boxes that are rounded before they crop
grid: centres of cells in order; catches rows and columns exchanged
half: halves; catches rounding half up where it is half to even
hard: targets 0 and 1; catches a formula that holds for soft ones only
huge: sides up to 65536; catches squares in half precision
identical: the same box again; catches an eps in the wrong place, and ties shared in another way
inside: well inside the range; catches a wrong number as such
integer: whole pixels; catches a crop that is off by one
integral: targets on a bin; catches a second bin that is read beyond the last
inverted: corners that have changed places; catches an abs or a sort that the formula does not have
label range: every class; catches the last class left out
large: most of the image; catches a crop at the border
last: the last one counts; catches a loop that ends one too early
last image: all objects in the last image; catches images without objects that are skipped
last image only: all objects in the last image; catches images without objects that are skipped
low: scores near 0; catches powers of 0 and their gradient
medium: sizes in the middle; catches a wrong number as such
moderate: numbers of everyday size; catches a wrong number as such
near: near each other; catches a clamp that comes too early
near the upper bound: within 1/64 of the last bin; catches a bound of R - 1 instead of R - 1.01
negative: at negative coordinates; catches a clamp at 0
nested: one box inside the other; catches an enclosing box that is the union
none: nothing counts; catches a division by the number
none visible: no keypoint counts; catches a division by their number
nothing: nothing is marked; catches a division by the number
numbers: numbers of everyday size; catches a wrong number as such
off the grid: anchors that are no centres of cells; catches anchors that are computed anew
one: a single one counts; catches a mean of one that loses its axis
one small side: one side below the smallest stride; catches a rule for small objects that asks both sides
ordinary: boxes of everyday size; catches a wrong number as such
outside: beyond the image; catches an object without anchors that takes one
overhanging: a little beyond the mask; catches negative edges whose slices wrap
overlapping: boxes that share a part; catches a wrong overlap
patches: patches of 4 x 4 pixels; catches another way of resampling
pixels: every pixel for itself; catches rows and columns exchanged
quarters: multiples of 1/4; catches rounding of coordinates
rough: coarse numbers; catches ties that are broken by rounding
small: small numbers or boxes; catches an eps that is not small beside them
small side: one side below the smallest stride; catches a rule for small objects
soft: targets between 0 and 1; catches a threshold where there is none
some: some are positive; catches an average over all
some elsewhere: some of an image that there is not; catches an index that is taken for granted
some ignored: some are to be ignored; catches an average that counts them
some padding: some rows are padding; catches an average that counts them
some visible: some keypoints count; catches an average over all
spread: objects in any image; catches who relies on their order
square: equal sides; catches an angle that has an effect where it has none
sure: logits that are sure; catches a logarithm of 0
symmetric: the point is the centre; catches an offset that cancels elsewhere
thin: thin boxes; catches an aspect that overflows
thin 1:50: sides 1 to 50; catches an aspect ratio turned over
tiny: scaled by 2^-20; catches an eps in another place, which decides here
tiny angle: angles of 2^-12; catches 1 - cos that cancels
turned: the same box at another angle; catches an angle of the wrong sign
unequal: unlike each other; catches two inputs exchanged
unsure: scores near 1/2; catches a threshold
upright: angle 0; catches a cross term that is not 0
upright, edges on centres: angle 0, edges on anchors; catches an open edge that is closed
zero: all zeros; catches a division by 0
zero area: no height; catches a division by the area
"""


def _table(text: str) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in text.strip().splitlines())
    return dict(sorted((flag, why) for flag, why in pairs))


FLAGS: Mapping[str, str] = {**_table(FAMILIES), **_table(GROUPS)}


def flags_with(specs: Iterable[Spec]) -> dict[str, str]:
    """The table, and the families of specs that are not lossref's own, in the words of their functions."""
    found = dict(FLAGS)
    for spec in specs:
        for name, domain in spec.inputs.items():
            for family, draw in domain.families.items():
                said = (draw.__doc__ or f"a family of {name} of {spec.name}").strip().splitlines()[0]
                found.setdefault(family, said)
        for flag in (flag for case in spec.corners for flag in case.flags if "=" not in flag):
            found.setdefault(flag, f"a mark of {spec.name}")
    return dict(sorted(found.items()))
