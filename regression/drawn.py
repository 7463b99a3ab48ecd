"""Record anew what is found out about drawn cases: python regression/drawn.py

For every composite: which draw tells a setting, and which of the cases have one answer that the checks of the
references and of the adapters here ask about. It is found out with the cache bypassed, and takes minutes; what is
recorded by code as it is stays unless --all is said (lossref/run/golden/corpus/drawn.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from unittest.mock import patch

import torch

from lossref import losses
from lossref.checks import table
from lossref.checks.attempts import arithmetic
from lossref.checks.cases import decided as deciding
from lossref.checks.cases import values, varied
from lossref.checks.material import material
from lossref.checks.settings import telling_number
from lossref.core.nouns import Case, Spec, Target
from lossref.hosts.probe import itself
from lossref.oracle import cache
from lossref.run.atomic import write_bytes
from lossref.run.golden.corpus.drawn import FILE, SEED, TIER, Found, Record, bytes_of, code_of, record
from lossref.targets.adapters import ultralytics


def targets(spec: Spec) -> Iterator[Target]:
    """The reference, and what an adapter asks, which may take fewer settings and so be given other cases."""
    yield itself(spec)
    yield from (one for one in ultralytics.targets() if one.spec == spec.name)


@cache.bypassed()
def found(spec: Spec) -> Found:
    """Everything that is recorded of a spec, found out."""
    told: dict[str, bool] = {}

    def heard(spec: Spec, case: Case) -> bool:
        told[deciding.name_of(case)] = said = deciding.decided(spec, case)
        return said

    with patch.object(values, "decided", heard), patch.object(varied, "decided", heard):
        for one in (values.valued, values.moved, varied.varied):
            one.cache_clear()
        for target in targets(spec):
            for check in table.CHECKS:
                if {"varied", "valued", "moved"} & {*check.kinds}:
                    table.cases_for(check, spec, target, TIER, SEED)
    draws = range(len(material(spec, "setting", TIER, SEED)))
    return Found(code_of(spec), tuple(telling_number(spec, TIER, SEED, (), at) for at in draws), told)


def main(words: list[str]) -> int:
    """The exit status: 0."""
    torch.set_num_threads(1)
    specs = [one for one in losses.own().values() if one.composite]
    before = record()
    known = before.specs if before and before.by == arithmetic() and "--all" not in words else {}
    made = dict[str, Found]()
    for spec in specs:
        old = known.get(spec.name)
        made[spec.name] = old if old and old.code == code_of(spec) else found(spec)
        print(f"{spec.name}: {len(made[spec.name].draws)} draws, {len(made[spec.name].decided)} cases", flush=True)
    write_bytes(FILE, bytes_of(Record(arithmetic(), made)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
