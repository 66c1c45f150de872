"""For all tests: the same examples in every run, and one thread for torch.

Property tests draw the same examples so that a run tells of a change; `--hypothesis-profile=explore` draws new ones. None has a deadline:
how long an example takes tells of the machine. Threads of torch that wait for each other on a busy core make small networks fifty times
slower.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in every process that a test starts

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile("repeatable")
