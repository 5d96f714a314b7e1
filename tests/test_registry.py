"""What a config names is what there is: a file each, found without importing it, and a user's own checked."""

import ast
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY

from stagewise import registry
from stagewise.config import parse
from stagewise.curriculum.signals import SIGNALS
from stagewise.data.layouts import LAYOUTS
from stagewise.data.traces import parse_traces
from stagewise.errors import CodeError, ConfigError
from stagewise.evaluation.scoring import EXTRACTORS, MATCHERS, score
from stagewise.evaluation.structure import MEASURES, measures
from stagewise.registry import Registry

REGISTRIES: dict[str, Registry[Any]] = {each.kind: each for each in (LAYOUTS, SIGNALS, EXTRACTORS, MATCHERS, MEASURES)}
# Where a config has each kind of thing: section, field, and what stands there.
STAGES = [{"name": "a"}, {"name": "b"}]
WHERE: dict[str, Callable[[str], tuple[str, str, Any]]] = {
    "layout": lambda name: ("data", "train", {"path": "t.jsonl", "layout": name}),
    "signal": lambda name: ("split", "quantiles", {"signal": name, "cuts": [0.5]}),
    "extractor": lambda name: ("evaluation", "extract", [name]),
    "matcher": lambda name: ("evaluation", "match", [name]),
    "measure": lambda name: ("evaluation", "measures", list(dict.fromkeys(["tokens", "eos", name]))),
}


def configured(kind: str, name: str) -> str:
    section, field, value = WHERE[kind](name)
    split = {"stages": STAGES} if kind == "signal" else TINY["split"]
    config = TINY | {"split": split}
    return yaml.safe_dump(config | {section: config[section] | {field: value}})


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_names_that_a_config_takes_are_those_of_the_registry(kind: str) -> None:
    assert len(REGISTRIES[kind]) > 1
    for name in [*REGISTRIES[kind], "my_lab.things:one"]:
        parse(configured(kind, name), "c.yaml")
    with pytest.raises(ConfigError) as caught:
        parse(configured(kind, f"{name_of(kind)}z"), "c.yaml")
    text = str(caught.value)
    assert f"no {kind} '{name_of(kind)}z'; did you mean {name_of(kind)}? there are: " in text
    assert all(name in text for name in REGISTRIES[kind])
    assert "\n" not in text


def name_of(kind: str) -> str:
    return next(iter(REGISTRIES[kind]))


@pytest.mark.parametrize("kind", REGISTRIES)
def test_each_module_has_the_thing_of_its_name_and_says_what_it_is(kind: str) -> None:
    found = dict(REGISTRIES[kind])
    assert list(found) == list(registry.names(kind))
    assert all(callable(thing) or kind == "layout" for thing in found.values())
    assert [name for name, said in registry.described(kind).items() if not said] == []
    with pytest.raises(KeyError):
        REGISTRIES[kind]["telepathy"]


@pytest.mark.parametrize(("kind", "constant"), [("signal", "UNIT"), ("measure", "KIND")])
def test_each_module_has_the_constant_of_its_kind(kind: str, constant: str) -> None:
    found = registry.constants(kind, constant)
    assert sorted(found) == list(registry.names(kind))
    if constant == "KIND":
        assert set(found.values()) <= {"rate", "share", "amount"}


def test_the_config_knows_the_names_and_loads_none_of_the_things() -> None:
    program = (
        "import sys\nfrom stagewise.config import Config\nfrom stagewise.registry import PLACES\n"
        "loaded = [name for name in sys.modules if any(name == f'stagewise.{p}' or name.startswith(f'stagewise.{p}.') "
        "for p in PLACES.values()) or name in ('torch', 'numpy', 'mlflow', 'regex')]\nassert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_module_lists_the_names_besides() -> None:
    """Only `config/evaluation.py` does, for the defaults, whose order means something."""
    for kind in REGISTRIES:
        for path in registry.PACKAGE.rglob("*.py"):
            texts = {node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Constant)}
            names = set(registry.names(kind))
            assert not names <= texts or path.name == "evaluation.py" or len(names) < 4, path


