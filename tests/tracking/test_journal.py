import time
from typing import Any

import pytest

from stagewise.errors import TrackingError
from stagewise.tracking import calls, journal
from stagewise.tracking.journal import Journal


class Client:
    """Takes batches; fails from the given one on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.batches: list[int] = []
        self.fails_at = fails_at

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        if self.fails_at == len(self.batches):
            raise ValueError("the server is strange")
        self.batches.append(len(metrics))


class Run:
    def __init__(self, client: Client) -> None:
        self.client, self.id = client, "run"


def test_every_point_is_sent_in_few_requests() -> None:
    client = Client()
    with Journal(Run(client)) as kept:  # type: ignore[arg-type]
        for step in range(2500):
            kept.add(step, {"loss": 1.0, "rate": 2.0})
    assert sum(client.batches) == 5000
    assert max(client.batches) <= journal.BATCH
    assert len(client.batches) < 50


def test_a_server_that_fails_fails_the_step() -> None:
    with pytest.raises(ValueError, match="strange"), Journal(Run(Client(fails_at=0))) as kept:  # type: ignore[arg-type]
        kept.add(1, {"loss": 1.0})


def test_a_server_that_is_gone_is_said_while_training_goes_on_and_fails_the_step_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    class Gone:
        def log_batch(self, run_id: str, metrics: list[Any]) -> None:
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setenv("STAGEWISE_SERVER_PATIENCE", "0.5")
    monkeypatch.setattr(journal, "PAUSE", 0.01)
    calls.forget()

    def train() -> None:
        with Journal(Run(Gone())) as kept:  # type: ignore[arg-type]
            for step in range(1000):
                kept.add(step, {"loss": 1.0})
                steps.append(step)
                time.sleep(0.02)

    steps: list[int] = []
    with pytest.raises(TrackingError, match=r"has not answered since .*connection refused"):
        train()
    calls.forget()
    assert 10 < len(steps) < 1000
    assert capfd.readouterr().err.count("(training goes on)") == 1


def test_the_bodys_own_error_comes_first() -> None:
    def body() -> None:
        with Journal(Run(Client(fails_at=0))) as kept:  # type: ignore[arg-type]
            kept.add(1, {"loss": 1.0})
            raise KeyError

    with pytest.raises(KeyError):
        body()
