"""Whether a study can run here: a line for each thing that it needs, and what to do where it is not so.

✓ Python       3.11.7
! packages     numpy 2.4.5, pinned 2.4.6: pip install -c constraints.txt .
✗ server       tracking server http://127.0.0.1:5000: cannot be reached (connection refused); start it, or set …

A check that fails is one line like any other, whatever it raised: what is installed may be what is broken, so each
check imports what it needs itself.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from stagewise import progress
from stagewise.commands.doctor import installed, machine, reached
from stagewise.commands.doctor.finding import BAD, INSTALL, Said
from stagewise.credentials import redact
from stagewise.errors import UserError

PATIENCE = "STAGEWISE_SERVER_PATIENCE"  # of `tracking.calls`, which is not imported before it is shown to work
SECONDS = "15"  # for which a server is waited for here, unless the user says otherwise

CHECKS: Mapping[str, Callable[[], Said]] = {
    "Python": installed.python,
    "packages": installed.packages,
    "cores": machine.cores,
    "memory": machine.memory,
    "disk": machine.disk,
    "device": machine.device,
    "determinism": machine.determinism,
    "server": reached.server,
    "latency": reached.latency,
    "artifacts": reached.artifacts,
    "permissions": reached.permissions,
    "upgrade": reached.upgrade,
}


class Finding(NamedTuple):
    mark: str
    what: str
    said: str


def examine() -> Iterator[Finding]:
    """What is found, one after the other."""
    os.environ.setdefault(PATIENCE, SECONDS)
    for what, check in CHECKS.items():
        try:
            for mark, said in check():
                yield Finding(mark, what, said)
        except UserError as error:
            yield Finding(BAD, what, str(error))
        except ImportError as error:
            yield Finding(BAD, what, f"{error}; {INSTALL}")
        except Exception as error:
            yield Finding(BAD, what, f"{type(error).__name__}: {error}")
        else:
            continue
        if what == "server":
            return  # what follows would say the same again


def doctor(launched: Any = None) -> int:
    """Prints what is found; returns the exit code: 2 where a study could not run, else 0."""
    found = []
    for finding in examine():
        found.append(finding)
        progress.say(line(finding))
    bad = [finding.what for finding in found if finding.mark == BAD]
    progress.say(f"\nA study cannot run here: {', '.join(dict.fromkeys(bad))}." if bad else "\nA study can run here.")
    if launched is not None:
        _record(found, launched)
    return 2 if bad else 0


def line(finding: Finding) -> str:
    said = redact(" ".join(finding.said.split()))[0]
    return f"{finding.mark} {finding.what:<12} {said}"


def _record(found: list[Finding], launched: Any) -> None:
    """The run that MLflow's launcher made for this command gets the lines."""
    from stagewise.tracking import store
    from stagewise.tracking.runs import open_run

    client = store.connect(launched=True)
    with open_run(client, launched.info.experiment_id, "doctor", "doctor", launched=launched) as run:
        client.log_text(run.id, "\n".join(map(line, found)) + "\n", "doctor.txt")
