"""A user's own code, which a config names by module and attribute: `my_lab.answers:last_bold`.

    sources("my_lab.answers:last_bold", folder)   {"my_lab/answers.py": b"…", "my_lab/words.py": b"…"}
    load("my_lab.answers:last_bold", folder)      <function last_bold>

The module is looked for in the folder first (the config file's own), then on Python's path. Its sources are the file
itself and what it imports from the same place, so their digests say what ran; a module that it imports by a computed
name, and a file that it reads, are not among them.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, NamedTuple

from stagewise.errors import CodeError
from stagewise.hashing import sha256

REFERENCE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)")
_LOADED: dict[tuple[str, str, str], ModuleType] = {}  # by folder, module, and digests of the sources
_LOCK = RLock()
_OURS: dict[str, Path] = {}
"""The folder from which each top-level module was imported here: another study's module of that name replaces it."""


def is_reference(name: str) -> bool:
    return REFERENCE.fullmatch(name) is not None


def short(name: str) -> str:
    """`last_bold` of `my_lab.answers:last_bold`; any other name as it is."""
    return name.rpartition(":")[2]


class _Module(NamedTuple):
    name: str
    root: Path
    """The folder below which it, and what counts as its sources, lies."""
    follows: str
    """The top-level module whose imports are followed; '' for all that lie below the root."""

    def files(self, name: str) -> Iterator[Path]:
        """The file of a module below the root, and those of the packages that hold it."""
        parts = name.split(".")
        if parts[0] == "stagewise" or self.follows not in ("", parts[0]):
            return
        for end in range(1, len(parts) + 1):
            if (package := self.root.joinpath(*parts[:end], "__init__.py")).is_file():
                yield package
        if (module := self.root.joinpath(*parts).with_suffix(".py")).is_file():
            yield module


def sources(reference: str, folder: Path) -> dict[str, bytes]:
    """The source files by their place below the folder (or the entry of Python's path) where the module was found.

    Raises `CodeError` where there is no such module, or a file is no Python.
    """
    return _sources(_find(reference, folder))


def _sources(module: _Module) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    waiting = list(module.files(module.name))
    while waiting:
        path = waiting.pop()
        place = path.relative_to(module.root).as_posix()
        if place in found:
            continue
        found[place] = path.read_bytes()
        waiting += [file for name in _imports(found[place], place) for file in module.files(name)]
    return dict(sorted(found.items()))


def _imports(source: bytes, place: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise CodeError(f"{place}{line}: found no Python ({getattr(error, 'msg', error)})") from None
    package = place.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from filter(None, [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)])


def _find(reference: str, folder: Path) -> _Module:
    name = reference.partition(":")[0]
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "stagewise":
        raise CodeError(f"{reference}: {top} is a module of {'Python' if top != 'stagewise' else top}; rename yours")
    for entry in (folder, *map(Path, sys.path)):
        module = _Module(name, entry, "" if entry == folder else top)
        if any(_is(path, entry, name) for path in module.files(name)):
            return module
    raise CodeError(f"{reference}: no module {name} in {folder} or on Python's path; expected a Python file there")


def _is(path: Path, root: Path, name: str) -> bool:
    """Whether the file is the module's, and not a package's that holds it."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) == name


def load(reference: str, folder: Path) -> Any:
    """What the reference leads to. Raises `CodeError`: where nothing does, and for whatever ends the import."""
    module = _find(reference, folder)
    digests = ",".join(f"{place}={sha256(data)}" for place, data in _sources(module).items())
    key = (str(module.root), module.name, digests)
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = _imported(reference, module)
        try:
            return getattr(_LOADED[key], short(reference))
        except AttributeError:
            raise CodeError(f"{reference}: the module has no {short(reference)}{_near(_LOADED[key])}") from None


def _near(module: ModuleType) -> str:
    public = [name for name in vars(module) if not name.startswith("_") and callable(vars(module)[name])]
    return f"; it has {', '.join(sorted(public)[:10])}" if public else ""


def _imported(reference: str, module: _Module) -> ModuleType:
    _make_room(reference, module)
    root, writes = str(module.root), sys.dont_write_bytecode
    sys.path.insert(0, root)
    sys.dont_write_bytecode = True  # nothing is left in the user's folder
    try:
        importlib.invalidate_caches()
        return importlib.import_module(module.name)
    except (KeyboardInterrupt, CodeError):
        raise
    except BaseException as error:  # also what ends a program: it is the user's module that asks for it
        said = (str(error).splitlines() or [""])[0]
        raise CodeError(f"{reference}: cannot be imported: {type(error).__name__}: {said}") from error
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(root)
        if root not in sys.path:
            sys.path.append(root)  # for what it imports while it runs; last, so that it hides nothing of others


def _make_room(reference: str, module: _Module) -> None:
    """Forgets modules of these names that came from another folder, or from sources that have changed since."""
    if module.follows:  # one that is installed is the one that Python has
        if module.follows not in sys.modules:
            _OURS[module.follows] = module.root
        return
    tops = {place.partition("/")[0].removesuffix(".py") for place in _sources(module)}
    for top in tops:
        if top in sys.modules and top not in _OURS:
            raise CodeError(f"{reference}: Python has already loaded another module {top}; rename yours")
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
        old = _OURS.pop(top, None)
        if old is not None and old != module.root and str(old) in sys.path:
            sys.path.remove(str(old))
        _OURS[top] = module.root
