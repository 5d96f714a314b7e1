"""The only place that imports mlflow: server, runs, datasets, models, registry."""

import os

# MLflow reads these when it is imported or used: nothing is cut quietly, no pickle is loaded, no usage
# is reported, and no bar is drawn for each artifact.
os.environ.setdefault("MLFLOW_TRUNCATE_LONG_VALUES", "false")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
