"""Files and folders that are there whole or not at all.

with written(folder / "000002.json") as partial:
    partial.write_text(…)               # a kill here leaves nothing under the name
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path beside `path` where the body makes a file or a folder. Once it has ended well, and all of it is on the
    disk, that takes the place of what was there; after a failure nothing of it is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    _remove(partial)
    try:
        yield partial
        for each in [*partial.rglob("*"), partial]:
            _flush(each)
        if partial.is_dir():
            _remove(path)
        os.replace(partial, path)
    except BaseException:
        _remove(partial)
        raise
    _flush(path.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
