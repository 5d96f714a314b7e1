"""The tracking server, and what of its records this release would make again."""

import importlib.metadata
import platform
from typing import Any

from stagewise.commands.doctor.finding import BAD, GOOD, WARNING, Said
from stagewise.errors import LineageError

SLOW = 0.25  # seconds for a request, of which a study makes some thousands
OLDEST_SERVER = 3  # MLflow's first major release with LoggedModels


def server() -> Said:
    from stagewise.record.code import scrub
    from stagewise.tracking import roundtrip, store

    client = store.connect()
    there, here = roundtrip.version(client), importlib.metadata.version("mlflow")
    said = f"{scrub(client.tracking_uri)}, MLflow {there}"
    major = there.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST_SERVER:
        yield BAD, f"{said}: expected {OLDEST_SERVER} or later; upgrade the server"
    elif there.split(".")[:2] != here.split(".")[:2]:
        yield WARNING, f"{said}, and {here} here: use the same release on both sides"
    else:
        yield GOOD, said


def latency() -> Said:
    from stagewise.tracking import roundtrip, store

    seconds = roundtrip.latency(store.connect())
    said = f"{1000 * seconds:.0f} ms a request"
    if seconds > SLOW:
        yield WARNING, f"{said}: a study makes thousands; use a server nearby, or lower evaluation.traces_limit"
    else:
        yield GOOD, said


def artifacts() -> Said:
    from stagewise.record.code import scrub
    from stagewise.tracking import roundtrip, store

    done = roundtrip.artifacts(store.connect())
    yield (
        GOOD,
        f"{done.bytes >> 20} MiB there and back in {done.seconds:.2f} s, at {scrub(done.uri).partition('://')[0]}",
    )


def permissions() -> Said:
    from stagewise.tracking import roundtrip, store

    roundtrip.permissions(store.connect())
    yield GOOD, "experiments, runs, models and registered models can be made"


def upgrade() -> Said:
    """What of the studies on the server this code and these packages would make again, and the caches of others."""
    from stagewise.commands.gc import other_caches
    from stagewise.tracking import roundtrip, store

    client = store.connect()
    for study, run_id in roundtrip.newest_studies(client):
        try:
            first = next(
                (said for each in roundtrip.one_of_each_kind(client, run_id) if (said := _differs(each))), None
            )
        except LineageError as error:
            first = f"everything would: {error}"
        if first:
            yield WARNING, f"study {study} (run {run_id[:8]}), if it is run again: {first}; its record stays as it is"
        else:
            yield GOOD, f"study {study} (run {run_id[:8]}) would be found as it is"
    if caches := [str(folder.relative_to(store.home())) for folder, _ in other_caches(store.home())]:
        yield WARNING, f"{', '.join(caches)}: caches of other releases, which this makes anew; stagewise gc --remove"


def _differs(step: Any) -> str | None:
    """Why a step, and what is made from it, would be done again."""
    from stagewise.commands.derivation.code import MODULES
    from stagewise.record.code import code_digest, deciding, deciding_versions

    manifest = step.manifest
    kind, there = manifest.kind, manifest.environment
    before, now = deciding(kind, there.packages), deciding_versions(kind)
    why = [
        *(
            f"{name} {before.get(name)}, here {now.get(name)}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ),
        *(
            [f"Python {there.python}, here {platform.python_version()}"]
            if there.python != platform.python_version()
            else []
        ),
        *(["its code differs"] if manifest.code.step_sha256 != code_digest(MODULES[kind]) else []),
    ]
    return f"{kind} and what follows from it would be done again ({'; '.join(why)})" if why else None
