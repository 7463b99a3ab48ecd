"""What sentences about failures of one cause have in common."""

from __future__ import annotations

import re
from functools import cache

from lossref.core.nouns import NUMBER
from lossref.losses import specs

NARROW = re.compile(r"(?:a part (?:of it )?is computed|agrees with the formula carried out) in \w+(?: or \w+)?")
BESIDE = re.compile(rf", to [\w ]+ precision: {NARROW.pattern}")
ONE_NAMED = r"(\w+) is ('[^']*'|\(.*?\)|[-+.\w]+)"
NAMED, ALL_NAMED = re.compile(ONE_NAMED), re.compile(f"agrees when {ONE_NAMED}(?: and {ONE_NAMED})*")


def claimed(explanation: str) -> str:
    """A claim without the quantity that it is about, for one cause makes several wrong; a narrow type by itself.

    What agrees with a mistake, or under a setting, to the precision of a type is put down to the mistake.
    """
    explanation = re.sub(r" \(\d+ of \d+\)$", "", _without_precision(explanation))
    found = NARROW.search(explanation)
    claim = re.sub(r"^(the gradient to \S+|the value|\S+) (?=agrees )", "", explanation)
    return found[0] if found else re.sub(r"^the gradient to \S+?(?=:? )", "the gradient", claim)


def settings_of(explanation: str) -> list[str]:
    """The settings that an explanation names, as "name=value"."""
    claim = ALL_NAMED.fullmatch(_without_precision(explanation).partition(";")[0])
    found = NAMED.findall(claim[0]) if claim else []
    return [f"{name}={value}" for name, value in found] if all(name in _parameters() for name, _ in found) else []


def _without_precision(explanation: str) -> str:
    """The claim alone, where a narrower type is only why it agrees no better."""
    alone = BESIDE.sub("", explanation)
    return explanation if alone in ("agrees", explanation) or alone.endswith(" agrees") else alone


@cache
def _parameters() -> frozenset[str]:
    return frozenset(name for spec in specs().values() for name in spec.params)


def alike(sentence: str) -> str:
    """What sentences about one cause have in common: neither numbers nor which input, nor which part of an object.

    Attributes that a call leaves behind on one part of a target (its assigner) are one cause.
    """
    sentence = re.sub(r"the wrong shape of .*? gives", "the wrong shape of an input gives", sentence)
    sentence = re.sub(r"^a NaN in \S+", "a NaN in an input", sentence)
    sentence = re.sub(r"^no gradient reaches .*? \(None", "no gradient reaches an input (None", sentence)
    sentence = re.sub(r"^\S+ on integer input\S*", "a value on integer input", sentence)
    sentence = re.sub(r"^(\w+ inputs give \w+) for [^,]*", r"\1", sentence)
    sentence = re.sub(r"^(?:[\w\[\]]+\.)+([A-Za-z_]\w*)\.\w+ was (?=.* before )", r"\1 was ", sentence)
    sentence = re.sub(r"^(?:[\w\[\]]+\.)+([A-Za-z_]\w*) was ", r"\1 was ", sentence)
    sentence = re.sub(r" was .* before the calls? and is .* after ", " has changed after ", sentence)
    return NUMBER.sub("#", sentence)
