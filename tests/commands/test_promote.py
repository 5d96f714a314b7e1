"""The gate by itself, and promotions as a user makes them: of finished studies, through the command line."""

import contextlib
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, Finished
from helpers.commands import is_a_users_mistake, stagewise
from helpers.studies import copied
from helpers.text import matched
from hypothesis import assume, given
from hypothesis import strategies as st

from stagewise.analysis.gate import decide
from stagewise.analysis.paired import paired_interval
from stagewise.analysis.statistics import wilson
from stagewise.commands.promote import promote
from stagewise.config import Promotion
from stagewise.errors import PromotionError
from stagewise.tracking import champion
from stagewise.tracking.store import connect


def rows(answers: str) -> list[dict[str, Any]]:
    return [{"flexible": float(each), "strict": 0.0} for each in answers]


@pytest.mark.parametrize(
    ("right", "items", "floor", "holds", "reason"),
    [
        (
            *(5, 10, 0.0, True),
            "flexible 50.0% of 10 items, with nominal 97.5 % confidence at least 23.7 %; there is no champion yet, and "
            "no floor is set (promotion.min)",
        ),
        (
            *(50, 100, 0.4, True),
            "flexible 50.0% of 100 items, with nominal 97.5 % confidence at least 40.4 %; there is no champion yet, "
            "and promotion.min asks for 40.0 %",
        ),
        (50, 100, 0.41, False, "at least 40.4 %; there is no champion yet, and promotion.min asks for 41.0 %"),
        (1, 1, 0.5, False, "flexible 100.0% of 1 items, with nominal 97.5 % confidence at least 20.7 %"),
        (0, 250, 0.01, False, "flexible 0.0% of 250 items, with nominal 97.5 % confidence at least 0.0 %"),
        (0, 250, 0.0, True, "no floor is set"),
    ],
)
def test_the_first_champion_is_held_against_the_floor(
    right: int, items: int, floor: float, holds: bool, reason: str
) -> None:
    decision = decide(rows("1" * right + "0" * (items - right)), None, Promotion(min=floor))
    assert decision.holds is holds
    assert reason in decision.reason
    assert (decision.difference, decision.low) == (None, pytest.approx(wilson(right, items).low))  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("mine", "theirs", "margin", "holds"),
    [
        ("1" * 50, "1" * 50, 0.05, False),  # equal answers to few items are no proof
        ("1" * 72, "1" * 72, 0.05, False),
        ("1" * 73, "1" * 73, 0.05, True),
        ("0" * 73, "0" * 73, 0.05, True),
        ("1", "1", 0.05, False),
        ("1" * 5000, "1" * 5000, 0.0, False),  # no worse at all: nothing shows that it is not a little worse
        ("1" * 50, "0" * 50, 0.0, True),
        ("0" * 50, "1" * 50, 0.5, False),
        ("1" * 46 + "0" * 4, "1" * 50, 0.05, False),  # 8 points worse
        ("1" * 99 + "0", "1" * 100, 0.05, False),  # 1 point worse of 5 allowed, on too few items
        ("1" * 198 + "00", "1" * 200, 0.05, True),
        ("10" * 5, "01" * 5, 0.05, False),  # ten items that contradict each other show little
    ],
)
def test_the_gate_is_the_lower_end_of_the_paired_interval(mine: str, theirs: str, margin: float, holds: bool) -> None:
    assert decide(rows(mine), rows(theirs), Promotion(margin=margin)).holds is holds


def test_the_line_says_what_is_nominal_and_how_many_items_it_takes() -> None:
    alike = "1" * 238
    held = decide(rows(alike + "1" * 7 + "0" * 5), rows(alike + "0" * 7 + "1" * 5), Promotion())
    assert held.reason == (
        "flexible 98.0% against 97.2% of the present champion, on 250 items of which 7 are right for the challenger "
        "alone and 5 for the champion alone: +0.8 points, with nominal 97.5 % confidence at least -2.2; the margin "
        "allows -5.0, which takes 73 items where both answer alike"
    )
    refused = decide(rows("1" * 38 + "10"), rows("1" * 38 + "01"), Promotion())
    assert refused.reason.endswith(
        "+0.0 points, with nominal 97.5 % confidence at least -10.8; the margin allows -5.0, which takes 73 items "
        "where both answer alike and about 119 with answers like these"
    )
    worse = decide(rows("1" * 90 + "0" * 10), rows("1" * 100), Promotion())
    assert worse.reason.endswith("both answer alike and more than any number with answers like these")
    strict = decide(rows("1" * 10), rows("1" * 10), Promotion(margin=0.0))
    assert "the margin allows +0.0, which takes a challenger that is better and more than any number" in strict.reason
    close = decide(rows("1" * 73), rows("1" * 73), Promotion())
    assert "at least -4.999; the margin allows -5.000" in close.reason


