"""One torch thread, so that two processes do not fight for two cores; every answer of the oracle is computed."""

from __future__ import annotations

import os

import torch

torch.set_num_threads(1)
os.environ["LOSSREF_CACHE"] = "off"
