"""Freed memory is reused instead of returned to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from slotfill.training.malloc import tune_malloc
if sys.argv[1] == "keep":
    tune_malloc()
torch.set_num_threads(1)
def step():
    x = torch.ones(2**20, requires_grad=True)
    for _ in range(8):
        x = x.exp()
    x.sum().backward()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_reused_without_page_faults():
    page_faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE, word], capture_output=True, text=True, check=True
            ).stdout
        )
        for word in ("leave", "keep")
    ]
    assert page_faults[1] < page_faults[0] / 2
