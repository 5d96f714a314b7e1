"""One readable JSON file that tells a study from its hypothesis to the commands that check it.

    {"schema": "stagewise.provenance/1", "study": "quickstart", "manifest_sha256": "9b1e…",
     "hypothesis": {"statement": "…", "primary": {"arm": "curriculum", "against": "shuffled", …}, "verdict": "…"},
     "baseline": {…}, "source_dataset": {…}, "partitioning": {…}, "stages": [{"stage": "a", …}], "training": [{…}],
     "hyperparameters": {…}, "evaluation": {…}, "artifacts": {…}, "hardware": [{…}], "reproducibility": {…}}

Each statement is read from a record, whose run stands beside it; the file is the same however often it is written.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from stagewise.analysis.statistics import wilson
from stagewise.config import BASELINE
from stagewise.curriculum.confounds import in_words
from stagewise.export import Study, artifacts
from stagewise.hashing import digest_json
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed

SCHEMA = "stagewise.provenance/1"
FILE = "provenance.json"


def write(study: Study, out: Path) -> list[Path]:
    path = out / FILE
    path.write_text(json.dumps(document(study), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [path]


def document(study: Study) -> dict[str, Any]:
    config, pipeline = study.config, study.pipeline
    sections = ("model", "training", "arms", "seeds", "compute")
    return {
        "schema": SCHEMA,
        "study": study.name,
        "run_id": pipeline.run_id,
        "manifest_sha256": pipeline.digest,
        **pipeline.manifest.times.json_value(),
        "hypothesis": _hypothesis(study),
        "baseline": _baseline(study),
        "source_dataset": _source(study),
        "partitioning": _partitioning(study),
        "stages": _stages(study),
        "training": [_phase(study, name, record) for name, record in study.of_kind("train").items()],
        "hyperparameters": {section: config[section] for section in sections},
        "evaluation": _evaluation(study),
        "artifacts": {name: _files(record) for name, record in study.records.items()},
        "hardware": _grouped(study, _hardware),
        "reproducibility": _reproducibility(study),
    }


def _hypothesis(study: Study) -> dict[str, Any]:
    return {
        "statement": study.config["hypothesis"],
        "primary": study.config["primary"],
        "verdict": _comparison(study)["verdict"],
        "run_id": study.steps["report"].run_id,
    }


def _comparison(study: Study) -> dict[str, Any]:
    """The report's numbers, of which there are no others."""
    return dict(json.loads(study.steps["report"].artifact("comparison.json")))


def _shares(facts: TrainFacts) -> dict[str, Any]:
    return {name: each.json_value() for name, each in facts.shares.items()}


def _baseline(study: Study) -> dict[str, Any]:
    """What the primary arm is held against: the model that all start from, and the other arms."""
    trained = study.of_kind("train")
    facts = {name: each.facts(TrainFacts) for name, each in trained.items()}
    final = {name: each for name, each in facts.items() if each.phase == each.phases > 0}
    arms = {each.arm: each for each in final.values()}
    return {
        "base_models": [
            {
                "checkpoint": name,
                "model": study.config["model"],
                "files": facts[name].model_source,
                "parameters": facts[name].parameters,
                **_weights(each),
                "run_id": each.run_id,
            }
            for name, each in trained.items()
            if facts[name].phase == 0
        ],
        "arms": {
            arm: {
                "differs": in_words(arm, found.separations, found.against or BASELINE, _shares(found)),
                "final_checkpoints": [name for name, each in final.items() if each.arm == arm],
            }
            for arm, found in arms.items()
            if arm != study.config["primary"]["arm"]
        },
    }


def _weights(record: Sealed) -> dict[str, Any]:
    return {"model_uri": f"models:/{record.model.model_id}", "weights_sha256": record.model.weights_sha256}


def _statistics(study: Study) -> dict[str, Any]:
    return dict(json.loads(study.steps["split"].artifact("split_stats.json")))


def _source(study: Study) -> dict[str, Any]:
    return {
        **_statistics(study)["source"],
        "read_from": study.config["data"]["train"],
        "run_id": study.steps["split"].run_id,
    }


