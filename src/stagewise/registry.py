"""What a config names: one module a thing, found by its file's name.

    LAYOUTS: Registry[Layout] = Registry("layout", …)   # in the `__init__` of the folder that has the modules
    LAYOUTS["gsm8k"]                                    # of data/layouts/gsm8k.py, imported when it is asked for
    names("layout")                                     # ("gsm8k", "traces"), from the folder; nothing is imported
    LAYOUTS.chosen(["my_lab.data:pairs"], folder)       # a user's own, imported from the folder first

So the config knows the names without loading what they stand for, and no list of names is kept beside the files.
"""

import ast
import difflib
import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from stagewise import own_code
from stagewise.errors import CodeError, ConfigError, UserError

PACKAGE = Path(__file__).parent
PLACES = {
    "layout": "data.layouts",
    "signal": "curriculum.signals",
    "ordering": "curriculum.orderings",
    "extractor": "evaluation.scoring.extractors",
    "matcher": "evaluation.scoring.matchers",
    "measure": "evaluation.structure.measures",
}
"""The package that has the modules of each kind of thing."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Own = Callable[[str, Any], T]
"""(reference, what was found there) → the thing as it is used. Raises `CodeError` where it is none."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """The built-in names, in alphabetical order."""
    return tuple(sorted(path.stem for path in _folder(kind).glob("[a-z]*.py")))


def _folder(kind: str) -> Path:
    return PACKAGE.joinpath(*PLACES[kind].split("."))


def known(kind: str, name: str) -> str:
    """The name, where there is such a thing or it is a reference to a user's own. Raises `ValueError` with the nearest
    valid name."""
    if name in names(kind) or own_code.is_reference(name):
        return name
    near = difflib.get_close_matches(name, names(kind), n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"no {kind} {name!r}; {meant}there are: {', '.join(names(kind))}, or module:attribute of your own")


def constants(kind: str, constant: str) -> dict[str, Any]:
    """What a module-level constant is in each module that has it, read from the source: nothing is imported."""
    found = {}
    for name in names(kind):
        for node in ast.parse((_folder(kind) / f"{name}.py").read_bytes()).body:
            if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == [constant]:
                found[name] = ast.literal_eval(node.value)
    return found


def described(kind: str) -> dict[str, str]:
    """The first paragraph of each module's docstring, in one line: what the docs' tables say."""
    found = {}
    for name in names(kind):
        text = ast.get_docstring(ast.parse((_folder(kind) / f"{name}.py").read_bytes())) or ""
        found[name] = " ".join(text.partition("\n\n")[0].split())
    return found


class Registry(Mapping[str, T]):
    """The things of one kind by name. `own` checks what a user's own reference leads to."""

    def __init__(self, kind: str, own: Own[T]) -> None:
        self.kind, self.own = kind, own

    def __getitem__(self, name: str) -> T:
        """Raises `KeyError` for a name that is not built in."""
        if name not in names(self.kind):
            raise KeyError(name)
        found: T = getattr(importlib.import_module(f"stagewise.{PLACES[self.kind]}.{name}"), name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(names(self.kind))

    def __len__(self) -> int:
        return len(names(self.kind))

    def chosen(self, wanted: Iterable[str], folder: Path | None = None) -> dict[str, T]:
        """The things of these names, in their order; a reference (`my_lab.answers:last_bold`) is imported from the
        folder first.

        Raises `ConfigError` for an unknown name, and `CodeError` for a reference that leads to no such thing, or where
        there is no folder: code of a user's own is not run unless its caller says where it lies.
        """
        return {name: self._one(name, folder) for name in wanted}

    def _one(self, name: str, folder: Path | None) -> T:
        try:
            known(self.kind, name)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if not own_code.is_reference(name):
            return self[name]
        if folder is None:
            raise CodeError(f"{name}: code of the study's own, which is not run here; see verify --trust-code")
        return self.own(name, own_code.load(name, folder))


def function(
    reference: str,
    found: Any,
    takes: tuple[str, ...],
    returns: Callable[[Any], bool],
    expected: str,
    raises: tuple[type[Exception], ...] = (),
) -> Any:
    """A user's own function, checked: at once whether it can be called with these arguments, and at each call what it
    returns. Raises `CodeError`; so does the function, where the user's code raises anything but `raises`."""
    if not callable(found):
        raise CodeError(f"{reference}: found {type(found).__name__}, expected a function of ({', '.join(takes)})")
    try:
        inspect.signature(found).bind(*takes)
    except TypeError as error:
        raise CodeError(f"{reference}: cannot be called with ({', '.join(takes)}): {error}") from None
    except ValueError:
        pass  # one of another language, which does not say what it takes

    @functools.wraps(found, updated=())
    def checked(*arguments: Any, **named: Any) -> Any:
        try:
            value = found(*arguments, **named)
        except Exception as error:
            if isinstance(error, (UserError, *raises)):
                raise
            raise CodeError(f"{reference}: raised {_where(error)}") from error
        if not returns(value):
            raise CodeError(f"{reference}: returned {_short(value)}, expected {expected}")
        return value

    return checked


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__} ({said}) in {Path(last.filename).name}, line {last.lineno}"


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"
