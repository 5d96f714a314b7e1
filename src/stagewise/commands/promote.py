"""Promotion: a checkpoint's version gets the alias `champion`, if its record is whole and the gate holds.

    promote("5f0c…", None, dry_run=False)
    ✓ models:/quickstart@champion is version 2 (flat-1-s42), version 1 before: flexible 78.8% against …

It writes an alias and tags of versions, and nothing into the sealed record.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from stagewise import progress
from stagewise.analysis.gate import decide
from stagewise.commands.verify import check
from stagewise.config import Config, parse
from stagewise.config import read as read_config
from stagewise.curriculum.targets import Target
from stagewise.errors import PromotionError
from stagewise.evaluation import predictions
from stagewise.steps.common import ASKED
from stagewise.tracking import champion, store
from stagewise.tracking.lineage import record_of
from stagewise.tracking.records import Record, evaluations, read
from stagewise.tracking.runs import Launched, launched_run
from stagewise.verification.findings import Verdict

Verify = Callable[[str], Verdict]
"""run id or registered version → whether that record, and all that it was made from, is whole."""


def promote(
    run_id: str,
    config_path: Path | None,
    dry_run: bool,
    verify: Verify = check,
    launched: Launched | None = None,
    trust_code: bool = False,
) -> None:
    """Promotes the checkpoint of a train or an eval run. The gate is that of `config_path`, else of the record.

    Raises `PromotionError`, with nothing changed, where the record is broken, the gate does not hold, or
    another promotion was first.
    """
    client = store.connect()
    verify = partial(check, trust_code=True) if trust_code else verify
    with launched_run(client, launched, "promote", f"promote {run_id[:8]}"):
        evaluated = _evaluation(client, run_id)
        trained = read(client, evaluated.manifest.inputs.runs["train"]["run_id"], "train")
        _promote(client, evaluated, trained, _config(evaluated, config_path), dry_run, verify)


def _promote(
    client: store.Client, evaluated: Record, trained: Record, config: Config, dry_run: bool, verify: Verify
) -> None:
    gate, name, checkpoint = config.promotion, config.study, Target.of(trained).checkpoint
    version = champion.version_of(client, name, trained.model.model_id)
    if version is None:
        raise PromotionError(
            f"run {trained.run_id}: its checkpoint {checkpoint} is no version of the registered model {name}; a study "
            "registers the final checkpoint of each arm when it ends"
        )
    before = champion.holder(client, name, gate.alias)
    if before is not None and before.version == version.version:
        progress.say(f"= models:/{name}@{gate.alias} is version {version.version} ({checkpoint}) already")
        return
    _check(verify, f"{checkpoint}: not promoted, its record", evaluated.run_id, f"models:/{name}/{version.version}")
    present = None if before is None else _champions(client, before, evaluated)
    if present is not None:
        _check(verify, f"{checkpoint}: not promoted, the present champion's record", present.run_id)
    decision = decide(_rows(evaluated), None if present is None else _rows(present), gate)
    if not decision.holds:
        raise PromotionError(f"{checkpoint}: not promoted, the gate does not hold: {decision.reason}")
    change = f"models:/{name}@{gate.alias} {{}} version {version.version} ({checkpoint})"
    change += f", version {before.version} before" if before else ""
    if dry_run:
        progress.say(f"· {change.format('would be')}: {decision.reason}")
        return
    why = {
        "eval_run": evaluated.run_id,
        "manifest_sha256": evaluated.digest,
        "against_eval_run": present and present.run_id,
        "metric": gate.metric,
        "margin": gate.margin,
        "min": gate.min,
        "difference": decision.difference,
        "low": decision.low,
    }
    champion.move(client, store.home() / "registry.lock", gate.alias, version, before, why)
    progress.say(f"✓ {change.format('is')}: {decision.reason}")


def _check(verify: Verify, whose: str, *targets: str) -> None:
    for target in targets:
        verdict = verify(target)
        if not verdict.whole:
            raise PromotionError(
                f"{whose} is not whole: {verdict.in_words()}; `stagewise verify --run-id {target}` shows all"
            )


def _config(evaluated: Record, path: Path | None) -> Config:
    if path is None:
        return parse(evaluated.artifact(ASKED).decode(), ASKED)
    return parse(read_config(path.expanduser()), str(path))


def _evaluation(client: store.Client, run_id: str) -> Record:
    """The eval run itself, or the only one of a train run."""
    record = record_of(client, run_id)
    if record.manifest.kind == "eval":
        return record
    if record.manifest.kind != "train":
        raise PromotionError(f"run {run_id}: found a {record.manifest.kind} run, expected an eval or a train run")
    found = evaluations(client, record)
    if len(found) != 1:
        ids = ", ".join(record.run_id for record in found) or "none"
        raise PromotionError(f"run {run_id}: its checkpoint has {len(found)} eval runs ({ids}); give the id of one")
    return found[0]


def _champions(client: store.Client, version: Any, evaluated: Record) -> Record:
    """The present champion's eval run on the same items, asked in the same way."""
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    trained = read(client, str(model.source_run_id), "train")
    same = [record for record in evaluations(client, trained) if _asked(record) == _asked(evaluated)]
    if not same:
        raise PromotionError(
            f"the present champion, version {version.version}, has no eval run on the same items with the same "
            f"settings; evaluate it so: -e eval with the same config, -P train_run={trained.run_id}"
        )
    return same[0]  # equal settings and weights: equal answers


def _asked(evaluated: Record) -> tuple[Any, ...]:
    part = evaluated.manifest.config.part
    return evaluated.manifest.inputs.datasets["eval"]["sha256"], part["evaluation"], part["template"]


def _rows(evaluated: Record) -> list[dict[str, Any]]:
    return predictions.decode(evaluated.artifact(predictions.FILE))
