"""Starts a command and tells what it took: `python -I -S launch.py FILE COMMAND...`, three numbers into FILE.

A child's largest resident set counts from before its exec, so it is never below that of the process that started it:
whoever starts what is to be measured has to be small, which the bench with its imported modules isn't.
"""

import os
import sys
import time

began = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
elapsed = time.perf_counter() - began
with open(sys.argv[1], "w") as file:  # noqa: PTH123  # pathlib would be most of this process
    file.write(f"{elapsed} {usage.ru_maxrss} {os.waitstatus_to_exitcode(status)}")
