"""One torch thread, so that two processes do not fight for two cores."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
