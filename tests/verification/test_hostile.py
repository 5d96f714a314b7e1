"""Records that somebody made to do harm: every one ends in a verdict, of one line or of a tree, and is never whole."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished
from helpers.forging import Forger, Record
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stagewise.commands.verify import verify
from stagewise.errors import UserError, printable
from stagewise.hashing import sha256
from stagewise.progress import say
from stagewise.record.manifest import FILE
from stagewise.tracking.runs import SEAL
from stagewise.tracking.source import Server
from stagewise.verification import bundle
from stagewise.verification.views import Owner

DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_OBJECT = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
VALUES = [
    *(DEEP, DEEP_OBJECT, b"1e999", b'{"a": 1e999}', b"NaN", b'{"a": NaN}', b'"\\ud800"', b'{"\\udfff": 1}'),
    *(b"", b"null", b"[]", b"{}", b"1", b'"text"', b"[[1]]", b"[{}]", b'{"a": {}}', b"\xff\xfe", b"9" * 5000),
]


@pytest.fixture(scope="module")
def runs(finished: Finished) -> dict[str, str]:
    found = {"split": finished.runs("split")[0].info.run_id}
    for kind in ("train", "eval"):
        found |= {f"{kind} {run.info.run_name[:2]}": run.info.run_id for run in finished.runs(kind)}
    return found


@pytest.fixture(scope="module")
def record(finished: Finished, runs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Record:
    """An eval run with all that it was made from."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in finished.store.environment.items():
            patch.setenv(name, value)
        bundle.write(Server(finished.client), runs["eval c1"], folder)
    return Record(runs, folder)


@pytest.fixture
def folder(record: Record, tmp_path: Path) -> Path:
    """The same as a bundle of the test's own: links to the files, which are replaced and not written to."""
    root = next(iter(record.paths.values())).parents
    source = next(each for each in root if (each / "bundle.json").is_file())
    for path in source.rglob("*"):
        if path.is_file():
            target = tmp_path / "bundle" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return tmp_path / "bundle"


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    replace(path, json.dumps(value).encode())


