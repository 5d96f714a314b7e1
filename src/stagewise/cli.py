"""The command line: one command an entry point of MLproject, with the same parameters.

    stagewise main --config configs/quickstart.yaml
    stagewise train --config … --split-run <id> --arm curriculum --phase 1 --seed 42 --init-run <id>

Exit codes are in `errors`; `verify` also has 3, 4 and 5, and `reproduce` 4 where what came out differs.
"""

import itertools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from gc import freeze
from pathlib import Path
from typing import Any

import click

from stagewise import __version__
from stagewise.credentials import kind_of, redact
from stagewise.errors import INTERRUPTED, SecretError, foreseen
from stagewise.training.openmp import spin_little


class Group(click.Group):
    """Ends a command that failed in a way that was foreseen with one line on stderr and the error's exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = list(args)  # as they were given; the process may be somebody else's, with other words in sys.argv
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        spin_little()  # no command has loaded torch yet
        try:
            _refuse_credentials(ctx.obj)
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            click.echo(f"Interrupted. {error}".strip(), err=True)
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            said = foreseen(error)
            text = f"{type(said).__name__}: {said}" if said else traceback.format_exc()
            click.echo(redact(text)[0], err=True)
            ctx.exit(said.exit_code if said else 1)

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        try:
            return super().main(args, *arguments, **options)
        except SystemExit as end:
            if args is None:  # else the process is somebody's who calls us, and not ours to end
                _leave(end.code)
            raise


def _leave(code: Any) -> None:
    """Ends the process without delay: Python would search torch's half a million objects for cycles, which takes more
    than a second, and wait for the threads of a call of a server that hangs."""
    freeze()
    calls = sys.modules.get("stagewise.tracking.calls")  # not imported for a command that asks no server
    if calls is not None and calls.hanging():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _refuse_credentials(arguments: list[str]) -> None:
    """Raises `SecretError` for a value that MLflow's launcher has recorded as it stands."""
    for name, value in itertools.pairwise(["", *arguments]):
        if kind := kind_of(value):
            remedy = "give it by the environment"
            if launched := _launched(arguments):
                run_id = launched.info.run_id
                remedy = (
                    f"MLflow has recorded it in run {run_id}: delete that run (mlflow runs delete --run-id {run_id}, "
                    "then mlflow gc), and change the password or token"
                )
            raise SecretError(
                f"{name if name.startswith('--') else 'the command line'}: the value holds {kind}; {remedy}"
            )


def _launched(arguments: list[str]) -> Any:
    """The run that MLflow's launcher made for this command, where it did."""
    if "MLFLOW_RUN_ID" not in os.environ:
        return None  # nothing is to be asked, and mlflow takes seconds to load
    from stagewise.tracking.launcher import claim

    return claim(arguments)


