"""Freed memory is reused instead of returned to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from slotfill.training.malloc import tune_malloc
torch.set_num_threads(1)
def step():
    x = torch.ones(2**18, requires_grad=True)
    for _ in range(8):
        x = x.exp()
    x.sum().backward()
def page_faults():
    for _ in range(10):  # Until the heap has its size.
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(page_faults())
tune_malloc()
print(page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_reused_without_page_faults():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 2