def test_adding_a_layout_is_one_file(tmp_path: Path) -> None:
    shutil.copytree(registry.PACKAGE, tmp_path / "stagewise", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stagewise" / "data" / "layouts" / "pairs.py").write_text(
        '"""Pairs."""\n\nfrom stagewise.data.layouts import Item, Layout, Row, Trace\n\n\n'
        'def _trace(row: Row) -> Trace:\n    return row.trace(row.text("q"), [], row.text("a"))\n\n\n'
        'def _item(row: Row) -> Item:\n    return row.item(f"pair-{row.number}", row.text("q"), row.text("a"))\n\n\n'
        "pairs = Layout(trace=_trace, item=_item)\n"
    )
    program = (
        "from stagewise.config import PathSource\nfrom stagewise.data.traces import parse_items, parse_traces\n"
        'assert PathSource(path="x", layout="pairs").layout == "pairs"\n'
        'line = b\'{"q": "2+2", "a": "4"}\'\n'
        'print(parse_traces(line, "x", "pairs").rows[0].final_answer, parse_items(line, "x", "pairs").rows[0].id)\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert (done.stdout, done.returncode) == ("4 pair-0\n", 0), done.stderr


# --- a user's own --------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the module `mine`; returns the folder that it is in."""

    def write(source: str) -> Path:
        (tmp_path / "mine.py").write_text(source)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("layout", "it = 3", "found int, expected a Layout(trace=…, item=…)"),
        ("signal", "it = 3", "found int, expected a function of (traces, count_tokens)"),
        ("signal", "def it(traces): ...", "cannot be called with (traces, count_tokens): too many positional"),
        ("extractor", "def it(): ...", "cannot be called with (output, prompt): too many positional"),
        (
            "extractor",
            "def it(a, b, c): ...",
            "cannot be called with (output, prompt): missing a required argument: 'c'",
        ),
        ("matcher", "class it: ...", "cannot be called with (answer, expected)"),
        ("measure", "def other(response): ...", "the module has no it; it has other"),
    ],
)
def test_what_cannot_serve_is_refused_at_once(kind: str, source: str, said: str, own: Any) -> None:
    with pytest.raises(CodeError) as caught:
        REGISTRIES[kind].chosen(["mine:it"], own(source))
    assert str(caught.value).startswith("mine:it: ")
    assert said in str(caught.value)
    assert (caught.value.exit_code, "\n" in str(caught.value)) == (2, False)


def matched(folder: Path) -> Any:
    return score("7\n7", "8", match=MATCHERS.chosen(["mine:it"], folder))


def extracted(folder: Path) -> Any:
    return score("is it 7", "8", extract=EXTRACTORS.chosen(["mine:it"], folder))


def measured(folder: Path) -> Any:
    asked: dict[str, Any] = {
        "prompt": "",
        "expected": "",
        "reference_steps": None,
        "tokens": 1,
        "finish_reason": "stop",
    }
    return measures("7", measure=MEASURES.chosen(["mine:it"], folder), **asked)


def ranked(folder: Path) -> Any:
    rows = parse_traces(b'{"question": "2+2", "answer": "#### 4"}', "x", "gsm8k").rows
    return SIGNALS.chosen(["mine:it"], folder)["mine:it"](rows, lambda texts: [1 for _ in texts])


def read(folder: Path) -> Any:
    return parse_traces(b'{"q": 1}', "x", "mine:it", folder)


LAYOUT = "from stagewise.data.layouts import Layout\nit = Layout(trace=lambda row: {}, item=lambda row: 3)"
FOUND = "from stagewise.evaluation.scoring import Extraction\ndef it(output, prompt=''): return Extraction({})"


@pytest.mark.parametrize(
    ("use", "source", "said"),
    [
        (matched, "def it(answer, expected): return 'yes'", "returned str 'yes', expected True or False"),
        (
            matched,
            "def it(answer, expected): return 1 / 0",
            "ZeroDivisionError (division by zero) in mine.py, line 1",
        ),
        (extracted, "def it(output, prompt): return '7'", "returned str '7', expected an Extraction or None"),
        (
            extracted,
            FOUND.format("'7', 'x', (0, 1)"),
            "'7' with span (0, 1), expected the text that stands there",
        ),
        (measured, "def it(response): return float('nan')", "returned float nan, expected a finite number or None"),
        (measured, "def it(response): return response.nothing", "raised AttributeError ("),
        (ranked, "def it(traces, count_tokens): return []", "returned 0 values, expected 1, one a trace"),
        (
            ranked,
            "def it(traces, count_tokens): return ['a']",
            "list ['a'], expected a list of finite numbers",
        ),
        (read, LAYOUT.format("row.fields['a']"), "raised KeyError ('a') in mine.py, line 2"),
        (read, LAYOUT.format("3"), "returned int 3, expected a Trace"),
    ],
)
def test_what_it_must_not_do_is_one_line(use: Callable[[Path], Any], source: str, said: str, own: Any) -> None:
    with pytest.raises(CodeError) as caught:
        use(own(source))
    assert str(caught.value).startswith("mine:it: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_extraction_says_whose_it_is_and_a_mark_comes_before_the_others(own: Any) -> None:
    source = FOUND.format("output[0], 'x', (0, 1)")
    said = score(
        "7 or 8\n#### 9", "9", extract={**EXTRACTORS.chosen(["mine:it"], own(source)), "gsm8k": EXTRACTORS["gsm8k"]}
    )
    assert said.extraction is not None
    assert said.extraction.rule == "gsm8k"
    marked = source.replace("Extraction\n", "Extraction, Mark\n@Mark\n", 1)
    (own(marked) / "mine.py").rename(own(marked) / "marked.py")
    found = EXTRACTORS.chosen(["marked:it", "last_number"], own(marked))
    said = score("7 or 8", "7", extract=found)
    assert said.extraction is not None
    assert (said.extraction.rule, said.extraction.text) == ("marked:it", "7")


def test_nothing_of_a_user_is_run_where_nobody_says_from_where() -> None:
    with pytest.raises(CodeError, match="mine:it: code of the study's own, which is not run here"):
        MATCHERS.chosen(["mine:it"])


def test_a_registry_is_listed_once_for_each_kind_that_has_modules() -> None:
    for kind, place in registry.PLACES.items():
        if registry.names(kind):
            package = importlib.import_module(f"stagewise.{place}")
            assert [value.kind for value in vars(package).values() if isinstance(value, Registry)] == [kind]
