"""The whole study: split, base, every phase of every arm and seed, an eval of each, one report.

    run(Path("configs/quickstart.yaml"))

Each step is looked up by its fingerprint first; what a finished run holds already is not done again. Steps
that are wanted go to a launcher: a process each (`project`), or this process (`inline`).
"""

import dataclasses
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stagewise import progress
from stagewise.config import CHECKPOINT, Config, resolved
from stagewise.credentials import without_home
from stagewise.curriculum.targets import Target, target_of, targets
from stagewise.errors import ConfigError
from stagewise.evaluation.judged import rubric_of
from stagewise.model.device import machine
from stagewise.record.code import check_clean, environment, scrub
from stagewise.record.facts import PipelineFacts, Registered, ReportFacts, Steps, TrainFacts
from stagewise.record.manifest import Code, ConfigPart, Inputs, Outputs
from stagewise.report import tables
from stagewise.steps import evaluate, split, train
from stagewise.steps import report as report_step
from stagewise.steps.common import Session, Spec, find, open_session, perform, record_setup
from stagewise.steps.study import alias_of, describe, finals, reused, runs_of
from stagewise.tracking import store
from stagewise.tracking.launcher import launch
from stagewise.tracking.models import claim, register
from stagewise.tracking.owners import close_abandoned
from stagewise.tracking.pages import address, page, run_page, save_view
from stagewise.tracking.records import Record, studies_elsewhere
from stagewise.tracking.runs import ActiveRun, Launched, open_run
from stagewise.training import openmp

Launcher = Callable[[Session, Spec, Mapping[str, str]], Record]
"""(session, step, the parameters of its entry point) → the step's finished run."""


def inline(session: Session, spec: Spec, parameters: Mapping[str, str]) -> Record:
    return perform(session, spec)


def project(session: Session, spec: Spec, parameters: Mapping[str, str]) -> Record:
    """In a process of its own, as `mlflow run -e <kind>` would start it, in this environment."""
    launch(
        session.client,
        session.experiment_id,
        spec.kind,
        spec.name,
        parameters,
        parent=str(session.parent),
    )
    found = find(session, spec)
    if found is None:
        raise AssertionError(f"{spec.name}: its process ended well, but left no finished run of its fingerprint")
    return found


LAUNCHERS: Mapping[str, Launcher] = {"inline": inline, "project": project}


def run(config_path: Path, launched: Launched | None = None, experiment_name: str = "") -> str:
    """Runs the study; returns the id of the pipeline's run.

    Its run is the `launched` one, or a new one in the experiment that is named, by default the study's own; inside
    `with mlflow.start_run():` it is nested there. It may be called in any thread.
    """
    started = time.perf_counter()
    session = open_session(config_path, launched, experiment_name)
    config = session.config
    if not openmp.spin_little() and config.launcher == "inline" and machine(config)["threads"] > 1:
        progress.say(f"! {openmp.TOO_LATE}")
    _check_server(config)
    split.check_own(config, session.base)  # code of the user's own fails before hours of training, and not after
    rubric_of(config.evaluation, session.base)
    if config.require_clean:
        check_clean()
    claim(session.client, config.study)
    with open_run(
        session.client, session.experiment_id, "pipeline", config.study, session.parent, session.launched
    ) as run:
        for run_id in close_abandoned(session.client):
            progress.say(f"! run {run_id} was left RUNNING by a process that is gone; it is KILLED now")
        run.tag(study=config.study, config_sha256=session.config_sha256)
        for name in studies_elsewhere(session.client, config.study, session.experiment_id):
            progress.say(
                f"! experiment {name} has a study {config.study} too: both register models as models:/{config.study}, "
                "and an alias goes to the study that ends last; give one of them another name"
            )
        session = dataclasses.replace(session, parent=run.id, launched=None)
        progress.say(f"▸ {config.study}: arms {', '.join(config.arms)}, seeds {', '.join(map(str, config.seeds))}")
        with tempfile.TemporaryDirectory() as folder:
            # First, so that a study which fails has left its config and code too.
            code = record_setup(session, run, "pipeline", resolved(config), machine(config), Path(folder))
            run.upload(Path(folder))
            study = _Study(session, LAUNCHERS[config.launcher])
            study.run_all()
            compared = _record(session, study, run, code, Path(folder))
        progress.say(
            f"✓ {config.study}: {time.perf_counter() - started:.1f} s, {study.reused} of {study.count} steps reused"
        )
    _show(session, run, compared)
    return run.id


def _check_server(config: Config) -> None:
    """Raises `ConfigError` where one model would answer for all checkpoints of the study."""
    server, checkpoints = config.evaluation.server, {target.checkpoint for target in targets(config)}
    if server is not None and CHECKPOINT not in server.model:
        raise ConfigError(
            f"evaluation.server.model: found {server.model!r} for all {len(checkpoints)} checkpoints of the study, "
            f"expected a name with {CHECKPOINT} in it, such as 'study-{CHECKPOINT}'; or evaluate each checkpoint with "
            "the entry point eval, and a config of its own"
        )


