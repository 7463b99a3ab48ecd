"""Worked examples: inputs and digits as they stand in a source outside of the oracle."""

from __future__ import annotations

from collections.abc import Iterator

from lossref.core.nouns import Case, Spec


def witnesses_of(spec: Spec) -> Iterator[tuple[Case, str]]:
    """None yet."""
    yield from ()
