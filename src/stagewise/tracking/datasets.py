"""Datasets as inputs of runs, named by the sha256 of their bytes.

MLflow's own dataset digests are no content hashes. Ours is the first 36 digits of the sha256, as many
as MLflow takes, and the input's tags hold all 64.
"""

from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from stagewise.errors import TrackingError
from stagewise.record.frozen import DatasetInput as Entry

DIGEST_LENGTH = 36


class DatasetRef(NamedTuple):
    name: str
    sha256: str
    size: int  # in bytes
    rows: int
    context: str  # "training" or "eval"
    source: str  # where it comes from, in words or as a URI

    @property
    def digest(self) -> str:
        return self.sha256[:DIGEST_LENGTH]

    @property
    def entry(self) -> Entry:
        """How a manifest names it."""
        return {
            "sha256": self.sha256,
            "size": self.size,
            "rows": self.rows,
            "context": self.context,
            "source": self.source,
        }


def log_datasets(client: MlflowClient, run_id: str, datasets: list[DatasetRef]) -> None:
    """Logs the datasets as inputs of a run; MLflow drops equal (name, digest) quietly, so they are counted."""
    client.log_inputs(run_id, [_input(dataset) for dataset in datasets])
    inputs = client.get_run(run_id).inputs
    logged = {(entry.dataset.name, entry.dataset.digest) for entry in inputs.dataset_inputs} if inputs else set()
    missing = [dataset.name for dataset in datasets if (dataset.name, dataset.digest) not in logged]
    if missing:
        raise TrackingError(f"run {run_id}: dataset inputs were not recorded: {', '.join(missing)}")


def _input(dataset: DatasetRef) -> DatasetInput:
    source = CodeDatasetSource(tags={"stagewise.source": dataset.source})
    meta = MetaDataset(source, name=dataset.name, digest=dataset.digest)  # type: ignore[abstract]  # MLflow's own gap
    tags = {"sha256": dataset.sha256, "rows": str(dataset.rows), MLFLOW_DATASET_CONTEXT: dataset.context}
    return DatasetInput(meta._to_mlflow_entity(), [InputTag(key, value) for key, value in tags.items()])