@given(st.integers(0, 9), st.integers(0, 9), st.integers(20, 120))
def test_the_items_that_a_refusal_names_are_enough(only_a: int, only_b: int, items: int) -> None:
    same = "1" * (items - only_a - only_b)
    refused = decide(rows(same + "1" * only_a + "0" * only_b), rows(same + "0" * only_a + "1" * only_b), Promotion())
    assume(not refused.holds and "more than any number" not in refused.reason)
    needed = int(matched(r"about ([\d,]+) with", refused.reason)[1].replace(",", ""))
    assert needed > items
    times = math.ceil(needed / items)
    assert paired_interval(only_a * times, only_b * times, items * times).low >= -0.05


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40), st.floats(0, 0.5))
def test_a_wider_margin_never_refuses_what_a_narrower_lets_pass(pairs: list[tuple[int, int]], margin: float) -> None:
    mine, theirs = (rows("".join(str(pair[side]) for pair in pairs)) for side in (0, 1))
    narrow, wide = (decide(mine, theirs, Promotion(margin=each)) for each in (margin, margin + 0.1))
    assert wide.holds or not narrow.holds
    assert narrow.difference == pytest.approx(sum(a - b for a, b in pairs) / len(pairs))


# --- on a record --------------------------------------------------------------------------------


@pytest.fixture
def study(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The finished study, copied: registry and files may be changed."""
    made = copied(finished.store, tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return Finished(made, finished.config, finished.run_id, connect())


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A gate that six items cannot pass."""
    path = tmp_path / "strict.yaml"
    path.write_text(yaml.safe_dump(TINY | {"promotion": {"margin": 0.05}}))
    return path


def ids(study: Finished, kind: str) -> dict[str, str]:
    """Run ids by the first two letters of the run's name: c3, f1, …"""
    return {run.info.run_name[:2]: run.info.run_id for run in study.runs(kind)}


def holder(study: Finished) -> str | None:
    found = champion.holder(study.client, "tiny", "champion")
    return found and str(found.version)  # type: ignore[return-value]


def history(study: Finished, version: str) -> list[dict[str, Any]]:
    tags = study.client.get_model_version("tiny", version).tags
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith("stagewise.analysis.gate.")]


def run(study: Finished, *arguments: str) -> Any:
    return stagewise(*arguments, **study.store.environment)


