"""A record in memory that verify reads, for tests that alter it as somebody would who may write everywhere: whatever is
changed is sealed again, up to the root and in the registry.

    forged = Forger(runs_by_name, bundle_folder)
    forged.tag("train c1", "stagewise.arm", "flat")
    forged.put("eval c1", "predictions.jsonl", data)
    forged.seal()
    verdict = verify(forged, …)
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conftest import TINY

from stagewise.analysis.gate import decide
from stagewise.commands.derivation import Rules
from stagewise.commands.derivation.expected import config_of
from stagewise.commands.verify import Silent
from stagewise.config import Evaluation, Promotion, parse, resolved
from stagewise.curriculum.targets import Target
from stagewise.evaluation import predictions
from stagewise.hashing import canonical_json, digest_json, sha256
from stagewise.record.code import deciding, identity
from stagewise.record.facts import Registered
from stagewise.record.manifest import FILE, Manifest, Sealed
from stagewise.report import figures
from stagewise.steps import determinants, evaluate, report, split, study
from stagewise.steps.common import ASKED, described
from stagewise.tracking.runs import FINGERPRINT, NOTE, SEAL
from stagewise.verification.bundle import Bundle
from stagewise.verification.files import Known
from stagewise.verification.findings import Verdict
from stagewise.verification.names import Named
from stagewise.verification.views import Absent, DatasetView, ModelView, Owner, RunView, VersionView
from stagewise.verification.walk import verify

MODEL_SEAL = "stagewise.manifest_sha256"


class Record:
    """Bundles, read once: what forgers start from."""

    def __init__(self, runs: Mapping[str, str], *folders: Path) -> None:
        self.runs = dict(runs)
        self.views: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.paths: dict[tuple[Owner, str], Path] = {}
        self.versions: dict[tuple[str, str], dict[str, Any]] = {}
        self.pointed: dict[str, dict[str, str]] = {}
        for bundle in map(Bundle, folders):
            self._read(bundle)

    def _read(self, bundle: Bundle) -> None:
        owners = set()
        for path in bundle.sizes:
            kind, *rest = path.split("/")
            if kind in ("runs", "models") and len(rest) > 2:
                owners.add(owner := Owner(kind, rest[0]))
                self.paths[owner, "/".join(rest[2:])] = bundle.folder / path
        for owner in owners:
            if owner.kind == "runs":
                self.views[owner.id] = asdict(bundle.run(owner.id))
                self.manifests[owner.id] = json.loads(self.paths[owner, FILE].read_bytes())
            else:
                told = asdict(bundle.model(owner.id))
                told["metrics"] |= self.models.get(owner.id, {}).get("metrics", {})
                self.models[owner.id] = told
        self.versions |= {(each.name, each.version): asdict(each) for each in bundle.versions}
        self.pointed |= deepcopy(bundle.pointed)


class Forger:
    """A `verification.views.Source` of a record of its own."""

    weights, where = True, "memory"

    def __init__(self, record: Record) -> None:
        self.names = dict(record.runs)
        self.views, self.models = deepcopy(record.views), deepcopy(record.models)
        self.manifests, self.versions = deepcopy(record.manifests), deepcopy(record.versions)
        self.pointed, self.paths = deepcopy(record.pointed), dict(record.paths)
        self.data: dict[tuple[Owner, str], bytes] = {}
        self.before = {run_id: digest_json(manifest) for run_id, manifest in self.manifests.items()}

    # --- what verify asks -----------------------------------------------------------------------

    def run(self, run_id: str) -> RunView:
        if run_id not in self.views:
            raise Absent(run_id)
        view = dict(self.views[run_id])
        return RunView(**view | {"datasets": [DatasetView(*each) for each in view["datasets"]]})

    def model(self, model_id: str) -> ModelView:
        if model_id not in self.models:
            raise Absent(model_id)
        return ModelView(**self.models[model_id])

    def version(self, name: str, version: str) -> VersionView:
        if (name, version) not in self.versions:
            raise Absent(version)
        return VersionView(**self.versions[name, version])

    def aliases(self, name: str) -> Mapping[str, str]:
        return self.pointed.get(name, {})

    def files(self, owner: Owner) -> dict[str, int]:
        found = {path for each, path in (*self.paths, *self.data) if each == owner}
        if not found:
            raise Absent(owner.id)
        return {path: len(self.content(owner, path)) for path in found}

    @contextmanager
    def fetch(self, owner: Owner, path: str) -> Iterator[Path]:
        inside = [each for of, each in {**self.paths, **self.data} if of == owner and each.startswith(f"{path}/")]
        altered = [each for each in (path, *inside) if (owner, each) in self.data]
        if (owner, path) not in self.paths and not altered and not inside:
            raise Absent(path)
        if not altered:
            yield self.paths.get((owner, path)) or self.paths[owner, inside[0]].parent
            return
        with tempfile.TemporaryDirectory() as folder:
            for each in inside or [path]:
                (Path(folder) / each).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / each).write_bytes(self.content(owner, each))
            yield Path(folder) / path

    def content(self, owner: Owner, path: str) -> bytes:
        return self.data[owner, path] if (owner, path) in self.data else self.paths[owner, path].read_bytes()

    # --- what a forger alters -------------------------------------------------------------------

    def manifest(self, run: str) -> dict[str, Any]:
        return self.manifests[self.names[run]]

    def artifact(self, run: str, path: str) -> bytes:
        return self.content(Owner("runs", self.names[run]), path)

    def put(self, run: str, path: str, data: bytes | None) -> None:
        """An artifact as it stands and as the manifest names it; None takes it away."""
        owner, artifacts = Owner("runs", self.names[run]), self.manifest(run)["outputs"]["artifacts"]
        if data is None:
            self.data.pop((owner, path), None)
            self.paths.pop((owner, path), None)
            artifacts.pop(path)
            return
        self.data[owner, path] = data
        artifacts[path] = {"sha256": sha256(data), "size": len(data)}

    def edit(self, run: str, path: str, change: Callable[[Any], Any]) -> None:
        """A JSON artifact, by a function that changes the value or returns another."""
        value = json.loads(self.artifact(run, path))
        changed = change(value)
        indent = None if path == "curve.json" else 1
        self.put(
            run, path, json.dumps(value if changed is None else changed, indent=indent, ensure_ascii=False).encode()
        )

    def model_id(self, run: str) -> str:
        return str(self.manifest(run)["outputs"]["model"]["model_id"])

    def model_file(self, run: str, path: str) -> bytes:
        return self.content(Owner("models", self.model_id(run)), path)

    def put_model(self, run: str, path: str, data: bytes) -> None:
        self.data[Owner("models", self.model_id(run)), path] = data
        self.manifest(run)["outputs"]["model"]["files"][path] = {"sha256": sha256(data), "size": len(data)}

    def tag(self, run: str, name: str, value: str) -> None:
        self.views[self.names[run]]["tags"][name] = value
        self.manifest(run)["recorded"]["tags"][name] = value

    def param(self, run: str, name: str, value: str) -> None:
        self.views[self.names[run]]["params"][name] = value
        self.manifest(run)["recorded"]["params"][name] = value

    def metric(self, run: str, name: str, value: float) -> None:
        view = self.views[self.names[run]]
        view["metrics"][name], view["latest"][name] = [(0, value)], value
        self.manifest(run)["recorded"]["metrics"][name] = value
        for model in self.models.values():
            if name in model["metrics"].get(self.names[run], {}):
                model["metrics"][self.names[run]][name] = value

    def model_note(self, run: str, text: str) -> None:
        self.manifest(run)["outputs"]["model"]["tags"][NOTE] = text
        self.models[self.model_id(run)]["tags"][NOTE] = text

    def curve(self, run: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Each step of a train run's curve, and the metrics that follow from it."""
        points = json.loads(self.artifact(run, "curve.json"))
        for point in points:
            change(point)
        self.put(run, "curve.json", json.dumps(points).encode())
        view = self.views[self.names[run]]
        for name, value in self._curves(run).items():
            view["metrics"][name] = value
            view["latest"][name] = value[-1][1]

    def _curves(self, run: str) -> dict[str, list[tuple[int, float]]]:
        return {name: list(points) for name, points in Rules().curves(self.sealed(self.names[run])).items()}

    def sealed(self, run_id: str) -> Sealed:
        manifest = self.manifests[run_id]
        owner = Owner("runs", run_id)
        digest = digest_json(manifest)
        return Sealed(
            run_id,
            self.views[run_id]["experiment_id"],
            Manifest.model_validate(manifest),
            digest,
            lambda path: self.content(owner, path),
        )

    def named(self, *runs: str) -> list[Sealed]:
        return [self.sealed(self.names[run]) for run in runs]

    # --- and corrects ---------------------------------------------------------------------------

    def seal(self, fingerprints: bool = True) -> None:
        """Corrects all that names what was changed: fingerprints, digests of manifests up to the root, tags of runs,
        models and versions."""
        done: set[str] = set()
        while len(done) < len(self.manifests):
            for run_id, manifest in self.manifests.items():
                below = manifest["inputs"]["runs"].values()
                if run_id not in done and all(each["run_id"] in done for each in below):
                    self._seal(run_id, fingerprints)
                    done.add(run_id)

    def _seal(self, run_id: str, fingerprints: bool) -> None:
        manifest = self.manifests[run_id]
        for reference in manifest["inputs"]["runs"].values():
            reference["manifest_sha256"] = digest_json(self.manifests[reference["run_id"]])
        if digest_json(manifest) == self.before[run_id]:
            return
        if fingerprints and manifest["fingerprint"]:
            manifest["fingerprint"] = self._fingerprint(manifest)
            for tags in (manifest["recorded"]["tags"], self.views[run_id]["tags"]):
                tags[FINGERPRINT] = manifest["fingerprint"]
        data = canonical_json(manifest)
        self.data[Owner("runs", run_id), FILE] = data
        self.views[run_id]["tags"][SEAL] = sha256(data)
        if model := manifest["outputs"]["model"]:
            self.models[model["model_id"]]["tags"][MODEL_SEAL] = sha256(data)
            for version in self.versions.values():
                if version["source"] == f"models:/{model['model_id']}":
                    version["tags"]["manifest_sha256"] = sha256(data)

    def _fingerprint(self, manifest: Mapping[str, Any]) -> str:
        kind, there, runs = manifest["kind"], manifest["environment"], manifest["inputs"]["runs"]
        made = {role: self.sealed(each["run_id"]) for role, each in runs.items()}
        if kind == "split":
            inputs: Any = split.inputs_of(manifest["facts"]["source"]["sha256"], manifest["facts"]["eval"]["sha256"])
        elif kind == "train":
            inputs = determinants.inputs_of(made.get("parent"), manifest["facts"].get("model_source"))
        elif kind == "eval":
            settings = Evaluation.model_validate(manifest["config"]["part"]["evaluation"])
            inputs = evaluate.inputs_of(made["split"], made["train"], settings)
        else:
            evaluated = [each for role, each in made.items() if role != "split"]
            trained = [self.sealed(each.manifest.inputs.runs["train"]["run_id"]) for each in evaluated]
            inputs = report.inputs_of([made["split"], *trained, *evaluated])
        part, machine, code = manifest["config"]["part"], manifest["machine"], manifest["code"]["step_sha256"]
        return digest_json(
            identity(kind, part, inputs, machine, code, deciding(kind, there["packages"]), there["python"])
        )

    def config(self, run: str, before: str, after: str) -> None:
        """Another value in the run's config, as it was asked for and as it was resolved."""
        text = self.artifact(run, ASKED).decode()
        assert before in text, text
        self.put(run, ASKED, text.replace(before, after, 1).encode())
        config = parse(text.replace(before, after, 1), ASKED)
        self.put(run, "config/resolved.json", json.dumps(resolved(config), indent=1, ensure_ascii=False).encode())
        self.manifest(run)["config"]["file_sha256"] = sha256(self.artifact(run, ASKED))

    def splice(self, **runs: str) -> None:
        """Other runs in the place of a study's, `splice(eval_flat_1_s1="lr eval")`: of the report and of the pipeline
        all that follows is made again."""
        pipe = self.manifest("pipeline")
        config, steps = config_of(self.sealed(self.names["pipeline"])), deepcopy(pipe["facts"]["steps"])
        for what, run in runs.items():
            kind, _, checkpoint = what.partition("_")
            role = f"{kind} {checkpoint.replace('_', '-')}"
            steps[kind][steps[kind].index(pipe["inputs"]["runs"][role]["run_id"])] = self.names[run]
        self.remake(config, steps)

    def remake(self, config: Any, steps: Mapping[str, Any]) -> None:
        self._report(config, steps)
        self._pipeline(config, steps)

    def _report(self, config: Any, steps: Mapping[str, Any]) -> None:
        trained, evaluated = ([self.sealed(run_id) for run_id in steps[kind]] for kind in ("train", "eval"))
        made, manifest = self.sealed(self.names["report"]), self.manifest("report")
        checkpoints = report.read_checkpoints(trained, evaluated)
        compared = report.compare(config, checkpoints)
        drawn = {name: (caption, made.artifact(name)) for name, caption in figures.captions(compared).items()}
        parts = self.sealed(steps["split"]), trained, evaluated
        for name, data in report.written(
            config, compared, checkpoints, *parts, manifest["facts"]["server"], drawn
        ).items():
            self.put("report", name, data)
        for each in evaluated:
            name = f"eval {each.manifest.facts['arm']}-{each.manifest.facts['phase']}-s{each.manifest.facts['seed']}"
            manifest["inputs"]["runs"][name] = each.reference
        self._describe("report", report.describe(compared, "report.html"))

    def _describe(self, run: str, what: str) -> None:
        manifest = self.manifest(run)
        runs = {role: self.sealed(each["run_id"]) for role, each in manifest["inputs"]["runs"].items()}
        parent = manifest["recorded"]["tags"].get("mlflow.parentRunId")
        self.tag(run, NOTE, described(what, manifest["experiment_id"], parent, runs))

    def _pipeline(self, config: Any, steps: Mapping[str, Any]) -> None:
        manifest, facts = self.manifest("pipeline"), self.manifest("pipeline")["facts"]
        trained, evaluated = ([self.sealed(run_id) for run_id in steps[kind]] for kind in ("train", "eval"))
        runs = study.runs_of(self.sealed(steps["split"]), self.sealed(self.names["report"]), trained, evaluated)
        manifest["inputs"]["runs"] = {name: each.reference for name, each in runs.items()}
        facts["steps"] = dict(steps)
        self.put("pipeline", "steps.json", json.dumps(steps, indent=1).encode())
        for name in facts["report"]["files"]:
            self.put("pipeline", f"report/{name}", self.artifact("report", name))
        compared = json.loads(self.artifact("report", report.COMPARISON))
        for each in trained:
            model = each.model
            alias = study.alias_of(Target.of(each))
            if Target.of(each).is_final and facts["registered"][alias]["model_id"] != model.model_id:
                self._register(facts["registered"][alias], each)
        registered = {alias: Registered(**entry) for alias, entry in facts["registered"].items()}
        facts["steps_reused"] = study.reused(runs, self.names["pipeline"])
        self.tag("pipeline", NOTE, study.describe(compared, registered, runs))
        for name, value in study.finals(compared).items():
            self.metric("pipeline", name, value)

    def _register(self, entry: dict[str, str], trained: Sealed) -> None:
        """The study's version of an arm is one of this checkpoint."""
        model = trained.model
        entry["model_id"] = model.model_id
        version = self.versions[entry["name"], entry["version"]]
        version |= {"source": f"models:/{model.model_id}", "run_id": trained.run_id}
        version["location"] = self.models[model.model_id]["location"]
        version["tags"] |= {
            "weights_sha256": model.weights_sha256,
            "dataset_sha256": trained.manifest.facts["source_sha256"],
        }

    def version_of(self, run: str, number: str, **other: Any) -> dict[str, Any]:
        """A new version of the study's registered model, of a train run's checkpoint; `other` are fields that lie."""
        trained = self.sealed(self.names[run])
        model, facts = trained.model, trained.manifest.facts
        tags = {name: str(facts[name]) for name in ("arm", "phase", "seed")}
        tags |= {"weights_sha256": model.weights_sha256, "manifest_sha256": trained.digest}
        version = {
            "name": "tiny",
            "version": number,
            "source": f"models:/{model.model_id}",
            "run_id": trained.run_id,
            "tags": tags | {"dataset_sha256": facts["source_sha256"]},
            "location": self.models[model.model_id]["location"],
        }
        self.versions["tiny", number] = version | other
        return self.versions["tiny", number]

    def promotion(
        self, run: str, version: str, before: str | None = None, against: str | None = None
    ) -> dict[str, Any]:
        """What `promote` tells of it, and of the version before: as it would be."""
        gate = Promotion(margin=TINY["promotion"]["margin"])
        mine = predictions.decode(self.artifact(run, predictions.FILE))
        theirs = against and predictions.decode(self.artifact(against, predictions.FILE))
        decision = decide(mine, theirs or None, gate)
        told = {
            "event": "promoted",
            "alias": "champion",
            "before": before,
            "eval_run": self.names[run],
            "manifest_sha256": self.sealed(self.names[run]).digest,
            "against_eval_run": against and self.names[against],
            "metric": gate.metric,
            "margin": gate.margin,
            "min": gate.min,
            "difference": decision.difference,
            "low": decision.low,
        }
        self.promoted(version, "20260101T000000.000000Z", told)
        if before:
            replaced = {"event": "replaced", "alias": "champion", "by": version}
            self.promoted(before, "20260101T000000.000000Z", replaced)
        self.pointed["tiny"]["champion"] = version
        return told

    def promoted(self, version: str, when: str, told: Mapping[str, Any]) -> None:
        self.versions["tiny", version]["tags"][f"stagewise.analysis.gate.{when}"] = json.dumps(told)

    def check(self, run: str, **named: Any) -> Verdict:
        return verify(self, self.names.get(run, run), Rules(), Known(None), Silent(), named=Named(**named))
