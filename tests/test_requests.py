"""What the tiny study asks of a tracking server: how often, and by which names."""

import mimetypes
from collections import Counter
from typing import Any

import pytest
from helpers.proxy import Proxy

from stagewise import pipeline
from stagewise.steps.common import ARCHIVE

STEPS = 12  # split, base, four phases of two arms, an eval of each checkpoint, report
# Requests of a step on average, half of them for files; each hashes a password where there is basic-auth. Counted were
# 964 in all, and 199 where every step is reused.
EACH, REUSED = 85, 18


@pytest.mark.slow
def test_a_study_asks_its_server_a_bounded_number_of_times(proxy: Proxy, write_config: Any) -> None:
    config = write_config(study="counted", arms=["curriculum", "flat"])
    pipeline.run(config)
    first = Counter(f"{method} {path.partition('mlflow-artifacts')[1] or path}" for method, path in proxy.seen)
    assert sum(first.values()) <= STEPS * EACH, first.most_common()
    proxy.seen.clear()
    pipeline.run(config)
    assert len(proxy.seen) <= STEPS * REUSED, Counter(proxy.seen).most_common(20)


def test_a_file_is_read_with_one_request(proxy: Proxy, write_config: Any) -> None:
    from helpers.studies import base

    stages, trained = base(write_config(study="read"))
    proxy.seen.clear()
    assert stages.artifact("rows.json")
    assert trained.artifact("order.npy")
    assert [method for method, path in proxy.seen if "server-info" not in path] == ["GET", "GET"]


def test_no_file_has_a_name_for_which_stores_would_encode_it(finished: Any) -> None:
    """MLflow stores `x.gz` on S3 with Content-Encoding: gzip, and its client decodes what it reads back."""
    client, names = finished.client, {ARCHIVE}
    for run in client.search_runs([finished.experiment_id]):
        names |= files(lambda path, run=run: client.list_artifacts(run.info.run_id, path))
    for model in client.search_logged_models([finished.experiment_id]):
        names |= files(lambda path, model=model: client.list_logged_model_artifacts(model.model_id, path))
    assert len(names) > 30
    assert {name for name in names if mimetypes.guess_type(name)[1] is not None} == set()


def files(listing: Any, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for entry in listing(path):
        found |= files(listing, entry.path) if entry.is_dir else {entry.path}
    return found
