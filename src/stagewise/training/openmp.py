"""How the threads that share a tensor operation wait for each other.

    spin_little()     # before torch is loaded

libgomp, which torch brings on Linux, has a thread that waits look again some 300,000 times before it sleeps. Where
other programs use the cores, it thereby keeps the very thread that it waits for from running, and training falls to a
fraction of its share. Sleeping at once costs time on an idle machine, since waking takes long. SPINCOUNT is between the
two: `benchmarks/busy.py` measures both sides. Results are the same bits.
"""

import os
import sys
from functools import cache

NAME, SPINCOUNT = "GOMP_SPINCOUNT", "3000"
CHOSEN = (NAME, "OMP_WAIT_POLICY")  # in either of these a user may have said how threads wait
TOO_LATE = (
    "torch was loaded before stagewise could say how its threads wait for each other: training is slow where other "
    f"programs use the cores; set {NAME}={SPINCOUNT} before Python starts, or give the command `stagewise main`"
)


def spin_little() -> bool:
    """Has the threads of this process, and of those that it starts, spin little; says whether they do so here.

    libgomp reads its environment once, when torch loads it: afterwards this affects only the processes started. What
    the user has chosen is left as it is.
    """
    here = _in_time()
    if not _chosen():
        os.environ[NAME] = SPINCOUNT
    return here


@cache
def _in_time() -> bool:
    """As it was when this was asked first."""
    return _chosen() or "torch" not in sys.modules


def _chosen() -> bool:
    return any(name in os.environ for name in CHOSEN)