def _partitioning(study: Study) -> dict[str, Any]:
    split, found = study.steps["split"], _statistics(study)
    return {
        "strategy": "quantiles" if study.config["split"]["quantiles"] else "rules",
        "in_words": split.artifact("split_criteria.md").decode(),
        "quantiles": study.config["split"]["quantiles"],
        "unmatched": study.config["split"]["unmatched"],
        "duplicates": study.config["data"]["duplicates"],
        "leakage": study.config["data"]["leakage"],
        "prompts_in_the_eval_set": len(found["overlap"]),
        "thresholds": found["thresholds"],
        "run_id": split.run_id,
    }


def _stages(study: Study) -> list[dict[str, Any]]:
    counted = _statistics(study)["stages"]
    return [
        {
            "stage": stage["name"],
            "dataset": f"stages/{stage['name']}.jsonl",
            **counted[stage["name"]],
            "epochs": stage["epochs"],
            "rules": stage["rules"],
            "run_id": study.steps["split"].run_id,
        }
        for stage in study.config["split"]["stages"]
    ]


def _phase(study: Study, name: str, record: Sealed) -> dict[str, Any]:
    """One phase of one arm: what it started from, what went through it, and what came out."""
    manifest, facts = record.manifest, record.facts(TrainFacts)
    parent = manifest.inputs.runs.get("parent")
    started, ended = map(datetime.fromisoformat, (manifest.times.started, manifest.times.ended))
    names = {each.run_id: key for key, each in study.of_kind("train").items()}
    curve = json.loads(record.artifact("curve.json"))
    return {
        "checkpoint": name,
        **facts.model_dump(include={"arm", "phase", "seed"}),
        "init_from": parent and names[parent["run_id"]],
        "datasets": {key: each["sha256"] for key, each in manifest.inputs.datasets.items()},
        **facts.counted,
        "order_sha256": facts.order_sha256,
        "multiset_sha256": facts.multiset_sha256,
        "loss_last": curve[-1]["loss"] if curve else None,
        "seconds": (ended - started).total_seconds(),
        **_weights(record),
        "run_id": record.run_id,
    }


def _evaluation(study: Study) -> dict[str, Any]:
    facts = study.steps["split"].facts(SplitFacts).eval
    return {
        "dataset": {**facts, "read_from": study.config["data"]["eval"]},
        "settings": study.config["evaluation"],
        "checkpoints": [
            _evaluated(each, study.steps[f"eval {each['name']}"]) for each in _comparison(study)["checkpoints"]
        ],
    }


def _evaluated(compared: dict[str, Any], record: Sealed) -> dict[str, Any]:
    interval = wilson(compared["right"], compared["scored"]) if compared["scored"] else None
    return {
        "checkpoint": compared["name"],
        **{key: compared[key] for key in ("items", "scored", "right")},
        "flexible_95": interval and [round(interval.low, 6), round(interval.high, 6)],
        "metrics": record.manifest.recorded.metrics,
        "predictions": record.manifest.outputs.artifacts["predictions.jsonl"],
        "run_id": record.run_id,
    }


def _files(record: Sealed) -> dict[str, Any]:
    found: dict[str, Any] = {"run_id": record.run_id, "files": artifacts(record)}
    model = record.manifest.outputs.model
    return found | ({"model": {**_weights(record), "files": model.files}} if model else {})


def _hardware(record: Sealed) -> dict[str, Any]:
    environment, machine = record.manifest.environment, record.manifest.machine
    return {"platform": environment.platform, "cores": environment.cores, **machine}


def _software(record: Sealed) -> dict[str, Any]:
    environment = record.manifest.environment
    return {"python": environment.python, "packages": environment.packages}


def _code(record: Sealed) -> dict[str, Any]:
    return record.manifest.code.json_value()


def _grouped(study: Study, told: Callable[[Sealed], dict[str, Any]]) -> list[dict[str, Any]]:
    """What the runs tell, each different thing once and with the runs that tell it: steps may run on many machines."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name, record in study.records.items():
        groups.setdefault(digest_json(told(record)), (told(record), []))[1].append(name)
    return [{**each, "runs": names} for each, names in groups.values()]


def _reproducibility(study: Study) -> dict[str, Any]:
    run_id, digest = study.pipeline.run_id, study.pipeline.digest
    return {
        "verify": f"stagewise verify --run-id {run_id} --expect {digest}",
        "reproduce": f"stagewise reproduce --run-id {run_id}",
        "seeds": study.config["seeds"],
        "config": study.pipeline.artifact("config/asked.yaml").decode(),
        "code": _grouped(study, _code),
        "software": _grouped(study, _software),
        "manifests": {name: record.digest for name, record in study.records.items()},
    }
