"""Training and evaluation on one GPU, held against its measured matrix rate: one command, at most nine minutes.

    python benchmarks/gpu.py                                  all of it
    python benchmarks/gpu.py --parts qwen --layouts joined    one shape, one layout
    python benchmarks/gpu.py --tiny                           toy sizes, on the CPU too: does the script work?

Random weights in the shapes of Qwen3-1.7B and Gemma-2B; weights in float32, matrix products in bfloat16, Adafactor as
the original set it, deterministic algorithms on, as in every study. The examples are random tokens whose lengths are
drawn from 128 to 2,048, three quarters of each are learned. The limit is 6 × parameters × real tokens over the best
matrix-product rate of this GPU; attention's own products are not counted. Each measurement is a process of its own. The
first two steps are not timed: they load kernels and compile. A part that fails is named, and the others go on.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHAPES: dict[str, dict[str, Any]] = {
    "qwen": {
        "class": "Qwen3",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "tie_word_embeddings": True,
    },
    "gemma": {
        "class": "Gemma",
        "hidden_size": 2048,
        "intermediate_size": 16_384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 256_000,
    },
}
TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": 8000,
}
PARTS = (*SHAPES, "eval")
LAYOUTS = ("joined", "padded")
BATCHES = (1, 32, 256)
WARM = 2  # steps before the clock starts


def main() -> None:
    options = _options()
    if options.worker:
        sys.path.insert(0, str(ROOT / "src"))
        print(json.dumps(_work(options)))
        return
    end = time.monotonic() + 60 * options.minutes
    limit = _worker(options, "limit", end)
    if limit is None:
        sys.exit("the matrix rate could not be measured")
    print(
        f"{limit['device']}, torch {limit['torch']}: matrix products at {limit['rate'] / 1e12:.0f} TFLOP/s\n",
        flush=True,
    )
    _head(
        "training",
        "tokens/s",
        "samples/s",
        "of the limit",
        "peak GiB",
        "first two steps, s",
        "a step, s (range)",
        "loss",
    )
    for part in [part for part in options.parts if part in SHAPES]:
        for layout in options.layouts:
            for compiled in (False, True) if "both" in options.compiled else ("yes" in options.compiled,):
                name = f"{part}, {layout}{', compiled' if compiled else ''}"
                found = _worker(options, f"{part}:{layout}:{int(compiled)}", end)
                _row(name, *(_trained(found, limit["rate"]) if found else ["not measured"]))
    if "eval" in options.parts:
        print()
        _head("evaluation of qwen's shape", "tokens/s", "seconds", "peak GiB")
        for batch in BATCHES:
            found = _worker(options, f"eval:{batch}", end)
            shown = (
                [f"{found['tokens']:,.0f}", f"{found['seconds']:.1f}", f"{found['memory']:.1f}"]
                if found
                else ["not measured"]
            )
            _row(f"batch {batch}, {options.new_tokens} tokens each", *shown)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--compiled", choices=("both", "yes", "no"), default="both")
    parser.add_argument("--batch", type=int, default=64, help="examples in an optimizer step (%(default)s)")
    parser.add_argument("--micro", type=int, default=8192, help="tokens in a micro-batch (%(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=128, help="tokens of an answer (%(default)s)")
    parser.add_argument("--timeout", type=int, default=100, help="seconds for one measurement (%(default)s)")
    parser.add_argument("--minutes", type=float, default=9, help="for everything (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to try the script itself")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _worker(options: argparse.Namespace, what: str, end: float) -> dict[str, Any] | None:
    """What a process of its own measured; None where it failed, or was not done by `end`, of time.monotonic."""
    seconds = min(options.timeout, end - time.monotonic())
    if seconds <= 0:
        print(f"{what}: not measured, the {options.minutes:g} minutes are over", file=sys.stderr, flush=True)
        return None
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", what]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"{what}: not done within {seconds:.0f} s", file=sys.stderr, flush=True)
        return None
    if done.returncode:
        print(f"{what}: {done.stderr[-1500:]}", file=sys.stderr, flush=True)
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _head(*cells: str) -> None:
    _row(*cells)
    _row(*("---" for _ in cells))


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _trained(found: dict[str, Any], rate: float) -> list[str]:
    seconds = statistics.median(found["seconds"])
    tokens = found["tokens"] / seconds
    spread = f"{seconds:.2f} ({min(found['seconds']):.2f} to {max(found['seconds']):.2f})"
    share = 6 * found["parameters"] * tokens / rate
    samples = f"{found['examples'] / seconds:.1f}"
    return [
        f"{tokens:,.0f}",
        samples,
        f"{share:.0%}",
        f"{found['memory']:.1f}",
        f"{found['first']:.1f}",
        spread,
        found["loss"],
    ]


# --- in a process of its own --------------------------------------------------------------------


def _work(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        sys.exit("there is no GPU here; --tiny tries the script on the CPU")
    what, *more = options.worker.split(":")
    if what == "limit":
        return _matrix_rate(device, options.tiny)
    if what == "eval":
        return _evaluate(device, int(more[0]), options)
    return _train(device, what, more[0], more[1] == "1", options)


def _matrix_rate(device: str, tiny: bool) -> dict[str, Any]:
    """Operations a second of a large matrix product in bfloat16: the best of ten."""
    import torch

    size = 256 if tiny else 8192
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    best = min(_timed(lambda: left @ right, device) for _ in range(13))
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"rate": 2 * size**3 / best, "device": name, "torch": torch.__version__}


def _timed(work: Any, device: str) -> float:
    import torch

    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _model(name: str, device: str, tiny: bool) -> Any:
    import torch
    import transformers

    shape = dict(SHAPES[name])
    kind = shape.pop("class")
    config = getattr(transformers, f"{kind}Config")(**shape | (TINY if tiny else {}), max_position_embeddings=4096)
    torch.manual_seed(0)
    with torch.device(device):
        return getattr(transformers, f"{kind}ForCausalLM")(config)


def _train(device: str, name: str, layout: str, compiled: bool, options: argparse.Namespace) -> dict[str, Any]:
    from stagewise.config import Compute, Training
    from stagewise.curriculum.order import Instance
    from stagewise.model.device import set_up
    from stagewise.model.templates import Example
    from stagewise.training.job import Job, Saving, Schedule
    from stagewise.training.loop import train

    accelerator = set_up(Compute(device="auto"))
    model = _model(name, device, options.tiny)
    drawn, vocabulary = random.Random(0), model.config.vocab_size
    count = (WARM + options.steps) * options.batch
    lengths = [int(2 ** drawn.uniform(7, 11)) // (16 if options.tiny else 1) for _ in range(count)]
    rows = [[drawn.randrange(vocabulary) for _ in range(length)] for length in lengths]
    examples = {("a", place): Example(tuple(row), len(row) // 4) for place, row in enumerate(rows)}
    instances = [Instance("a", place, 0) for place in range(count)]
    steps = [tuple(instances[start : start + options.batch]) for start in range(0, count, options.batch)]
    settings = Training(
        batch_size=options.batch,
        micro_batch_tokens=512 if options.tiny else options.micro,
        learning_rate=2e-5,
        schedule="constant",
        optimizer="adafactor",
        precision="bfloat16",
        torch_compile=compiled,
        max_length=2048,
    )
    reports: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            steps=steps,
            examples=examples,
            pad=0,
            settings=settings,
            schedule=Schedule(0, len(steps)),
            seed=0,
            saving=Saving(Path(folder), None, 1, False),
            layouts=(layout,),  # type: ignore[arg-type]
        )
        train(job, model, accelerator, reports.append)
    timed = reports[WARM:]
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": [report.seconds for report in timed],
        "tokens": statistics.mean(report.tokens for report in timed),
        "examples": options.batch,
        "first": sum(report.seconds for report in reports[:WARM]),
        "loss": f"{reports[0].loss:.3f} to {reports[-1].loss:.3f}",
        "memory": _memory(device),
    }


def _evaluate(device: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from stagewise.config import Evaluation, Tokenizer
    from stagewise.evaluation.generation import Decoder, Prompt, generate
    from stagewise.model.loading import Loaded, build_tokenizer

    model = _model("qwen", device, options.tiny).to(torch.bfloat16).eval()
    words = build_tokenizer(Tokenizer(kind="characters", vocab_size=300), ["abcdefghijklmnopqrstuvwxyz 0123456789"])
    drawn, size = random.Random(0), len(words)
    prompts = [
        Prompt(str(place), "", [drawn.randrange(4, size) for _ in range(drawn.randrange(32, 256))], 0)
        for place in range(min(batch, 8) if options.tiny else batch)
    ]
    loaded, longest = Loaded(model, words), 8 if options.tiny else options.new_tokens
    decoder = Decoder(loaded, Evaluation(max_new_tokens=longest), "select")
    brief = Decoder(loaded, Evaluation(max_new_tokens=2), "select")
    generate(brief, prompts, batch)  # loads kernels
    answers: list[Any] = []
    seconds = _timed(lambda: answers.extend(generate(decoder, prompts, batch)), device)
    tokens = sum(answer.tokens for answer in answers)
    return {"tokens": tokens / seconds, "seconds": seconds, "memory": _memory(device)}


def _memory(device: str) -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0


if __name__ == "__main__":
    main()
