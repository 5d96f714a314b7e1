from pathlib import Path
from typing import Any

from tracking.test_runs import finished

from stagewise.tracking import leftovers
from stagewise.tracking.store import connect, experiment


def test_only_a_run_of_the_same_experiment_is_superseded(store: Any, tmp_path: Path) -> None:
    client = connect()
    study, other = experiment(client, "study"), experiment(client, "other")
    _, again, _ = (finished(client, where, tmp_path / "out") for where in (study, study, other))
    assert [found.run.info.run_id for found in leftovers.find(client)] == [again]
