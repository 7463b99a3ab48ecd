"""What goes with the files of specs: version and flags of the list, errors.csv and schema.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import lossref
from lossref import losses
from lossref.core.nouns import Spec
from lossref.hosts.probe import itself
from lossref.run.golden import errors as measured
from lossref.run.golden.corpus.flags import flags_with
from lossref.run.golden.errors import Error
from lossref.run.golden.files import schema
from lossref.run.golden.files.folder import content_of
from lossref.run.golden.files.manifest import Manifest
from lossref.run.golden.files.strict import Damaged
from lossref.run.golden.files.volume import Volume
from lossref.run.golden.judging import asked, question
from lossref.targets.marks import DTYPES


def headed(manifest: Manifest) -> Manifest:
    """The list as this lossref would write it: its version, and what it says of flags."""
    return replace(manifest, version=lossref.__version__, flags=flags_with(losses.specs().values()))


def beside(folder: Path, volumes: Mapping[str, Volume]) -> dict[str, bytes]:
    """errors.csv with what the references of these records are off now, on this machine, and schema.json."""
    try:
        content = content_of(folder, measured.NAME)
    except Damaged:
        content = b""
    for name, volume in volumes.items():
        content = measured.merged(content, name, errors_in(losses.spec(name), volume))
    return {measured.NAME: content or measured.text_of(()), schema.NAME: schema.schema_bytes()}


def errors_in(spec: Spec, volume: Volume, device: str = "cpu") -> list[Error]:
    """The largest errors of a reference over its recorded cases."""
    return measured.largest(_errors(spec, volume, device))


def _errors(spec: Spec, volume: Volume, device: str) -> Iterator[Error]:
    own = replace(itself(spec), device=device)
    for stored in volume.cases:
        case = question(spec, stored)
        for dtype in DTYPES:
            result, _ = asked(spec, own, stored, case, dtype)
            if result is not None:
                yield from measured.errors_of(spec, stored, result, dtype, device)


def without(content: bytes, specs: Iterable[str]) -> bytes:
    """errors.csv without the rows of specs that there are no more."""
    return measured.text_of(one for one in measured.read(content) if one.spec not in set(specs))
