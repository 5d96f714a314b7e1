import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import FAMILIES, loaded, model
from helpers.rounding import STRAY, astray
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments, get_scheduler

from stagewise.config import Compute, Training
from stagewise.curriculum.order import Instance, Step
from stagewise.errors import ConfigError, TrainingError
from stagewise.hashing import weights_digest
from stagewise.model import loading
from stagewise.model.device import set_up
from stagewise.model.templates import Example
from stagewise.training import loop
from stagewise.training.job import Job, OptimizerState, Saving, Schedule

pytestmark = pytest.mark.numeric
VOCABULARY = 40
ONE = Schedule(0, 6)


@pytest.fixture(scope="module")
def accelerator() -> Any:
    return set_up(Compute(device="cpu", threads=1))


def examples(count: int = 8) -> dict[tuple[str, int], Example]:
    """Examples of lengths 4 to 15, the first quarter of each being prompt."""
    generator = torch.Generator().manual_seed(5)
    made = {}
    for position in range(count):
        length = 4 + (position * 7) % 12
        ids = torch.randint(2, VOCABULARY, (length,), generator=generator).tolist()
        made["a", position] = Example((*ids[:-1], 1), length // 4)
    return made


def steps(count: int, size: int = 4) -> list[Step]:
    return [tuple(Instance("a", (2 * index + k) % 8, index) for k in range(size)) for index in range(count)]


def settings(**changes: Any) -> Training:
    return Training(**({"batch_size": 4, "learning_rate": 1e-2} | changes))


def saving(folder: Path, every: int | None = None) -> Saving:
    return Saving(folder, every, keep=2, allow_inexact=False)


def weights(made: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in made.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]),
        ("cosine", [1 / 3, 2 / 3, 1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_then_falls(schedule: str, expected: list[float]) -> None:
    chosen = settings(schedule=schedule, warmup=1 / 3, learning_rate=1.0)
    assert [loop.learning_rate(chosen, step, 6) for step in range(6)] == pytest.approx(expected, abs=1e-4)


@given(st.sampled_from([0.0, 0.01, 0.03, 0.05, 0.1, 1 / 3]), st.integers(1, 400), st.sampled_from(["linear", "cosine"]))
def test_the_warm_up_is_as_long_as_the_trainers_and_no_update_is_lost(warmup: float, total: int, schedule: str) -> None:
    """The Trainer's own count and rates, but for its first update, which has the rate zero."""
    chosen = settings(schedule=schedule, warmup=warmup, learning_rate=1.0)
    rates = [loop.learning_rate(chosen, step, total) for step in range(total)]
    steps = math.ceil(total * warmup)
    assert all(0 < rate < 1 for rate in rates[:steps])
    assert rates[:steps] == sorted(rates[:steps])
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_scheduler(schedule, optimizer, num_warmup_steps=steps, num_training_steps=total).lr_lambdas[0]
    assert rates[steps:] == pytest.approx([theirs(step) for step in range(steps, total)])


def test_the_trainer_counts_the_warm_up_so(tmp_path: Path) -> None:
    for share, total in [(0.05, 1), (0.05, 9), (0.05, 20), (0.05, 21), (0.1, 30)]:
        asked = TrainingArguments(output_dir=str(tmp_path), warmup_steps=share, report_to="none")
        assert asked.get_warmup_steps(total) == math.ceil(total * share)


def run(made: Any, folder: Path, accelerator: Any, count: int = 6, **options: Any) -> loop.Outcome:
    chosen = options.pop("settings", settings())
    every = options.pop("every", None)
    on_step = options.pop("on_step", lambda report: None)
    return trained(made, accelerator, saving(folder, every), on_step, steps=steps(count), settings=chosen, **options)[0]


def trained(
    made: Any, accelerator: Any, kept: Saving, on_step: Any = lambda report: None, **options: Any
) -> tuple[loop.Outcome, OptimizerState]:
    asked = {"steps": steps(6), "examples": examples(), "pad": 0, "settings": settings(), "schedule": ONE, "seed": 3}
    return loop.train(Job(**{**asked, "saving": kept, **options}), made, accelerator, on_step)


def test_training_lowers_the_loss_and_counts_what_went_through(tmp_path: Path, accelerator: Any) -> None:
    outcome = run(model("llama", VOCABULARY), tmp_path, accelerator)
    assert outcome.curve[-1].loss < outcome.curve[0].loss
    assert outcome.consumed == [instance for step in steps(6) for instance in step]
    lengths = {key: len(example.ids) for key, example in examples().items()}
    assert outcome.total("tokens") == sum(lengths[instance.example] for instance in outcome.consumed)
    assert outcome.total("examples") == 24


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_broken_run_goes_on_to_the_same_bits(tmp_path: Path, accelerator: Any, optimizer: str, family: str) -> None:
    chosen = settings(optimizer=optimizer)
    whole, broken, resumed = (model(family, VOCABULARY) for _ in range(3))
    expected = run(whole, tmp_path / "whole", accelerator, settings=chosen)

    class Killed(BaseException):  # what a killed process is left no time to save at
        pass

    def kill(report: loop.StepReport) -> None:
        if report.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(broken, tmp_path / "broken", accelerator, settings=chosen, every=2, on_step=kill)
    told: list[int] = []
    outcome = run(
        resumed,
        tmp_path / "broken",
        accelerator,
        settings=chosen,
        every=2,
        on_step=lambda report: told.append(report.step),
    )
    assert outcome.resumed_at == 4
    assert told == [1, 2, 3, 4, 5, 6]
    assert equal(weights(resumed), weights(whole))
    assert outcome.consumed == expected.consumed
    assert [report.loss for report in outcome.curve] == [report.loss for report in expected.curve]


def test_dropout_goes_on_to_the_same_bits_too(tmp_path: Path, accelerator: Any) -> None:
    def dropping() -> Any:
        made = model("gpt2", VOCABULARY)
        for module in made.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        return made

    whole, parted = dropping(), dropping()
    run(whole, tmp_path / "whole", accelerator)
    torch.manual_seed(99)
    with pytest.raises(KeyboardInterrupt):
        run(dropping(), tmp_path / "parted", accelerator, on_step=interrupt_at(3))
    torch.manual_seed(98)
    assert run(parted, tmp_path / "parted", accelerator).resumed_at == 3
    assert equal(weights(parted), weights(whole))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_one_that_lost_its_optimizer_goes_on_where_that_is_allowed_and_says_so(
    tmp_path: Path, accelerator: Any, optimizer: str
) -> None:
    chosen = settings(optimizer=optimizer, allow_inexact=True)

    def go(on_step: Any = lambda report: None) -> loop.Outcome:
        made = model("llama", VOCABULARY)
        return trained(made, accelerator, Saving.of(chosen, tmp_path), on_step, settings=chosen)[0]

    for number in (2, 4):  # what was lost once is not forgotten by the next save
        with pytest.raises(KeyboardInterrupt):
            go(interrupt_at(number))
        (tmp_path / f"step-0000000{number}" / "optimizer.safetensors").unlink()
    assert go().lost == [f"step-0000000{number}: no optimizer.safetensors" for number in (2, 4)]


def test_recomputed_activations_change_nothing(tmp_path: Path, accelerator: Any) -> None:
    kept, recomputed = model("llama", VOCABULARY), model("llama", VOCABULARY)
    run(kept, tmp_path / "kept", accelerator)
    run(recomputed, tmp_path / "recomputed", accelerator, settings=settings(gradient_checkpointing=True))
    assert equal(weights(recomputed), weights(kept))
    assert not recomputed.is_gradient_checkpointing


def test_bfloat16_computes_with_less_precision_and_leaves_the_weights_dtype(tmp_path: Path, accelerator: Any) -> None:
    made, exact = model("llama", VOCABULARY), model("llama", VOCABULARY)
    rounded = run(made, tmp_path / "rounded", accelerator, settings=settings(precision="bfloat16"))
    wanted = run(exact, tmp_path / "exact", accelerator)
    assert rounded.curve[0].loss != wanted.curve[0].loss
    assert rounded.curve[0].loss == pytest.approx(wanted.curve[0].loss, rel=0.02)
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}


# --- a model that is held in bfloat16, as hub models are ----------------------------------------


@pytest.fixture(scope="module")
def in_bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, folder = loaded(), tmp_path_factory.mktemp("bfloat16")
    made.model.to(torch.bfloat16)
    loading.save(made, folder)
    return folder


def test_its_weights_move_at_fine_tuning_rates(in_bfloat16: Path, tmp_path: Path, accelerator: Any) -> None:
    made = loading.load(in_bfloat16, loop.WEIGHTS).model
    before = weights(made)
    run(made, tmp_path, accelerator, settings=settings(learning_rate=1e-5))

    def share(cast: torch.dtype) -> float:
        pairs = zip(before, weights(made), strict=True)
        changed = [one.to(cast) != other.to(cast) for one, other in pairs]
        return sum(int(each.sum()) for each in changed) / sum(each.numel() for each in changed)

    assert share(torch.float32) > 0.95  # all but the embeddings of tokens that no example has
    assert share(torch.bfloat16) < 0.2


def test_it_is_refused_where_it_was_not_loaded_in_float32(in_bfloat16: Path, tmp_path: Path, accelerator: Any) -> None:
    with pytest.raises(AssertionError, match="load the model in float32 to train it"):
        run(loading.load(in_bfloat16).model, tmp_path, accelerator)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_two_continuous_phases_of_it_end_in_the_bits_of_one(
    in_bfloat16: Path, tmp_path: Path, accelerator: Any, optimizer: str
) -> None:
    chosen = settings(optimizer=optimizer, learning_rate=1e-5)

    def phase(parent: Path, first: int, end: int, state: Any) -> Any:
        """Steps of the whole schedule; the checkpoint goes by the disk, as from one train step to the next."""
        made = loading.load(parent, loop.WEIGHTS)
        kept, schedule = saving(tmp_path / f"saves {first} {end}"), Schedule(first, 6)
        taken = {"steps": steps(6)[first:end], "settings": chosen, "schedule": schedule}
        _, state = trained(made.model, accelerator, kept, optimizer_state=state, **taken)
        loading.save(made, tmp_path / f"{first} {end}")
        return state

    phase(in_bfloat16, 0, 6, None)
    phase(tmp_path / "0 3", 3, 6, phase(in_bfloat16, 0, 3, None))
    assert weights_digest(tmp_path / "3 6") == weights_digest(tmp_path / "0 6")


# ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_model_learns_the_same_and_goes_on_to_the_same_bits(tmp_path: Path, accelerator: Any) -> None:
    compiled = settings(torch_compile=True)
    eager, whole, parted = (model("llama", VOCABULARY) for _ in range(3))
    run(eager, tmp_path / "eager", accelerator)
    run(whole, tmp_path / "whole", accelerator, settings=compiled)
    assert astray(whole, eager, model("llama", VOCABULARY)) < STRAY
    torch.compiler.reset()  # what another process would compile for itself
    with pytest.raises(KeyboardInterrupt):
        run(model("llama", VOCABULARY), tmp_path / "parted", accelerator, settings=compiled, on_step=interrupt_at(3))
    torch.compiler.reset()
    assert run(parted, tmp_path / "parted", accelerator, settings=compiled).resumed_at == 3
    assert equal(weights(parted), weights(whole))


@pytest.mark.parametrize("named", [True, False])
def test_torch_compile_compiles_each_layer_or_the_model_whose_layers_are_not_named(
    named: bool, tmp_path: Path, accelerator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compiled = model("llama", VOCABULARY), list[str]()
    made._no_split_modules = made._no_split_modules if named else None
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, **options: compiled.append(type(module).__name__)
    )  # what it makes of them is another test's
    run(made, tmp_path, accelerator, settings=settings(torch_compile=True))
    assert compiled == (["LlamaDecoderLayer"] * 2 if named else ["LlamaForCausalLM"])


def interrupt_at(step: int, number: int = signal.SIGTERM) -> Any:
    def on_step(report: loop.StepReport) -> None:
        if report.step == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_it_came_in_and_says_so(tmp_path: Path, accelerator: Any, number: int) -> None:
    with pytest.raises(KeyboardInterrupt, match="saved at step 3 of 6; rerun the same command"):
        run(model("llama", VOCABULARY), tmp_path, accelerator, on_step=interrupt_at(3, number))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_continuous_optimizer_goes_on_where_the_phase_before_ended(tmp_path: Path, accelerator: Any) -> None:
    whole, parts = model("llama", VOCABULARY), model("llama", VOCABULARY)
    constant = settings(schedule="constant")
    run(whole, tmp_path / "whole", accelerator, settings=constant)
    first, rest = ({"steps": part, "settings": constant} for part in (steps(6)[:4], steps(6)[4:]))
    _, state = trained(parts, accelerator, saving(tmp_path / "1"), **first)
    trained(parts, accelerator, saving(tmp_path / "2"), optimizer_state=state, **rest)
    assert equal(weights(parts), weights(whole))


def test_a_loss_that_is_not_finite_stops_training(tmp_path: Path, accelerator: Any) -> None:
    broken = model("llama", VOCABULARY)
    with torch.no_grad():
        next(broken.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan; a lower training\.learning_rate"):
        run(broken, tmp_path, accelerator)


@pytest.mark.parametrize("max_grad_norm", [1.0, None])
def test_a_gradient_that_is_not_finite_stops_training_before_it_reaches_the_weights(
    tmp_path: Path, accelerator: Any, max_grad_norm: float | None
) -> None:
    made = model("llama", VOCABULARY)
    next(made.parameters()).register_hook(lambda gradient: gradient * math.inf)
    before = weights(made)
    with pytest.raises(TrainingError, match=r"step 1: the norm of the gradient is (inf|nan); a lower"):
        run(made, tmp_path, accelerator, settings=settings(max_grad_norm=max_grad_norm))
    assert equal(weights(made), before)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, accelerator: Any) -> None:
    one, other = model("gemma", VOCABULARY), model("gemma", VOCABULARY)
    run(one, tmp_path / "1", accelerator)
    run(other, tmp_path / "2", accelerator)
    assert equal(weights(one), weights(other))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match="there is no CUDA device here"):
        set_up(Compute(device="cuda"))


def test_a_save_of_another_step_is_refused_with_what_differs(tmp_path: Path, accelerator: Any) -> None:
    def go(made: Any, **identity: str) -> None:
        kept = Saving(tmp_path, 2, 2, False, identity=identity)
        trained(made, accelerator, kept, seed=1)

    go(model("llama", VOCABULARY), **{"config.training.learning_rate": "0.01", "code": "9f"})
    for other in (model("llama", VOCABULARY), model("llama", VOCABULARY + 8), model("gpt2", VOCABULARY)):
        before = weights(other)
        with pytest.raises(
            TrainingError, match=r"saved by another step.*what differs: config\.training\.learning_rate"
        ):
            go(other, **{"config.training.learning_rate": "0.02", "code": "9f"})
        assert equal(weights(other), before)
