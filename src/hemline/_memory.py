"""The memory of the C library: on Linux, what tensors free is kept for the next ones."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of glibc's `mallopt`, as malloc.h has them."""


def keep_freed_memory() -> bool:
    """Keep what is freed instead of giving it back to the system, for the rest of this process.

    glibc gives blocks of over 32 MiB back at once. A training step on a CPU frees and asks anew for hundreds of maps
    that large, and each is cleared page by page by the system: on what was measured, half of the step's time
    (`benchmarks/train.py`). The process then holds at its end what it held at its peak.

    Returns:
        Whether it was done: there is glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):                     # another C library
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
