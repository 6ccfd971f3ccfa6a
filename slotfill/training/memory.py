"""The peak memory of a training."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def reset_peak_memory(device: str) -> None:
    """Forget the peak so far, of this process or of the GPU `device`."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # Only Linux has it.
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")


def measure_peak_memory(device: str) -> int | None:
    """Return the peak in megabytes since `reset_peak_memory`; None if the system does not say.

    On a GPU it is that of torch's tensors there, else of this process, with Python and torch.
    """
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        status = (_PROCESS / "status").read_text(encoding="utf-8")
    except OSError:
        return None
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return round(int(peak[1]) * 1024 / 1e6) if peak else None
