"""Keep freed memory in the process: glibc malloc thresholds."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""The parameters of glibc's `mallopt`, from malloc.h."""


def tune_malloc() -> None:
    """Let glibc reuse freed memory, up to 256 MB, where the system would zero new pages each step.

    With another C library this does nothing.
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
