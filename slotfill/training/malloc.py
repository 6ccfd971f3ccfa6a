"""Memory that is given back step by step and asked for again: let the process keep it instead."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""What glibc's `mallopt` calls these settings, of malloc.h."""


def tune_malloc() -> None:
    """Let glibc hand freed memory to the next step, not to the system, which would fill it with
    zeros each time.

    At most 256 MB lie idle so. Where there is another C library this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_MMAP_THRESHOLD, 2**25)
    mallopt(_TRIM_THRESHOLD, 2**28)
    mallopt(_TOP_PAD, 2**24)
