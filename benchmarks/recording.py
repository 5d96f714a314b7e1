"""What recording costs: of a training run of ten minutes at most 3 %, and manifests of a whole study at most 1 %.

    python benchmarks/recording.py

First a phase of a random model of SmolLM2-135M's shape, float32, is recorded as the train step does it, on a local
store. Its first optimizer step is real, so that there is a state to save; the others are made up, and take no time.
So all the rest is what recording costs, loading the parent included. Then a study is run whole (--config), and of
its time the share that went into manifests and fingerprints is taken. README.md beside this has the figures.
"""

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RUN = 600.0  # seconds of training that the cost is held against
STEPS = 208  # that SmolLM2-135M takes in it, four examples each (README.md, training.py)


def main() -> None:
    options = _options()
    sys.path.insert(0, str(ROOT / "src"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        os.environ["STAGEWISE_HOME"] = str(folder / "home")
        print(_phase(folder, options), flush=True)
        print(_study(folder, options.config))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--optimizer", default="adafactor", choices=("adafactor", "adamw"))
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "quickstart.yaml", help="the whole study")
    parser.add_argument("--tiny", action="store_true", help="a model of no size, to try the script itself")
    return parser.parse_args()


# --- a phase ------------------------------------------------------------------------------------


def _phase(folder: Path, options: argparse.Namespace) -> str:
    from stagewise.model import loading
    from stagewise.steps import common, split, train
    from stagewise.tracking import models, runs
    from stagewise.tracking.journal import Journal
    from stagewise.training import checkpoints

    _write_model(folder / "model", options.tiny)
    session = common.open_session(_write_config(folder, options.optimizer))
    stages = common.perform(session, split.specify(session))
    base = common.perform(session, train.specify(session, stages, "base", 0, 1, None))
    spec = train.specify(session, stages, "curriculum", 1, 1, base)
    with _made_up_steps() as real:
        record, seconds, spent = _profiled(lambda: common.perform(session, spec))
    rows = [
        ("parent fetched, each digest checked", spent(models.fetch_checkpoint)),
        ("saves while it trains", spent(checkpoints.save)),
        ("checkpoint written", spent(loading.save)),
        ("checkpoint hashed, logged, read back", spent(models.log_checkpoint)),
        ("config, code, environment", spent(common.record_setup)),
        ("artifacts logged, read back", spent(runs.ActiveRun.upload)),
        ("metrics' last ones waited for", spent(Journal.__exit__)),
        ("manifest sealed", spent(runs.ActiveRun.seal)),
    ]
    rest = seconds - real[0] - sum(cost for _, cost in rows)
    rows.append(("everything else: model loaded, traces encoded", rest))
    rows.append(("metrics, sent beside training", _journal(session, record)))
    size = sum(entry["size"] for entry in record.manifest["outputs"]["model"]["files"].values())
    head = f"A phase of {STEPS} steps, a checkpoint of {size / 2**20:,.0f} MiB, {options.optimizer}:"
    return _table(head, rows, RUN, "a run of ten minutes")


def _write_model(folder: Path, tiny: bool) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from stagewise.config import Tokenizer
    from stagewise.model.loading import Loaded, build_tokenizer, save

    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152}
    shape |= {"num_attention_heads": 9, "num_key_value_heads": 3}
    if tiny:
        shape |= {"hidden_size": 36, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 768}
    tokenizer = build_tokenizer(Tokenizer(), ["What is 12 + 30?"])
    torch.manual_seed(0)
    save(Loaded(LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True)), tokenizer), folder)


def _write_config(folder: Path, optimizer: str) -> Path:
    study = {
        "study": "recording",
        "seeds": [1],
        "data": {
            "train": {"generate": {"seed": 1, "count": 4 * STEPS}},
            "eval": {"generate": {"seed": 2, "count": 6}},
        },
        "split": {"stages": [{"name": "all"}], "unmatched": "all"},
        "model": {"path": "model"},
        "training": {"batch_size": 4, "learning_rate": 2.0e-5, "optimizer": optimizer},
        "arms": ["curriculum"],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


@contextmanager
def _made_up_steps() -> Iterator[list[float]]:
    """All but the first take no time; the seconds of that one are put into the list."""
    from stagewise.training import loop

    taken, seconds = loop._Stepper.take, list[float]()

    def take(stepper: Any, step: Any, number: int, rate: float) -> Any:
        if number == 1:
            report = taken(stepper, step, number, rate)
            seconds.append(report.seconds)
            return report
        return loop.StepReport(number, 1.0, rate, 1.0, len(step), 100, 200, 0, 1.0)

    loop._Stepper.take = take  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        loop._Stepper.take = taken  # type: ignore[method-assign]


def _journal(session: Any, record: Any) -> float:
    """Seconds in which the metrics of a run are sent, in requests of as many as the pause between two brings."""
    from mlflow.entities import Metric

    from stagewise.tracking.journal import PAUSE

    requests, sample = int(RUN / PAUSE), 20
    each = max(1, round(4 * STEPS / requests))
    started = time.perf_counter()
    for step in range(sample):
        metrics = [Metric(f"benchmark/{number}", 1.0, 0, step) for number in range(each)]
        session.client.log_batch(record.run_id, metrics=metrics)
    return (time.perf_counter() - started) / sample * requests


# --- a study ------------------------------------------------------------------------------------


def _study(folder: Path, config: Path) -> str:
    from stagewise import pipeline
    from stagewise.record import code as provenance
    from stagewise.tracking import records, runs

    inline = folder / "study.yaml"
    inline.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"launcher": "inline"}))
    _, seconds, spent = _profiled(lambda: pipeline.run(inline))
    rows = [
        ("manifests sealed", spent(runs.ActiveRun.seal)),
        ("manifests read and checked", spent(records.read)),
        ("fingerprints", spent(provenance.fingerprint)),
    ]
    return _table(f"A study, {config.stem}, {seconds:.0f} s in one process:", rows, seconds, "the study")


def _profiled(do: Callable[[], Any]) -> tuple[Any, float, Callable[[Any], float]]:
    """What it returned, its seconds, and a function that says how many of them a function took."""
    profile = cProfile.Profile()
    started = time.perf_counter()
    result = profile.runcall(do)
    seconds = time.perf_counter() - started
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]

    def spent(function: Any) -> float:
        code: CodeType = function.__code__
        return float(stats.get((code.co_filename, code.co_firstlineno, code.co_name), (0, 0, 0, 0.0))[3])

    return result, seconds, spent


def _table(head: str, rows: Sequence[tuple[str, float]], whole: float, of: str) -> str:
    rows = [*rows, ("**together**", sum(cost for _, cost in rows))]
    lines = [f"| {name} | {cost:.2f} | {cost / whole:.2%} |" for name, cost in rows]
    return "\n".join([f"{head}\n", f"| part | seconds | share of {of} |", "| --- | --- | --- |", *lines, ""])


if __name__ == "__main__":
    main()