def test_a_champion_is_made_and_replaced_and_the_versions_tell(study: Finished, strict: Path) -> None:
    evals = ids(study, "eval")
    done = run(study, "promote", "--run-id", evals["c3"], "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "models:/tiny@champion would be version 1 (curriculum-3-s1)" in done.stdout
    assert holder(study) is None
    done = run(study, "promote", "--run-id", evals["c3"])
    assert "✓ models:/tiny@champion is version 1 (curriculum-3-s1)" in done.stdout
    assert holder(study) == "1"
    assert "is version 1 (curriculum-3-s1) already" in run(study, "promote", "--run-id", evals["c3"]).stdout
    # Both know nothing, and are as good as each other; a train run with one eval run says which one is meant.
    f1 = ids(study, "train")["f1"]
    refused = run(study, "promote", "--run-id", f1, "--config", str(strict))
    is_a_users_mistake(refused, "at least -39.0; the margin allows -5.0, which takes 73")
    done = run(study, "promote", "--run-id", f1)
    assert "is version 2 (flat-1-s1), version 1 before: flexible 0.0% against 0.0%" in done.stdout, done.stderr
    assert holder(study) == "2"
    (first, second) = history(study, "1")
    assert (first["event"], first["before"], first["eval_run"]) == ("promoted", None, evals["c3"])
    assert (second["event"], second["by"]) == ("replaced", "2")
    (only,) = history(study, "2")
    assert (only["before"], only["against_eval_run"], only["difference"]) == ("1", evals["c3"], 0.0)
    assert (only["margin"], only["min"], only["low"]) == (0.5, 0.0, pytest.approx(-0.39, abs=1e-3))


def test_what_is_not_registered_or_unknown_is_refused(study: Finished) -> None:
    is_a_users_mistake(run(study, "promote", "--run-id", ids(study, "eval")["c1"]), "is no version of the registered")
    is_a_users_mistake(
        run(study, "promote", "--run-id", ids(study, "split")["sp"]),
        "found a split run, expected an eval or a train run",
    )
    is_a_users_mistake(run(study, "promote", "--run-id", "0" * 32), "no such run")


def test_a_broken_record_is_not_promoted(study: Finished) -> None:
    evaluated = ids(study, "eval")["c3"]
    (path,) = (path for path in study.store.folder.rglob("predictions.jsonl") if evaluated in path.parts)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    done = run(study, "promote", "--run-id", evaluated)
    is_a_users_mistake(done, "its record is not whole: ✗ broken")
    assert "artifact predictions.jsonl: found sha256" in done.stderr
    assert holder(study) is None


def test_a_version_that_gives_other_files_is_not_promoted(study: Finished) -> None:
    with contextlib.closing(sqlite3.connect(study.store.folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE model_versions SET storage_location = 'file:///elsewhere' WHERE version = 1")
    with pytest.raises(PromotionError, match="models:/tiny/1, storage location: found file:///elsewhere"):
        promote(ids(study, "eval")["c3"], None, False)
    assert holder(study) is None


def test_a_first_champion_below_the_floor_is_refused(study: Finished, strict: Path) -> None:
    strict.write_text(yaml.safe_dump(TINY | {"promotion": {"min": 0.3}}))
    with pytest.raises(
        PromotionError, match=r"does not hold: flexible 0\.0% of 6 items.* promotion\.min asks for 30\.0 %"
    ):
        promote(ids(study, "eval")["c3"], strict, False)
    assert holder(study) is None


def test_another_checkpoints_broken_eval_run_is_in_nobodys_way(study: Finished) -> None:
    evals = ids(study, "eval")
    promote(evals["c3"], None, False)
    study.client.set_tag(evals["c1"], "stagewise.manifest_sha256", "0" * 64)
    promote(evals["f1"], None, False)
    assert holder(study) == "2"


def test_a_gate_that_does_not_hold_says_why_and_changes_nothing(
    study: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    evals = ids(study, "eval")
    promote(evals["c3"], None, False)
    # The champion knew all the answers.
    from stagewise.commands import promote as step

    monkeypatch.setattr(step, "_rows", lambda record: rows("111111" if record.run_id == evals["c3"] else "000000"))
    with pytest.raises(PromotionError, match=r"gate does not hold: flexible 0\.0% against 100\.0%.*-100\.0 points"):
        promote(evals["f1"], None, False)
    assert holder(study) == "1"
    assert history(study, "2") == []


def test_the_gate_may_come_from_a_config(study: Finished, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TINY | {"promotion": {"alias": "best", "margin": 0.0}}))
    promote(ids(study, "eval")["c3"], path, False)
    assert study.client.get_model_version_by_alias("tiny", "best").aliases == ["best", "curriculum-s1"]


def test_of_two_promotions_at_once_one_reports_the_conflict(study: Finished) -> None:
    first, second = (study.client.get_model_version("tiny", version) for version in ("1", "2"))
    lock = study.store.folder / "lock"
    champion.move(study.client, lock, "champion", second, None, {})
    with pytest.raises(PromotionError, match="another promotion came at the same time: found version 2, expected no"):
        champion.move(study.client, lock, "champion", first, None, {})  # it saw no champion when it began
    assert holder(study) == "2"
    assert history(study, "1") == []


def test_a_promotion_that_was_overwritten_at_once_reports_it(study: Finished) -> None:
    first, second = (study.client.get_model_version("tiny", version) for version in ("1", "2"))

    class Slow:
        """A client between whose writing and reading another machine promotes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(study.client, name)

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            study.client.set_registered_model_alias(name, alias, version)
            study.client.set_registered_model_alias(name, alias, second.version)

    with pytest.raises(PromotionError, match="found version 2, expected version 1"):
        champion.move(Slow(), study.store.folder / "lock", "champion", first, None, {})  # type: ignore[arg-type]
    assert history(study, "1") == []
