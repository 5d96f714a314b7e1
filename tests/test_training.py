import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from models import FAMILIES, model

from stagewise import training
from stagewise.config import Compute, Training
from stagewise.errors import ConfigError, TrainingError
from stagewise.formatting import Example
from stagewise.plan import Instance, Step

VOCABULARY = 40
ONE = training.Schedule(0, 6)


@pytest.fixture(scope="module")
def accelerator() -> Any:
    return training.set_up(Compute(device="cpu", threads=1))


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


def saving(folder: Path, every: int | None = None) -> training.Saving:
    return training.Saving(folder, every, keep=2, allow_inexact=False)


def weights(made: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in made.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradients(
    family: str, limit: int, accelerator: Any, loss_on: str = "completion"
) -> tuple[float, list[torch.Tensor]]:
    made = model(family, VOCABULARY)
    batches = training.micro_batches(list(examples(4).values()), limit)
    loss, _ = training.backward(made, batches, 0, loss_on, accelerator)
    return loss, [parameter.grad for parameter in made.parameters()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss_on", ["completion", "all"])
def test_the_loss_does_not_depend_on_how_a_step_is_cut(family: str, loss_on: str, accelerator: Any) -> None:
    alone, wanted = gradients(family, 1, accelerator, loss_on)  # every example by itself, nothing padded
    for limit in (24, 10_000):
        loss, found = gradients(family, limit, accelerator, loss_on)
        assert loss == pytest.approx(alone, abs=1e-5)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_mean_over_the_loss_tokens_of_the_step(family: str, accelerator: Any) -> None:
    made = model(family, VOCABULARY)
    total, count = 0.0, 0
    for example in examples(4).values():
        logits = made(input_ids=torch.tensor([example.ids])).logits[0]
        for position in range(example.prompt, len(example.ids)):
            total -= float(logits[position - 1].log_softmax(-1)[example.ids[position]].detach())
            count += 1
    loss, loss_tokens = training.backward(
        made, training.micro_batches(list(examples(4).values()), 100), 0, "completion", accelerator
    )
    assert loss_tokens == count
    assert loss == pytest.approx(total / count, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_example_does_not_change_anothers_loss(family: str, accelerator: Any) -> None:
    made = model(family, VOCABULARY)
    first, second, *_ = examples(4).values()
    changed = Example((*reversed(second.ids[:-1]), 1), second.prompt)

    def loss(*batch: Example) -> float:
        return float(training.summed_loss(made, batch, 0, "completion", accelerator).detach())

    assert loss(first, second) - loss(second) == pytest.approx(loss(first, changed) - loss(changed), abs=1e-4)


def test_micro_batches_hold_every_example_once_within_the_limit() -> None:
    given = list(examples(8).values())
    batches = training.micro_batches(given, 30)
    assert sorted(example.ids for batch in batches for example in batch) == sorted(example.ids for example in given)
    assert all(len(batch) == 1 or len(batch) * max(len(e.ids) for e in batch) <= 30 for batch in batches)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_then_falls(schedule: str, expected: list[float]) -> None:
    chosen = settings(schedule=schedule, warmup=1 / 3, learning_rate=1.0)
    assert [training.learning_rate(chosen, step, 6) for step in range(6)] == pytest.approx(expected, abs=1e-4)


def run(made: Any, folder: Path, accelerator: Any, count: int = 6, **options: Any) -> training.Outcome:
    chosen = options.pop("settings", settings())
    every = options.pop("every", None)
    outcome, _ = training.train(
        made, 0, examples(), steps(count), chosen, ONE, 3, accelerator, saving(folder, every), **options
    )
    return outcome


def test_training_lowers_the_loss_and_counts_what_went_through(tmp_path: Path, accelerator: Any) -> None:
    outcome = run(model("llama", VOCABULARY), tmp_path, accelerator)
    assert outcome.curve[-1].loss < outcome.curve[0].loss
    assert outcome.consumed == [instance for step in steps(6) for instance in step]
    lengths = {key: len(example.ids) for key, example in examples().items()}
    assert outcome.total("tokens") == sum(lengths[instance.example] for instance in outcome.consumed)
    assert outcome.total("examples") == 24


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_broken_run_goes_on_to_the_same_bits(tmp_path: Path, accelerator: Any, optimizer: str, family: str) -> None:
    chosen = settings(optimizer=optimizer)
    whole = model(family, VOCABULARY)
    expected = run(whole, tmp_path / "whole", accelerator, settings=chosen)

    class Killed(Exception):
        pass

    def kill(report: training.StepReport) -> None:
        if report.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(model(family, VOCABULARY), tmp_path / "broken", accelerator, settings=chosen, every=2, on_step=kill)
    resumed, told = model(family, VOCABULARY), list[int]()
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


def interrupt_at(step: int, number: int = signal.SIGTERM) -> Any:
    def on_step(report: training.StepReport) -> None:
        if report.step == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_it_came_in_and_says_so(tmp_path: Path, accelerator: Any, number: int) -> None:
    with pytest.raises(KeyboardInterrupt, match="saved at step 3 of 6; the same command goes on"):
        run(model("llama", VOCABULARY), tmp_path, accelerator, on_step=interrupt_at(3, number))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_continuous_optimizer_goes_on_where_the_phase_before_ended(tmp_path: Path, accelerator: Any) -> None:
    whole, parts = model("llama", VOCABULARY), model("llama", VOCABULARY)
    constant = settings(schedule="constant")
    run(whole, tmp_path / "whole", accelerator, settings=constant)
    _, state = training.train(parts, 0, examples(), steps(6)[:4], constant, ONE, 3, accelerator, saving(tmp_path / "1"))
    training.train(
        parts, 0, examples(), steps(6)[4:], constant, ONE, 3, accelerator, saving(tmp_path / "2"), optimizer_state=state
    )
    assert equal(weights(parts), weights(whole))


def test_a_loss_that_is_not_finite_stops_training(tmp_path: Path, accelerator: Any) -> None:
    broken = model("llama", VOCABULARY)
    with torch.no_grad():
        next(broken.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan; a lower training\.learning_rate"):
        run(broken, tmp_path, accelerator)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, accelerator: Any) -> None:
    one, other = model("gemma", VOCABULARY), model("gemma", VOCABULARY)
    run(one, tmp_path / "1", accelerator)
    run(other, tmp_path / "2", accelerator)
    assert equal(weights(one), weights(other))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match="there is no CUDA device here"):
        training.set_up(Compute(device="cuda"))
