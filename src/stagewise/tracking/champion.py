"""The alias of the best model: read, moved, and moved only by one.

The registry has no compare-and-swap. So promotions of one machine take turns by a lock file; for those of
others the alias is read again right before and after it is written, and who finds another's version there
has lost and says so. What was done stands in tags of the versions: `stagewise.analysis.gate.<time>`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from stagewise.errors import PromotionError
from stagewise.hashing import canonical_json
from stagewise.tracking.store import ABSENT

HISTORY = "stagewise.analysis.gate"


def holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that the alias points to; None where there is no such alias, or no such model."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def version_of(client: MlflowClient, name: str, model_id: str) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}'")
    return next((version for version in versions if version.source == f"models:/{model_id}"), None)


def move(
    client: MlflowClient,
    lock: Path,
    alias: str,
    version: ModelVersion,
    before: ModelVersion | None,
    why: Mapping[str, Any],
) -> None:
    """Gives the alias to `version`, if `before` has it still. Raises `PromotionError` where another promotion was
    first, or came right after and has the alias now; then no history is written."""
    name = version.name
    with FileLock(lock):
        _expect(client, name, alias, before)
        client.set_registered_model_alias(name, alias, version.version)
        _expect(client, name, alias, version)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    told = {"alias": alias, "before": before and str(before.version), **why}
    client.set_model_version_tag(name, version.version, f"{HISTORY}.{now}", _json({"event": "promoted", **told}))
    if before is not None:
        replaced = {"event": "replaced", "alias": alias, "by": str(version.version)}
        client.set_model_version_tag(name, before.version, f"{HISTORY}.{now}", _json(replaced))


def _expect(client: MlflowClient, name: str, alias: str, expected: ModelVersion | None) -> None:
    found = holder(client, name, alias)
    if _named(found) != _named(expected):
        raise PromotionError(
            f"models:/{name}@{alias}: another promotion came at the same time: found {_named(found)}, expected "
            f"{_named(expected)}; look at what it promoted, and promote again if you still want to"
        )


def _named(version: ModelVersion | None) -> str:
    return f"version {version.version}" if version else "no version"


def _json(value: Mapping[str, Any]) -> str:
    return canonical_json(value).decode()