def is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Exit code 4 or 5, and nothing printed that a terminal would take for more than text."""
    code = verify(str(folder))
    said = capsys.readouterr().out
    assert code in (4, 5), said
    assert printable(said, keep="\n") == said
    assert not [line for line in said.splitlines() if line.startswith(("✓ whole", "Traceback"))]
    return said


PLACES = [
    *("bundle.json", "registry.json", "runs/{eval}/run.json", "runs/{split}/run.json", "models/{model}/model.json"),
    *("runs/{eval}/artifacts/manifest.json", "runs/{split}/artifacts/manifest.json"),
]


def place(folder: Path, record: Record, name: str) -> Path:
    model = record.manifests[record.runs["train c1"]]["outputs"]["model"]["model_id"]
    return folder / name.format(eval=record.runs["eval c1"], split=record.runs["split"], model=model)


@pytest.mark.parametrize("name", PLACES)
def test_json_that_is_none_or_no_such_thing_is_refused(
    record: Record, folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(folder, record, name)
    for value in VALUES:
        replace(path, value)
        is_refused(folder, capsys)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def link_out(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def socket(path: Path) -> None:
    import socket as sockets

    path.unlink()
    before = os.getcwd()
    os.chdir(path.parent)  # an address of a socket is short
    try:
        with sockets.socket(sockets.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", ["bundle.json", "runs/{eval}/artifacts/manifest.json", "models/{model}/files/MLmodel"])
@pytest.mark.parametrize("alter", [fifo, link, link_out, socket])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(
    record: Record, folder: Path, name: str, alter: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    alter(place(folder, record, name))
    assert "a bundle holds plain files alone" in is_refused(folder, capsys)


def test_a_link_to_a_folder_is_refused(record: Record, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs" / "more").symlink_to("/etc")
    assert "a symbolic link" in is_refused(folder, capsys)


def test_folders_that_no_path_reaches_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, place = "d" * 250, os.open(folder, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=place)
        inside = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inside
    os.close(place)
    assert "found what cannot be listed (File name too long)" in is_refused(folder, capsys)


# (file, change): ids and paths that lead out of the bundle; what looks like lines of the verdict's own
def root(value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told.update(root=value)


def model_id(value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told["outputs"]["model"].update(model_id=value)


def file_named(value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told["outputs"]["artifacts"].update({value: {"sha256": "0" * 64, "size": 1}})


def made_from(value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told["inputs"]["runs"]["split"].update(run_id=value)


def code_at(value: str) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told["code"].update(path=value)


OUT = "../../outside"
TRAIN = "runs/{train}/artifacts/manifest.json"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("bundle.json", root(OUT)),
        ("bundle.json", root("/etc")),
        ("bundle.json", root("")),
        (TRAIN, model_id(OUT)),
        (TRAIN, model_id(".")),
        (TRAIN, file_named(OUT)),
        (TRAIN, file_named("/etc/passwd")),
        (TRAIN, file_named("a/../../b")),
        (TRAIN, file_named("a\n✓ whole")),
        (TRAIN, made_from(OUT)),
        (TRAIN, code_at(OUT)),
        ("runs/{train}/run.json", lambda told: told.update(models_out=[OUT])),
        ("runs/{train}/run.json", lambda told: told.update(run_id="0" * 32)),
        ("runs/{train}/run.json", lambda told: told["metrics"].update({"train/loss": [[1, 10**400]]})),
        ("models/{model}/model.json", lambda told: told.update(model_id=OUT)),
    ],
)
def test_what_leads_out_of_a_bundle_is_not_followed(
    record: Record,
    folder: Path,
    name: str,
    change: Callable[[dict[str, Any]], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "run.json").write_text("{}")
    path = place(folder, record, name.replace("{train}", record.runs["train c1"]))
    edit(path, change)
    if path.name == FILE:  # and what names it is corrected, as far as a bundle can be
        run = path.parents[1] / "run.json"
        edit(run, lambda told: told["tags"].update({SEAL: sha256(path.read_bytes())}))
    is_refused(folder, capsys)


FAKE = "split\n\n✓ whole: 1 files, 0.0 MB; manifest sha256 0000\x1b[2A\x9b1m\u202e\r"


def test_a_name_cannot_print_a_verdict_of_its_own(
    record: Record, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place(folder, record, "runs/{split}/run.json")
    edit(run, lambda told: told.update(name=FAKE * 100))
    edit(run, lambda told: told["tags"].update({f"stagewise.{FAKE}": FAKE}))
    edit(run, lambda told: told["params"].update({FAKE: FAKE}))
    assert r"split\n\n✓ whole" in is_refused(folder, capsys)
    assert verify(str(folder), as_json=True) == 4
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said)["verdict"] == "broken"


def test_an_error_and_a_line_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(UserError("a \x1b[31m\u202e b\nc")) == r"a \x1b[31m\u202e b" + "\nc"
    say("a\x1b[2J")
    assert capsys.readouterr().out == "a\\x1b[2J\n"


# --- the same, sealed again ---------------------------------------------------------------------

JSON = [("split", "rows.json"), ("split", "split_stats.json"), ("split", "config/resolved.json")]
JSON += [("train c1", "curve.json"), ("train c1", "order.npy"), ("train c1", "environment.json")]
JSON += [("eval c1", "eval_table.json"), ("eval c1", "predictions.jsonl"), ("split", "stages/a.jsonl")]
JSON += [
    ("split", "eval.jsonl"),
    ("split", "config/asked.yaml"),
    ("train c1", "code.commit"),
    ("train c1", "code.tree"),
]


@pytest.mark.parametrize(("run", "path"), JSON)
def test_an_artifact_that_is_no_such_thing_is_broken_though_it_was_sealed(record: Record, run: str, path: str) -> None:
    for value in VALUES[JSON.index((run, path)) % 4 :: 4]:
        forged = Forger(record)
        forged.put(run, path, value)
        forged.seal(fingerprints=False)
        assert forged.check(run).exit_code == 4


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]\n".encode()
    for before, name in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


@pytest.mark.parametrize("data", [BOMB, b"a: &a [*a]", b"[" * 5000, b"!!python/object/apply:os.system [id]", b"\x00"])
def test_yaml_that_would_never_end_is_broken(record: Record, data: bytes) -> None:
    for run, path, put in (("split", "config/asked.yaml", Forger.put), ("train c1", "MLmodel", Forger.put_model)):
        forged = Forger(record)
        put(forged, run, path, data)
        forged.seal(fingerprints=False)
        assert forged.check(run).exit_code == 4


@pytest.mark.parametrize(
    "path", ["model/model.safetensors", "components/tokenizer/tokenizer.json", "model/config.json"]
)
def test_a_models_file_that_is_no_such_thing_is_broken(record: Record, path: str) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1e9,-1],"data_offsets":[0,99999999999999999999]}}'
    weights = len(header).to_bytes(8, "little") + header
    for value in (*VALUES[len(path) % 4 :: 4], weights, (100_000).to_bytes(8, "little") + DEEP[:100_000]):
        forged = Forger(record)
        forged.put_model("train c1", path, value)
        forged.seal(fingerprints=False)
        assert forged.check("train c1").exit_code == 4


@pytest.mark.parametrize(
    ("run", "before", "after"),
    [
        ("train b0", "hidden_size: 16", "hidden_size: 80000000"),
        ("train b0", "layers: 1", "layers: 90000000"),
        ("train c1", "epochs: 2", "epochs: 900000000"),
        ("split", "count: 40", "count: 900000000"),
        ("eval c1", "max_new_tokens: 8", "temperature: 1.0\n  samples_per_item: 300000000"),
    ],
)
def test_what_a_config_asks_for_is_made_only_if_it_is_in_the_record(
    record: Record, run: str, before: str, after: str
) -> None:
    """Whoever wrote the record chose how much that is."""
    forged = Forger(record)
    forged.config(run, before, after)
    forged.seal(fingerprints=False)
    assert forged.check(run).exit_code in (4, 5)


wild = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats(allow_nan=False, allow_infinity=False)
wild |= st.text(st.characters(exclude_categories=["Cs"]), max_size=5)  # type: ignore[operator]
wild = st.recursive(
    wild,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),  # type: ignore[arg-type, operator, return-value]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("split", 20000000, None)  # code.path: none is another thing than the top of the repository
@given(st.sampled_from(["split", "train b0", "train c1", "eval c1"]), st.integers(0, 2**32), wild)
def test_any_value_in_any_place_of_a_manifest_ends_in_a_verdict(
    record: Record, run: str, seed: int, value: Any
) -> None:
    """Sealed by itself: what names it says another digest then, and is not asked."""
    forged = Forger(record)
    manifest, dice = forged.manifest(run), random.Random(seed)
    within: Any = manifest
    while True:
        key = dice.choice(sorted(within) if isinstance(within, dict) else range(len(within)))
        if not isinstance(within[key], dict | list) or not within[key] or dice.random() < 0.2:
            break
        within = within[key]
    before, within[key] = within[key], value
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    forged.data[Owner("runs", forged.names[run]), FILE] = data
    forged.views[forged.names[run]]["tags"][SEAL] = sha256(data)
    verdict = forged.check(run)
    assert verdict.exit_code in (4, 5) or before == value or key in ("started", "ended", "cores", "experiment_id")
    assert printable(str(verdict), keep="\n") == str(verdict)
