"""The code of a user's own that a config names, as the steps that run it record it.

    collected(config, "eval", folder).entries
    {"my_lab.answers:last_bold": {"my_lab/answers.py": {"sha256": "9c1e…", "size": 812}}}

Its files are artifacts below `own_code/`; their digests are in the manifest and in the fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stagewise import own_code
from stagewise.config import Config
from stagewise.credentials import line_of
from stagewise.errors import CodeError, SecretError
from stagewise.hashing import sha256
from stagewise.record.frozen import Files

FOLDER = "own_code"  # of an artifact


@dataclass(frozen=True, slots=True)
class OwnCode:
    entries: Mapping[str, Files] = field(default_factory=dict)
    """By reference: the files by their place below the folder that they are imported from."""
    files: Mapping[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        for place, data in self.files.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(data)


NOTHING = OwnCode()


def references(config: Config, kind: str) -> list[str]:
    """What a step of this kind runs of a user's own, each once."""
    train, items, settings = config.data.train.layout, config.data.eval.layout, config.evaluation
    signal = config.split.quantiles.signal if config.split.quantiles else ""
    named = {
        "split": (train, items, signal),
        "train": (train, items),
        "eval": (items, *settings.extract, *settings.match, *settings.measures),
    }
    return sorted({name for name in named.get(kind, ()) if own_code.is_reference(name)})


def collected(config: Config, kind: str, folder: Path) -> OwnCode:
    """The sources, as they are now. Raises `CodeError` where they are not there or no Python, `SecretError` for a
    credential in them, since they are recorded."""
    entries: dict[str, Files] = {}
    files: dict[str, bytes] = {}
    for reference in references(config, kind):
        found = own_code.sources(reference, folder)
        for place, data in found.items():
            if files.setdefault(place, data) != data:
                raise CodeError(f"{reference}: {place} is in two places, with other content; rename one")
            if secret := line_of(data.decode(errors="replace")):
                raise SecretError(f"{place}: line {secret[0]} holds {secret[1]}, and the file is recorded; take it out")
        entries[reference] = {place: {"sha256": sha256(data), "size": len(data)} for place, data in found.items()}
    return OwnCode(entries, files)
