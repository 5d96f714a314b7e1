"""The verify step: a record checked for internal consistency and, with `--expect`, against a digest known from outside.

    verify("5f0c…")                                  a run on the tracking server
    verify("models:/quickstart@curriculum-s42")      a checkpoint, by its name in the registry
    verify("bundle")                                 a folder that `export --format bundle` made; no server is asked

It changes nothing in the record. Started by MLflow's launcher, its own run holds the verdict.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stagewise import progress
from stagewise.commands.derivation import Rules
from stagewise.errors import ConfigError, LineageError, TrackingError
from stagewise.hashing import sha256
from stagewise.tracking import store
from stagewise.tracking.lineage import MODELS, made_by
from stagewise.tracking.runs import Launched, open_run
from stagewise.tracking.source import Server
from stagewise.verification.bundle import Bundle
from stagewise.verification.files import Known
from stagewise.verification.findings import Finding, Node, Verdict
from stagewise.verification.names import Named
from stagewise.verification.views import Source
from stagewise.verification.walk import verify as walk


class Bar:
    """`verification.walk.Progress` for a person."""

    def start(self, files: int) -> None:
        self.bar = progress.Bar(files, "files")

    def advance(self, files: int) -> None:
        self.bar.advance(files)

    def close(self) -> None:
        self.bar.close()


class Silent:
    def start(self, files: int) -> None: ...

    def advance(self, files: int) -> None: ...

    def close(self) -> None: ...


def verify(
    target: str,
    expect: str | None = None,
    as_json: bool = False,
    launched: Launched | None = None,
    trust_code: bool = False,
) -> int:
    """Prints the verdict; returns the exit code: 0 whole, 3 incomplete, 4 broken, 5 it can't be checked.

    Raises `ConfigError` for an `expect` that is no sha256.
    """
    if expect is not None and not re.fullmatch(r"[0-9a-f]{64}", expect := expect.lower()):
        raise ConfigError(f"--expect: found {expect!r}, expected a manifest's whole sha256, 64 hexadecimal digits")
    with _recorded(target, launched) as record:
        try:
            verdict = check(target, expect, Silent() if as_json else Bar(), resume=True, trust_code=trust_code)
        except (LineageError, TrackingError) as error:
            verdict = Verdict(target, Node(target), unread=str(error), expected=expect)
        record.update(verdict.as_json())
    # In ASCII, since a record may hold any character.
    progress.say(json.dumps(record) if as_json else str(verdict))
    return verdict.exit_code


def check(
    target: str,
    expect: str | None = None,
    bar: Silent | Bar | None = None,
    resume: bool = False,
    trust_code: bool = False,
) -> Verdict:
    """With `resume`, digests found by a check that was interrupted count, but where a digest is expected: it is to
    stand for bytes that were read. With `trust_code`, code of the study's own that the record holds is run, on this
    machine and with your rights; else what follows from it is unchecked.

    Raises `LineageError` for a target that is not there, `TrackingError` where nobody answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _check(
            target, expect, bar or Silent(), resume and expect is None, Rules(Path(folder) if trust_code else None)
        )


def _check(target: str, expect: str | None, bar: Silent | Bar, resume: bool, rules: Rules) -> Verdict:
    if os.path.isdir(target):  # of what can be no path, such as a name that is too long, it says no
        bundle = Bundle(Path(target))
        return walk(bundle, bundle.root, rules, _known(bundle, target, resume), bar, expect)
    client = store.connect()
    source = Server(client)
    known = _known(source, target, resume)
    if not target.startswith(MODELS):
        return walk(source, target, rules, known, bar, expect)
    run_id, version = made_by(client, target)
    if version is None:
        return walk(source, str(run_id), rules, known, bar, expect, Named(target.removeprefix(MODELS)))
    named = Named(None, source.version(version.name, version.version), target.partition("@")[2] or None)
    if run_id is None:
        found = str(named.version and named.version.source)
        finding = Finding("source", found, "a model that is there", "it was re-pointed, or lost")
        return Verdict(target, Node(target, findings=[finding]), expected=expect)
    return walk(source, run_id, rules, known, bar, expect, named)


def _known(source: Source, target: str, resume: bool) -> Known:
    key = sha256(f"{source.where} {target}".encode(errors="surrogateescape"))
    return Known(store.home() / "verify" / f"{key}.jsonl" if resume else None)


@contextlib.contextmanager
def _recorded(target: str, launched: Launched | None) -> Iterator[dict[str, Any]]:
    """The run that MLflow's launcher made for this process, if it made one, gets the verdict as an artifact."""
    record: dict[str, Any] = {}
    if launched is None:
        yield record
        return
    client = store.connect()
    experiment_id, name = launched.info.experiment_id, f"verify {target[:8]}"
    with open_run(client, experiment_id, "verify", name, launched=launched) as run:
        yield record
        run.tag(verdict=record["verdict"])
        client.log_text(run.id, json.dumps(record, indent=1), "verdict.json")
