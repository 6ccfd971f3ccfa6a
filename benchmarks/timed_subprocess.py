"""Run a command and print JSON: its seconds from start to end, and its peak memory in MB.

    python -I -S benchmarks/timed_subprocess.py COMMAND ...

This is a separate process because Linux counts the memory of the parent process at the fork as that
of the command; this one uses hardly any. Standard output of the command is discarded.
"""

import json
import os
import sys
import time

began = time.perf_counter()
child = os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "peak_mb": usage.ru_maxrss * 1024 / 1e6}))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
