"""A process that keeps its memory takes no new pages from run to run."""

import os
import platform
import subprocess
import sys

import pytest

from hwprofile.heap import KEEPING

FAULTS = """
import ctypes, resource, sys
from hwprofile.heap import keep_memory

if sys.argv[1] == "keep":
    assert keep_memory()
libc, size = ctypes.CDLL(None), 48 << 20
libc.malloc.restype = ctypes.c_void_p

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
    libc.memset(block, 1, ctypes.c_size_t(size))
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(5)))
"""
PAGES = (48 << 20) // 4096


def faults(how, environment=None):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        env={k: v for k, v in os.environ.items() if k not in KEEPING} | (environment or {}),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_no_page_is_new_in_a_process_that_keeps_its_memory():
    assert faults("keep") < 0.01 * PAGES
    assert faults("plain", KEEPING) < 0.01 * PAGES
    assert faults("plain") > 0.1 * PAGES  # or there would be nothing to keep
