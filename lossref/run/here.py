"""A target that is asked in this process leaves it as it was."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def as_it_was(seed: int) -> Iterator[None]:
    """Ordinary settings of torch in the body, one thread, a seed; the caller's own afterwards.

    Those are default dtype, default device, grad and inference mode, threads, random state, and a pending alarm.
    """
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.enter_context(_alarm_kept())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for mode in (torch.inference_mode(False), torch.enable_grad(), torch.device("cpu")):
            stack.enter_context(mode)
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _alarm_kept() -> Iterator[None]:
    """The alarm that somebody else waits for is set again: the time limits of the checks put theirs in its place."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    waiting = signal.getitimer(signal.ITIMER_REAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *waiting)
