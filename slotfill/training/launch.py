"""Whether `torchrun` has started this process."""

from __future__ import annotations

import os


def is_launched() -> bool:
    """Return whether `torchrun` has started this process, as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def torchrun_rank() -> int:
    """Return the rank of this process among those of `torchrun`; 0 without it."""
    return int(os.environ["RANK"]) if is_launched() else 0
