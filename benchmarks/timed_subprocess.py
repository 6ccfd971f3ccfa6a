"""Run a command and print JSON: its seconds from start to end, and the most memory that it held, in
MB.

    python -I -S benchmarks/timed_subprocess.py COMMAND ...

A process of its own because Linux counts, as the memory of a command, also what the process that
starts it holds; this one holds next to nothing. What the command writes to its standard output is
passed over.
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