class _Study:
    """The steps of one study, in order, each reused or launched."""

    def __init__(self, session: Session, launcher: Launcher) -> None:
        self.session, self.launcher = session, launcher
        self.config_path = without_home(str(session.config_path))  # MLflow records what a step is given
        self.count = self.reused = 0
        self.trained: list[Record] = []
        self.evaluated: list[Record] = []

    def run_all(self) -> None:
        self.split = self._step(split.specify(self.session), config=self.config_path)
        config = self.session.config
        for seed in config.seeds:
            base = self._train("base", 0, seed, None)
            for arm in config.arms:
                parent = base
                for phase in range(1, target_of(config, arm, 1, seed).phases + 1):
                    parent = self._train(arm, phase, seed, parent)
        self._leave_steps()
        self.report = self._step(report_step.specify(self.session, self.steps), run_id=str(self.session.parent))

    def _train(self, arm: str, phase: int, seed: int, parent: Record | None) -> Record:
        """Trains a phase and evaluates its checkpoint."""
        session, split_run = self.session, self.split.run_id
        spec = train.specify(session, self.split, arm, phase, seed, parent)
        parameters = {
            "config": self.config_path,
            "split_run": split_run,
            "arm": arm,
            "phase": str(phase),
            "seed": str(seed),
        }
        if parent is not None:
            parameters["init_run"] = parent.run_id
        trained = self._step(spec, **parameters)
        if trained.run_id not in [record.run_id for record in self.trained]:  # seeds share a pretrained base
            spec = evaluate.specify(session, self.split, trained)
            self.trained.append(trained)
            parameters = {"config": self.config_path, "split_run": split_run, "train_run": trained.run_id}
            self.evaluated.append(self._step(spec, **parameters))
        return trained

    def _step(self, spec: Spec, **parameters: str) -> Record:
        self.count += 1
        found = find(self.session, spec)
        if found is None:
            self._refuse_other_machines(parameters)
            return self.launcher(self.session, spec, parameters)
        self.reused += 1
        progress.say(f"= {spec.name}: unchanged, reused from run {found.run_id}")
        return found

    def _refuse_other_machines(self, parameters: Mapping[str, str]) -> None:
        """A phase over several machines is done by its own command, on each: nobody starts a process there."""
        machines = self.session.config.training.machines
        if machines > 1 and int(parameters.get("phase", 0)):
            experiment = store.experiment_name(self.session.client, self.session.experiment_id)
            named = {**parameters, "experiment_name": experiment}
            given = [word for name, value in named.items() for word in (f"--{name.replace('_', '-')}", value)]
            raise ConfigError(
                f"training.machines: found {machines}, and main starts nothing on the others; give "
                f"`{shlex.join(['stagewise', 'train', *given])}` on each of them, and then main again, which finds "
                "what they made"
            )

    @property
    def steps(self) -> Steps:
        trained, evaluated = ([record.run_id for record in each] for each in (self.trained, self.evaluated))
        return Steps(split=self.split.run_id, train=trained, eval=evaluated)

    def _leave_steps(self) -> None:
        """On the pipeline's run, where the report step looks them up."""
        self.session.client.log_text(
            str(self.session.parent), json.dumps(self.steps.json_value(), indent=1), report_step.STEPS
        )


def _record(session: Session, study: _Study, run: ActiveRun, code: Code, out: Path) -> dict[str, Any]:
    """Registers the final checkpoints, copies the report to the pipeline's run, seals it; returns the comparison."""
    compared: dict[str, Any] = json.loads(study.report.artifact(report_step.COMPARISON))
    (out / "report").mkdir()
    drawn = study.report.facts(ReportFacts)
    for name in drawn.files:
        (out / "report" / name).write_bytes(study.report.artifact(name))
    (out / report_step.STEPS).write_text(json.dumps(study.steps.json_value(), indent=1))
    registered = dict(_register(session, record) for record in study.trained if Target.of(record).is_final)
    runs = runs_of(study.split, study.report, study.trained, study.evaluated)
    run.metrics(finals(compared))
    run.describe(describe(compared, registered, runs))
    digest = run.seal(
        kind="pipeline",
        fingerprint=None,
        config=ConfigPart(part=resolved(session.config), file_sha256=session.config_sha256),
        code=code,
        environment=environment(),
        machine=machine(session.config),
        inputs=Inputs(runs={name: record.reference for name, record in runs.items()}, datasets={}),
        outputs=Outputs(artifacts=run.upload(out), model=None),
        facts=PipelineFacts(steps=study.steps, steps_reused=reused(runs, run.id), report=drawn, registered=registered),
    )
    progress.say(f"  manifest sha256 {digest}")
    save_view(session.client, session.experiment_id)
    return compared


def _register(session: Session, record: Record) -> tuple[str, Registered]:
    """Registers a final checkpoint under the study's name; returns its alias, and which version it is."""
    target, model = Target.of(record), record.model
    alias = alias_of(target)
    tags = target.tags | {
        "weights_sha256": model.weights_sha256,
        "manifest_sha256": record.digest,
        "dataset_sha256": record.facts(TrainFacts).source_sha256,
    }
    note = f"{target.checkpoint}: {target.arm}, all {target.phases} phases, seed {target.seed}"
    name = session.config.study
    version = register(session.client, session.home / "registry.lock", name, model.model_id, alias, tags, note)
    return alias, Registered(name=name, version=str(version.version), model_id=model.model_id)


def _show(session: Session, run: ActiveRun, compared: Mapping[str, Any]) -> None:
    """The end of the output: what came out, where the models are, how to look at it."""
    progress.say(f"\n{tables.aligned(tables.checkpoints(compared))}\n")
    progress.say(f"{compared['best']}\n{compared['verdict']}\n")
    for each in compared["checkpoints"]:
        if each["final"]:
            progress.say(f"model   models:/{session.config.study}@{each['arm']}-s{each['seed']}  ({each['model']})")
    uri = scrub(session.client.tracking_uri)
    progress.say(f"record  run {run.id} on {uri}")
    server = address(uri)
    if not server:
        progress.say(f"ui      mlflow ui --backend-store-uri {uri}")
        server = "http://127.0.0.1:5000"
    progress.say(f"report  {server}/{run_page(session.experiment_id, run.id)}/artifacts/report/report.html")
    progress.say(f"runs    {server}/{page(session.experiment_id)}")
