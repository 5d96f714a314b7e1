"""Owner tags of processes that live, and of one that has ended."""

import json
import subprocess
import sys
from typing import Any

import psutil

from stagewise.tracking import owners


def owner(process: psutil.Process) -> str:
    return json.dumps(json.loads(owners.owner_tag()) | {"pid": process.pid, "started": process.create_time()})


def sleeper() -> tuple[Any, str]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return process, owner(psutil.Process(process.pid))


def ended() -> str:
    process, tag = sleeper()
    process.kill()
    process.wait()
    return tag
