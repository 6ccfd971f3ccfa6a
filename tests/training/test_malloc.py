"""Freed memory is reused instead of returned to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, resource, torch
from statistics import median
from slotfill.training.malloc import tune_malloc
torch.set_num_threads(1)
PR_SET_THP_DISABLE = 41  # Where pages are huge, there are few faults to compare.
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
def step():
    x = torch.ones(2**20, requires_grad=True)
    for _ in range(8):
        x = x.exp()
    x.sum().backward()
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def median_page_faults():  # The heap grows in some rounds, but not in most.
    return int(median(page_faults() for _ in range(9)))
print(median_page_faults())
tune_malloc()
print(median_page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_reused_without_page_faults():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 2
