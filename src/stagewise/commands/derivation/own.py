"""Code of a user's own that a run recorded: run again only where the reader says that they trust it.

folder = folder_of(sealed, memo)      # with the recorded files; None where the run had none
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stagewise.commands.derivation.expected import config_of
from stagewise.hashing import digest_json
from stagewise.record.manifest import Sealed
from stagewise.steps.own import FOLDER, references
from stagewise.verification.findings import Finding
from stagewise.verification.walk import Underivable

PLACE = "own code"  # in the memo: the folder for it, where the reader trusts it


def folder_of(sealed: Sealed, memo: dict[Any, Any]) -> Path | None:
    """A folder with the run's own code, as the record has it. Raises `Underivable` where nobody said to run it."""
    own = sealed.manifest.code.own
    if not own:
        return None
    if memo.get(PLACE) is None:
        raise Underivable(
            f"can't be checked without running the study's own code ({', '.join(sorted(own))}), which the record holds "
            f"below {FOLDER}/; read it, and give --trust-code (-P trust_code=true)"
        )
    folder = Path(memo[PLACE], digest_json(own))
    for place in {place for files in own.values() for place in files}:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(sealed.artifact(f"{FOLDER}/{place}"))
    return folder


def check(sealed: Sealed) -> Iterator[Finding]:
    """That the files are those of the manifest, and the references those of the config."""
    own, artifacts = sealed.manifest.code.own or {}, sealed.manifest.outputs.artifacts
    named = {f"{FOLDER}/{place}": entry for files in own.values() for place, entry in files.items()}
    held = {name: entry for name, entry in artifacts.items() if name.startswith(f"{FOLDER}/")}
    for name in sorted(named.keys() | held.keys()):
        if named.get(name) != held.get(name):
            found, expected = (str(each.get(name, "none")) for each in (held, named))
            yield Finding(f"artifact {name}", found, expected, "as manifest.json, code.own has it")
    if own or sealed.manifest.kind in ("split", "train", "eval"):
        expected_names = references(config_of(sealed), sealed.manifest.kind)
        if sorted(own) != expected_names:
            yield Finding(
                "manifest.json, code.own", ", ".join(sorted(own)) or "none", ", ".join(expected_names) or "none"
            )
