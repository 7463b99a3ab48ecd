"""What one call costs apart from time: kernels, waits of the host, copies, bytes moved, the peak of memory.

Counted after all timing and in a process of its own: a profiler that was once on slows down every launch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.autograd import DeviceType
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lossref.hosts.worker.timed import footprint

Work = Callable[[], object]
NAN = float("nan")


class Counts(NamedTuple):
    """Of one call; NaN where this device or form does not tell."""

    operators: float
    kernels: float
    kernel_ms: float
    syncs: float
    copies: float
    moved_mib: float
    peak_mib: float


def counts(work: Work, device: str, replayed: bool) -> Counts:
    """The counts of one call after three; operators and bytes are seen only where the host runs them one by one."""
    for _ in range(3):
        work()
    if not device.startswith("cuda"):
        if replayed:
            return Counts(*[NAN] * 7)
        seen = footprint(work)
        return Counts(float(seen.operators), NAN, NAN, NAN, NAN, moved(work), seen.peak_live_bytes / 2**20)
    torch.cuda.synchronize()
    base = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    kept = work()
    torch.cuda.synchronize()
    peak = (torch.cuda.max_memory_allocated() - base) / 2**20
    del kept
    operators, traffic = (NAN, NAN) if replayed else (float(footprint(work).operators), moved(work))
    return Counts(operators, *_profiled(work), traffic, peak)


def _profiled(work: Work) -> tuple[float, float, float, float]:
    """Kernels, their milliseconds, waits of the host, copies between host and device."""
    waits = float(_waits(work))
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as seen:
        work()
        torch.cuda.synchronize()
    there = [event for event in seen.events() or [] if event.device_type == DeviceType.CUDA]
    copies = [event for event in there if event.name.startswith("Memcpy")]
    kernels = [event for event in there if not event.name.startswith(("Memcpy", "Memset"))]
    crossing = sum("HtoD" in event.name or "DtoH" in event.name for event in copies)
    return float(len(kernels)), sum(event.time_range.elapsed_us() for event in there) / 1e3, waits, float(crossing)


def _waits(work: Work) -> int:
    """How often an operator made the host wait for the device, as torch itself warns."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in said)


class _Traffic(TorchDispatchMode):
    """Bytes of what operators read and return; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        aliases = [one.alias_info for one in func._schema.returns]
        if not any(one is not None and not one.is_write for one in aliases):
            self.total += sum(map(_bytes, (*tree_leaves((args, kwargs)), *tree_leaves(out))))
        return out


def _bytes(x: Any) -> int:
    """What a tensor holds; of an expanded one what is there."""
    if not isinstance(x, torch.Tensor):
        return 0
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


def moved(work: Work) -> float:
    """MiB that the operators of one call read and write."""
    with _Traffic() as seen:
        work()
    return seen.total / 2**20
