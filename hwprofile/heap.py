"""Keeps a process's freed memory, so that no run of a network asks the system for it again.

glibc maps large blocks apart and gives the end of its heap back to the system whenever enough of it
is free; both thresholds grow with what a process frees. Whether a network's activations are new
pages in every run, zeroed by the system one by one, is therefore a matter of what the process did
before. Measurements need one state, and the one in which memory is kept is also the fastest.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's `malloc.h`."""
_BYTES = 1 << 30
KEEPING: Mapping[str, str] = {
    "MALLOC_TRIM_THRESHOLD_": str(_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(_BYTES),
}
"""Environment variables that do the same in a process that starts with them."""


def keep_memory() -> bool:
    """From now on this process keeps freed memory of blocks up to 1 GiB.

    Returns:
        Whether it does: only glibc can be told.
    """
    if not sys.platform.startswith("linux"):
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if tell is None:
        return False
    told = tell(_TRIM_THRESHOLD, _BYTES), tell(_MMAP_THRESHOLD, _BYTES)
    return told == (1, 1)
