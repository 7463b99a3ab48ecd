"""What the oracle has once computed, kept on disk, and given back bit for bit: it depends on no target.

One file for each entry, named by the digest of everything that it depends on, written in one step and found only whole:
whatever is wrong with the folder or with a file, the answer is computed again, and nobody is told. Kept is what
lossref's own composite losses take long over; of another's spec nobody can say which files its numbers depend on, and
an elementary answer is computed as fast as a file is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

import flint
import numpy as np
import psutil

from lossref.core.nouns import Case, Spec

SWITCH = "LOSSREF_CACHE"  # off, or the folder
ROOMS = ("core", "losses", "oracle")
MOST_BYTES = 512 * 2**20
SWEEP_EVERY = 32 * 2**20  # bytes that a process writes between two looks at the size of the folder
DAY = 86_400.0
DIGEST = hashlib.sha256().digest_size
_bypassed: ContextVar[bool] = ContextVar("_bypassed", default=False)
_drafts = itertools.count()
_written = [SWEEP_EVERY]  # since the folder was last looked at; the first entry of a process looks at it


@contextmanager
def bypassed() -> Iterator[None]:
    """Run the body so that everything is computed in it: what is recorded, or compared with the record."""
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)


@contextmanager
def switched_off() -> Iterator[None]:
    """Run the body without the cache, and every process that it starts."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "off"
    try:
        yield
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before


# Where --------------------------------------------------------------------------------------------------


def folder() -> Path | None:
    """Where entries are kept: $LOSSREF_CACHE, else $XDG_CACHE_HOME/lossref, else ~/.cache/lossref; None: nowhere."""
    said = os.environ.get(SWITCH, "")
    if said.lower() == "off" or _bypassed.get():
        return None
    if said:
        return Path(said).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):  # nobody's home
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "lossref"
    return None


def place(what: str, spec: Spec, case: Case, rooms: tuple[str, ...] = ROOMS) -> Path | None:
    """The file of what is asked about a case, which depends on the code of these rooms; None where it is not kept."""
    base = folder() if spec.composite and _is_own(spec) else None
    code = _code(rooms) if base is not None else ""
    if base is None or not code:
        return None
    key = _key(what, code, spec.name, case)
    return base / key[:2] / key[2:]


def shelf(spec: Spec, digest: bytes, rooms: tuple[str, ...]) -> Path | None:
    """The file of what else is worked out about a spec from what this is the digest of; None where it is not kept."""
    base = folder() if _is_own(spec) else None
    code = _code(rooms) if base is not None else ""
    if base is None or not code:
        return None
    key = hashlib.sha256(repr((code, spec.name)).encode() + digest).hexdigest()
    return base / key[:2] / key[2:]


@lru_cache(maxsize=256)
def _is_own(spec: Spec) -> bool:
    """Whether it is the very spec that a file of lossref declares, not another of that name."""
    own = [module for name, module in list(sys.modules.items()) if name.startswith("lossref.losses.")]
    return any(one is spec for module in own for one in vars(module).values())


def _key(what: str, code: str, spec: str, case: Case) -> str:
    """The digest of everything that an answer depends on; of the id, because sentences about the case name it."""
    params = sorted((name, repr(value)) for name, value in case.params.items())
    hasher = hashlib.sha256(repr((what, code, spec, case.id, params)).encode("utf-8", "backslashreplace"))
    for name, array in sorted(case.inputs.items()):
        array = np.asarray(array)
        hasher.update(repr((name, array.shape, array.dtype.str)).encode())
        hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


@lru_cache(maxsize=8)
def _code(rooms: tuple[str, ...]) -> str:
    """The digest of all code of some rooms; nothing where it may be older than what is loaded, or unknown."""
    root, born = Path(__file__).parents[1], psutil.Process().create_time() - 1
    hasher = hashlib.sha256(repr((flint.__version__, np.__version__, sys.version_info[:3])).encode())
    try:
        for path in sorted(path for room in rooms for path in (root / room).rglob("*.py")):
            if path.stat().st_mtime > born:  # changed while this process ran, which may have loaded what it was
                return ""
            source = path.read_bytes()
            hasher.update(repr((path.relative_to(root).as_posix(), len(source))).encode() + source)
    except TimeoutError:  # the alarm of a check, which is an OSError, too
        raise
    except OSError:
        return ""
    return hasher.hexdigest() if Path(__file__).suffix == ".py" else ""


# Files --------------------------------------------------------------------------------------------------


def read(path: Path) -> bytes | None:
    """What an entry holds; None if there is none, or not the whole of it."""
    try:
        content = path.read_bytes()
        digest, body = content[:DIGEST], content[DIGEST:]
        if digest != _seal(path, body):
            return None
        now = time.time()
        if now - path.stat().st_mtime > DAY:  # the least recently used goes first
            os.utime(path, (now, now))
    except TimeoutError:
        raise
    except OSError:
        return None
    return body


def _seal(path: Path, body: bytes) -> bytes:
    """A digest of the content and of the name, so that no file can stand for another."""
    return hashlib.sha256(f"{path.parent.name}{path.name}".encode() + body).digest()


def write(path: Path, body: bytes) -> None:
    """Keep an entry, in one step: another process finds the whole of it or none."""
    draft = path.with_name(f".{path.name[:16]}.{os.getpid()}.{next(_drafts)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            draft.write_bytes(_seal(path, body) + body)
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _written[0] += len(body)
        if _written[0] >= SWEEP_EVERY:
            _written[0] = 0
            sweep(path.parents[1])
    except TimeoutError:
        raise
    except OSError:
        return


def sweep(base: Path, most: int = MOST_BYTES) -> None:
    """Remove what was not used for longest, down to nine tenths, where the folder holds more than so many bytes."""
    found = sorted(_files(base))
    total = sum(size for _, size, _ in found)
    if total <= most:
        return
    for _, size, path in found:
        if total <= most * 9 // 10:
            return
        Path(path).unlink(missing_ok=True)
        total -= size


def _files(base: Path) -> Iterator[tuple[float, int, str]]:
    """Time, size and path of every entry, and of what a killed process left."""
    for part in os.scandir(base):
        if len(part.name) != 2 or not part.is_dir(follow_symlinks=False):
            continue
        for one in os.scandir(part):
            with contextlib.suppress(FileNotFoundError):  # another run is sweeping, too
                facts = one.stat(follow_symlinks=False)
                yield facts.st_mtime, facts.st_size, one.path
