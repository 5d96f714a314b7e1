from typing import Any

import pytest

from stagewise.tracking import journal
from stagewise.tracking.journal import Journal


class Client:
    """Takes batches; fails from the given one on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.batches: list[int] = []
        self.fails_at = fails_at

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        if self.fails_at == len(self.batches):
            raise ConnectionError("the server is gone")
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
    with pytest.raises(ConnectionError, match="gone"), Journal(Run(Client(fails_at=0))) as kept:  # type: ignore[arg-type]
        kept.add(1, {"loss": 1.0})


def test_the_bodys_own_error_comes_first() -> None:
    def body() -> None:
        with Journal(Run(Client(fails_at=0))) as kept:  # type: ignore[arg-type]
            kept.add(1, {"loss": 1.0})
            raise KeyError

    with pytest.raises(KeyError):
        body()
