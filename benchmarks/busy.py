"""Training beside other programs that keep the cores busy, and alone: what it costs how OpenMP's threads wait.

    python benchmarks/busy.py                    ten minutes on 2 cores

Wanted: beside two busy processes at least 60 % of the fair share, and alone at most 3 % less than as torch comes. Each
measurement is a process of its own, the ways take turns, alone and beside the busy ones, and the median of the rounds
is shown. The fair share is what training has alone, as torch comes, times the cores over all that would run: its
threads, one a core, and the busy processes. What other programs took of the cores meanwhile is shown: where that is
more than little, the machine was not idle, and the figures tell nothing. README.md beside this has them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
WAYS: Mapping[str, Mapping[str, str]] = {
    "torch": {},  # as it comes
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "ours": {},  # stagewise.training.openmp, in the worker
}
CHOSEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
WARM_UP = 5  # steps; after them the weights are digested


def main() -> None:
    options = _options()
    if options.worker:
        sys.path.insert(0, str(ROOT / "src"))
        print(json.dumps(_measure(options)))
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for turn in range(options.rounds):
        for way in options.ways:
            for busy in (0, options.busy):
                print(f"round {turn + 1} of {options.rounds}: {way}, {busy} busy", file=sys.stderr, flush=True)
                with _busy(busy):
                    found.setdefault(f"{way} {busy}", []).append(_worker(way))
    print(_table(found, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--busy", type=int, default=2, help="processes that only compute (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training in a measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help=", ".join((*WAYS, "a spin count")))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _worker(way: str) -> dict[str, Any]:
    chosen = WAYS.get(way, {"GOMP_SPINCOUNT": way})
    without = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", way]
    done = subprocess.run(command, env=without | chosen, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# --- one measurement ----------------------------------------------------------------------------


class _Over(Exception):
    pass


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second of configs/quickstart.yaml's model and data, in this process."""
    if options.worker == "ours":
        from stagewise.training.openmp import spin_little

        assert spin_little(), "torch is loaded already"
    from stagewise.model.device import set_up, threads
    from stagewise.training import loop
    from stagewise.training.job import Job, Saving, Schedule

    model, pad, examples, steps, settings = _task()
    accelerator = set_up(_config().compute)
    marks: list[tuple[float, float, float]] = []  # seconds; of processor time, this process's and everybody's
    digest = ""

    def on_step(report: loop.StepReport) -> None:
        nonlocal digest
        marks.append(_mark())
        if report.step == WARM_UP:
            digest = _digest(model)
            marks.append(_mark())
        if report.step > WARM_UP and marks[-1][0] - marks[WARM_UP][0] > options.seconds:
            raise _Over

    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            steps=steps,
            examples=examples,
            pad=pad,
            settings=settings,
            schedule=Schedule(0, len(steps)),
            seed=0,
            saving=Saving.of(settings, Path(folder)),
        )
        with suppress(_Over):
            loop.train(job, model, accelerator, on_step)
    seconds, own, everybody = (end - start for start, end in zip(marks[WARM_UP], marks[-1], strict=True))
    cores = len(os.sched_getaffinity(0))
    return {
        "rate": (len(marks) - 1 - WARM_UP) / seconds,
        "others": (everybody - own) / seconds / cores,
        "digest": digest,
        "threads": threads(_config().compute),
    }


def _mark() -> tuple[float, float, float]:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    everybody = sum(times[: times._fields.index("guest")] if "guest" in times._fields else times) - idle
    return time.perf_counter(), time.process_time(), everybody


def _config() -> Any:
    from stagewise.config import load

    return load(ROOT / "configs" / "quickstart.yaml")


def _task() -> tuple[Any, int, Any, Any, Any]:
    from stagewise.data.sources import load_traces
    from stagewise.model import loading, templates

    config = _config()
    generated = config.data.train
    few = generated.model_copy(update={"generate": generated.generate.model_copy(update={"count": 2000})})
    traces = load_traces(few, ROOT).rows
    complete = templates.TEMPLATES[config.training.template].completion
    texts = [text for trace in traces for text in (f"{trace.prompt}\n", complete(trace))]
    model, tokenizer = loading.create(config.model, 0, texts, ROOT, ROOT)
    settings = config.training.model_copy(update={"save_steps": None})
    encoded, size = templates.encode(traces, tokenizer, settings, "a"), settings.batch_size
    rows = np.array([[0, position, 0] for position in encoded.positions], dtype=np.int32)
    cut = [rows[start : start + size] for start in range(0, len(rows) - size, size)]
    return model, tokenizer.pad_token_id, templates.Examples([encoded]), cut * 100, settings


def _digest(model: Any) -> str:
    import hashlib

    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


# --- what came out ------------------------------------------------------------------------------


def _table(found: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    every = [run for runs in found.values() for run in runs]
    assert len({run["digest"] for run in every}) == 1, "the ways train to other weights"
    cores, threads = len(os.sched_getaffinity(0)), every[0]["threads"]
    fair = min(1.0, cores / (threads + options.busy))

    def middle(way: str, busy: int, name: str) -> float:
        return statistics.median(run[name] for run in found[f"{way} {busy}"])

    def rates(way: str, busy: int) -> str:
        every = [run["rate"] for run in found[f"{way} {busy}"]]
        return f"{middle(way, busy, 'rate'):.2f} ({min(every):.2f} to {max(every):.2f})"

    first = options.ways[0]
    alone = middle(first, 0, "rate")
    lines = [
        f"{threads} threads on {cores} cores, {options.seconds:g} s a measurement, median of {options.rounds} (lowest "
        f"to highest); equal weights after {WARM_UP} steps, sha256 {every[0]['digest'][:12]}…",
        f"| way | steps/s alone | of {first}'s | others took | steps/s beside {options.busy} | of the fair share |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for way in options.ways:
        lines.append(
            f"| {way} | {rates(way, 0)} | {middle(way, 0, 'rate') / alone:.0%} | {middle(way, 0, 'others'):.0%} "
            f"| {rates(way, options.busy)} | {middle(way, options.busy, 'rate') / (alone * fair):.0%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