@click.group(cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Does the order of training data change how a language model reasons?"""


def config_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default="configs/quickstart.yaml",
        show_default=True,
        help="The study.",
    )(command)


def experiment_option(command: Callable[..., None]) -> Callable[..., None]:
    """`mlflow run` has it itself, so the entry points have not."""
    return click.option(
        "--experiment-name",
        default="",
        help="Experiment to record in, and to find finished steps in; else MLFLOW_EXPERIMENT_NAME or _ID, else the "
        "study's name.",
    )(command)


def switch(name: str, help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A flag, which MLflow gives a value: `--yes`, `--yes true`."""
    return click.option(
        name, type=bool, is_flag=False, flag_value="true", default="false", show_default=True, help=help
    )


TRUST = "Run the study's own code that the record holds, with your rights, to check what follows from it."


# Each command imports what it needs: torch and mlflow take seconds, and `--help` should not.


@main.command("main")
@config_option
@experiment_option
@click.pass_obj
def main_(words: list[str], config: Path, experiment_name: str) -> None:
    """The whole study: split, train, evaluate, compare."""
    from stagewise import pipeline

    pipeline.run(config, _launched(words), experiment_name)


@main.command()
@config_option
@experiment_option
@click.pass_obj
def split(words: list[str], config: Path, experiment_name: str) -> None:
    """Split the traces into stages."""
    from stagewise.steps import common, split

    session = common.open_session(config, _launched(words), experiment_name)
    _done(common.perform(session, split.specify(session)))


@main.command()
@config_option
@click.option("--split-run", required=True, help="Run of the split.")
@click.option("--arm", default="base", show_default=True, help="Which ordering; phase 0 is the same for all.")
@click.option("--phase", type=int, required=True, help="0 makes the base checkpoint.")
@click.option("--seed", type=int, required=True, help="One of the study's.")
@click.option("--init-run", default="", help="Train run that the phase starts from; none for phase 0.")
@experiment_option
@click.pass_obj
def train(
    words: list[str],
    config: Path,
    split_run: str,
    arm: str,
    phase: int,
    seed: int,
    init_run: str,
    experiment_name: str,
) -> None:
    """Train one phase of one arm, or make the base checkpoint."""
    from stagewise.steps import common, train
    from stagewise.training.distributed import machine_rank

    session = common.open_session(config, _launched(words), experiment_name)
    wanted = common.given(session.client, split_run, "split"), arm, phase, seed
    parent = common.given(session.client, init_run, "train") if init_run else None
    if machine_rank():
        train.join(session, *wanted, parent)
    else:
        _done(common.perform(session, train.specify(session, *wanted, parent)))


@main.command("eval")
@config_option
@click.option("--split-run", required=True, help="Run of the split, which holds the eval set.")
@click.option("--train-run", required=True, help="Train run whose checkpoint answers.")
@experiment_option
@click.pass_obj
def eval_(words: list[str], config: Path, split_run: str, train_run: str, experiment_name: str) -> None:
    """Let one checkpoint answer the eval set."""
    from stagewise.steps import common, evaluate

    session = common.open_session(config, _launched(words), experiment_name)
    split = common.given(session.client, split_run, "split")
    trained = common.given(session.client, train_run, "train")
    _done(common.perform(session, evaluate.specify(session, split, trained)))


@main.command()
@click.option("--run-id", required=True, help="Pipeline run.")
@click.pass_obj
def report(words: list[str], run_id: str) -> None:
    """Compare the checkpoints of a pipeline."""
    from stagewise.steps import common, report
    from stagewise.tracking.lineage import check_standing

    session = common.recorded_session(run_id, _launched(words))
    spec = report.specify(session, report.read_steps(session))
    check_standing(*spec.runs.values())
    _done(common.perform(session, spec))


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything, with the examples of each optimizer step.")
@click.option("--probe", is_flag=True, help="Also find how the model has to be run, and time three updates.")
def plan(config: Path, as_json: bool, probe: bool) -> None:
    """Show what would be trained, in which order, and what separates the arms."""
    from stagewise.commands import plan

    click.echo(plan.show(config, as_json, probe))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--items", type=click.Path(path_type=Path), help="Eval set that says prompts, answers and groups.")
@click.option(
    "--finish-reason",
    type=click.Choice(["stop", "length"]),
    help="What ended the outputs, where the file does not say: EOS or a stop text, or the limit of tokens.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything, with each item's score.")
def score(file: Path, items: Path | None, finish_reason: str | None, as_json: bool) -> None:
    """Score a predictions FILE again: of stagewise, lm-evaluation-harness, or ids and answers."""
    from stagewise.commands import score as rescoring

    click.echo(rescoring.show(file, items, finish_reason, as_json))


@main.command()
@click.option("--remove", is_flag=True, help="Remove what is listed.")
def gc(remove: bool) -> None:
    """List what failed and superseded runs and other releases left, here and on the server."""
    from stagewise.commands import gc

    click.echo(gc.collect(remove))


@main.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Say whether a study can run here: installation, machine, tracking server.

    Exit code 2: it could not.
    """
    from stagewise.commands import doctor as examination

    context.exit(examination.doctor(_launched(context.obj)))


@main.command()
@click.option("--run-id", required=True, help="A run, models:/<name>@<alias>, or a bundle's folder.")
@click.option("--expect", default="", help="The manifest's sha256, as known from elsewhere.")
@switch("--json", "The verdict, and every finding, as JSON.")
@switch("--trust-code", TRUST)
@click.pass_context
def verify(context: click.Context, run_id: str, expect: str, json: bool, trust_code: bool) -> None:
    """Check a record, byte for byte and claim for claim, back to the source.

    Exit code 0: whole, 3: the run has not ended, 4: broken, 5: it can't be checked.
    """
    from stagewise.commands import verify as step

    context.exit(step.verify(run_id, expect or None, json, _launched(context.obj), trust_code))


@main.command()
@click.option("--run-id", required=True, help="Eval run of the checkpoint, or its train run if it has one eval run.")
@click.option("--config", default="", help="The study whose gate counts; left out, that of the record.")
@switch("--dry-run", "Say what would be done, and change nothing.")
@switch("--trust-code", TRUST)
@click.pass_obj
def promote(words: list[str], run_id: str, config: str, dry_run: bool, trust_code: bool) -> None:
    """Make a checkpoint the champion, if its record is whole and the gate holds."""
    from stagewise.commands import promote as step

    step.promote(run_id, Path(config) if config else None, dry_run, launched=_launched(words), trust_code=trust_code)


@main.command()
@click.option("--run-id", required=True, help="Pipeline or train run.")
@switch("--yes", "Run the record's code without asking.")
@click.pass_context
def reproduce(ctx: click.Context, run_id: str, yes: bool) -> None:
    """Run a record again from what it holds, in a run of its own, and compare.

    It runs the code that is in the record, and says first whose that is.
    """
    from stagewise.analysis.agreement import DIFFERS
    from stagewise.commands import reproduce as step

    ctx.exit(4 if step.reproduce(run_id, yes, _launched(ctx.obj)) == DIFFERS else 0)


@main.command()
@click.option("--run-id", required=True, help="Pipeline run; for a bundle any, for a model a train run or models:/….")
@click.option("--format", required=True, help="provenance, bundle, model, ro-crate or slsa.")
@click.option("--out", default="", help="Folder to make; left out, one of its own in the working directory.")
@click.option("--key", default="", help="PEM file of the private key that signs; slsa only.")
@click.option("--weights", type=bool, default="true", show_default=True, help="With the weights; bundle only.")
@click.pass_obj
def export(words: list[str], run_id: str, format: str, out: str, key: str, weights: bool) -> None:
    """Write a finished study in a format that others read, or as a folder that verify reads: docs/export.md."""
    from stagewise.commands import export as step

    signed_by = Path(key).expanduser() if key else None
    step.export(run_id, format, Path(out) if out else None, signed_by, weights, _launched(words))


@main.command()
@click.argument("target")
def lineage(target: str) -> None:
    """Show the way back to the source of TARGET: a run id, or a model such as models:/quickstart@flat-s42."""
    from stagewise.tracking import store
    from stagewise.tracking.lineage import tree

    click.echo(tree(store.connect(), target))


def _done(record: Any) -> None:
    click.echo(f"  run {record.run_id}  manifest sha256 {record.digest}")
