"""What a report concludes, and that its numbers are one comparison's and follow from the record."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from conftest import Finished
from helpers.reports import study

from stagewise.config import Primary
from stagewise.errors import DataError
from stagewise.hashing import canonical_json
from stagewise.report import Checkpoint, comparison, figures, markdown, page, tables, words
from stagewise.report.page import Places
from stagewise.tracking.records import download, read


def compared(checkpoints: list[Checkpoint]) -> dict[str, Any]:
    return comparison("study", Primary(), checkpoints)


def test_an_effect_is_claimed_and_no_effect_is_said_as_plainly() -> None:
    effect = compared(study({"curriculum": [0.8, 0.75, 0.825], "shuffled": [0.5, 0.475, 0.5]}))
    assert effect["verdict"].startswith("Effect: curriculum minus shuffled is +30.0 points")
    assert effect["contrasts"]["curriculum - shuffled"]["sensitivity"].startswith("The study could see an effect")
    none = compared(study({"curriculum": [0.5, 0.6, 0.4], "shuffled": [0.6, 0.4, 0.5]}))
    assert none["verdict"].startswith("No effect visible: curriculum minus shuffled is +0.0 points")
    assert (
        "cannot be relied on to see an effect of this size" in none["contrasts"]["curriculum - shuffled"]["sensitivity"]
    )


def test_one_seed_claims_nothing_and_says_why() -> None:
    one = compared(study({"curriculum": [0.8], "shuffled": [0.4]}))
    assert one["verdict"].startswith("One seed: no claim, since nothing shows how much another seed would differ")
    primary = one["contrasts"]["curriculum - shuffled"]
    assert (primary["test"]["p"], primary["bootstrap"], primary["sign_flip"]) == (None, None, None)
    assert primary["sensitivity"].startswith("With one seed the study can see no effect of order, however large")
    assert words.limits(one)[0].startswith("One seed: no claim about order")
    assert not words.limits(compared(study({"curriculum": [0.8, 0.7], "shuffled": [0.4, 0.5]})))[0].startswith("One")


def test_intervals_lie_within_what_is_possible() -> None:
    checkpoints = study({"curriculum": [0.8, 0.1], "shuffled": [0.1, 0.3]})
    measures = [{"equations_true": float(number > 0), "lex_backward": 30.0 * (number == 0)} for number in range(3)]
    short = [
        replace(each, rows=[row | {"measures": found} for row, found in zip(each.rows[:3], measures, strict=True)])  # type: ignore[operator]
        for each in checkpoints
    ]
    found = compared(short)
    (first, *_) = found["checkpoints"]
    assert first["measures"]["equations_true"]["high"] == 1  # Student's own reaches 2.1
    assert first["measures"]["lex_backward"]["low"] == 0
    for each in compared(checkpoints)["contrasts"].values():
        assert -1 <= each["test"]["interval"]["low"] <= each["test"]["interval"]["high"] <= 1
        assert all(-1 <= pair["interval"]["low"] < pair["interval"]["high"] <= 1 for pair in each["pairs"])


def test_a_study_without_its_control_claims_nothing() -> None:
    found = compared(study({"curriculum": [0.8, 0.7], "flat": [0.4, 0.5]}))
    assert found["verdict"].startswith("No claim about order: the primary contrast, curriculum against shuffled")
    assert list(found["contrasts"]) == ["curriculum - flat"]
    assert not found["contrasts"]["curriculum - flat"]["order_alone"]


@pytest.mark.parametrize(
    ("arm", "against", "baselines"),
    [
        ("curriculum", "shuffled", ""),
        ("shuffled", "curriculum", ""),
        ("curriculum", "flat", "flat is a baseline"),
        ("flat", "shuffled", "flat is a baseline"),
        ("reversed", "curriculum", "reversed is a baseline"),
        ("reversed", "flat", "reversed and flat are baselines"),
    ],
)
def test_order_alone_is_of_both_arms_and_the_verdict_says_so(arm: str, against: str, baselines: str) -> None:
    shares = {"curriculum": [0.8, 0.75], "shuffled": [0.5, 0.475], "reversed": [0.7, 0.6], "flat": [0.3, 0.5]}
    checkpoints = study(shares)
    found = comparison("study", Primary(arm=arm, against=against), checkpoints)
    assert found["contrasts"][f"{arm} - {against}"]["order_alone"] == (not baselines)
    said = f"Not only order, since {baselines}. " if baselines else ""
    assert re.match(rf"{said}(Effect|No effect visible): {arm} minus {against} is", found["verdict"])
    for each in found["contrasts"].values():
        assert each["sentence"].startswith("Not only order, since ") != each["order_alone"]


def test_a_control_in_one_seed_alone_is_none() -> None:
    checkpoints = study({"curriculum": [0.8, 0.7], "shuffled": [0.4, 0.5]})
    checkpoints[-1] = replace(checkpoints[-1], separations=["steps of other sizes"])
    assert compared(checkpoints)["verdict"].startswith("Not only order, since shuffled is a baseline. ")


def test_seeds_that_all_differ_alike_are_no_test() -> None:
    found = compared(study({"curriculum": [0.5, 0.6], "shuffled": [0.4, 0.5]}))["contrasts"]["curriculum - shuffled"]
    assert "there is no spread to test against" in found["sensitivity"]


def test_secondary_contrasts_are_adjusted_by_holm_and_the_primary_is_not() -> None:
    shares = {
        "curriculum": [0.8, 0.75, 0.825],
        "shuffled": [0.5, 0.475, 0.5],
        "reversed": [0.7, 0.6, 0.7],
        "flat": [0.3, 0.5, 0.2],
    }
    contrasts = compared(study(shares))["contrasts"]
    assert contrasts["curriculum - shuffled"]["p_holm"] is None
    raw = sorted(contrasts[f"curriculum - {arm}"]["test"]["p"] for arm in ("reversed", "flat"))
    adjusted = sorted(contrasts[f"curriculum - {arm}"]["p_holm"] for arm in ("reversed", "flat"))
    assert adjusted == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])
    assert "after Holm" in contrasts["curriculum - flat"]["sentence"]


def test_an_arm_that_saw_other_examples_is_not_compared() -> None:
    checkpoints = study({"curriculum": [0.5, 0.6], "shuffled": [0.4, 0.55], "flat": [0.9, 0.9]})
    checkpoints = [replace(each, multiset="its own") if each.arm == "flat" else each for each in checkpoints]
    found = compared(checkpoints)
    assert list(found["contrasts"]) == ["curriculum - shuffled"]
    assert found["not_compared"] == [
        "flat saw other examples, or the same ones in other numbers, so it can show nothing about order"
    ]


def test_checkpoints_that_answered_other_items_are_refused() -> None:
    first, *others, last = study({"curriculum": [0.5], "shuffled": [0.4]})
    swapped = replace(last, rows=[last.rows[1], last.rows[0], *last.rows[2:]])
    with pytest.raises(DataError, match="shuffled-1-s1 answered other items than base-0-s1"):
        compared([first, *others, swapped])


def test_every_number_has_its_interval_and_its_run() -> None:
    checkpoints = study({"curriculum": [0.5], "shuffled": [0.4]})
    found = compared(checkpoints)["checkpoints"][1]
    assert (found["right"], found["items"]) == (20, 40)
    # Wilson's interval of 20 of 40, as published tables have it.
    flexible = found["measures"]["flexible"]
    assert (flexible["low"], flexible["high"]) == (pytest.approx(0.351995, abs=1e-5), pytest.approx(0.648005, abs=1e-5))
    tokens = [row["measures"]["tokens"] for row in checkpoints[1].rows]
    measure = found["measures"]["tokens"]
    assert measure["mean"] == pytest.approx(sum(tokens) / 40)
    assert measure["low"] < measure["mean"] < measure["high"]
    assert found["right_by_item"] == [1] * 20 + [0] * 20
    assert (found["eval_run"], found["train_run"]) == (checkpoints[1].eval_run, checkpoints[1].train_run)
    assert found["by_category"]["even"] == found["by_category"]["odd"]
    assert (found["by_category"]["odd"]["right"], found["by_category"]["odd"]["items"]) == (10, 20)


def test_a_measure_without_a_value_is_a_dash_and_no_number(tmp_path: Path) -> None:
    checkpoints = study({"curriculum": [0.5], "shuffled": [0.4]})
    last = checkpoints[-1]
    rows = [row | {"measures": row["measures"] | {"equations_true": 0.5}} for row in last.rows]  # type: ignore[operator]
    checkpoints[-1] = replace(last, rows=rows)  # the only one with an equation in its outputs
    found = compared(checkpoints)
    assert ["eval/equations_true" in each["metrics"] for each in found["checkpoints"]] == [False, False, True]
    line = ["equations_true", "–", "–", "0.5"]  # all values are equal: no interval
    assert line in tables.structure(found)
    places = Places("", {run: f"#/runs/{run}" for each in checkpoints for run in (each.eval_run, each.train_run)})
    assert f"| {' | '.join(line)} |" in markdown.write(found, {}, places, {})
    html = page.write(found, checkpoints, {}, places, {}, 0)
    texts = re.findall(r"<th>equations_true</th>(.*?)</tr>", html, re.DOTALL)[
        1
    ]  # behind the table of checkpoints' head
    assert re.findall(r">([^<\s]+[^<]*)</td>", texts) == ["–", "–", "0.5"]
    figures.draw(found, tmp_path)


def test_limits_count_what_the_record_counts() -> None:
    checkpoints = study({"curriculum": [0.5], "shuffled": [0.4]})
    changed = {"near_ties": 2, "weights": "unverified"}
    last = checkpoints[-1]
    checkpoints[-1] = replace(last, rows=[row | changed for row in last.rows])  # type: ignore[operator]
    said = "\n".join(words.limits(compared(checkpoints)))
    assert "unscored" not in said
    assert "80 tokens were as likely as another" in said
    assert "Weights unverified" in said


def test_figures_are_png_and_the_same_bytes_under_any_style(tmp_path: Path) -> None:
    found = compared(study({"curriculum": [0.5, 0.6], "shuffled": [0.4, 0.5]}, phases=3))
    once, again = tmp_path / "once", tmp_path / "again"
    once.mkdir()
    again.mkdir()
    names = figures.draw(found, once)
    assert set(names) == {"accuracy.png", "loss.png", "structure.png", "items.png", "contrasts.png"}
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        figures.draw(json.loads(canonical_json(found)), again)  # comparison.json is all that they need
    for name in names:
        assert (once / name).read_bytes().startswith(b"\x89PNG")
        assert (once / name).read_bytes() == (again / name).read_bytes()


def test_a_figure_tells_seeds_apart_and_says_how() -> None:
    many = compared(study({"curriculum": [0.5, 0.6, 0.4], "shuffled": [0.4, 0.5, 0.3]}, phases=2))
    styles = [style for _, style in figures._chains(many)]
    for one, other in itertools.combinations(styles, 2):
        assert one != other
    for figure in (figures._accuracy(many), figures._loss(many)):
        (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        handles = {text.get_text(): line for text, line in zip(legend.texts, legend.legend_handles, strict=True)}  # type: ignore[union-attr]
        assert list(handles) == ["curriculum", "shuffled", "seed 1", "seed 2", "seed 3"]
        seeds = [(line.get_linestyle(), line.get_marker()) for name, line in handles.items() if "seed" in name]
        assert seeds == [(style["linestyle"], style["marker"]) for style in styles[::2]]
    (legend,) = figures._contrasts(many).legends
    assert [text.get_text() for text in legend.texts] == ["seed 1", "seed 2", "seed 3"]
    one = compared(study({"curriculum": [0.5], "shuffled": [0.4]}))
    assert [text.get_text() for text in figures._accuracy(one).axes[0].get_legend().texts] == ["curriculum", "shuffled"]  # type: ignore[union-attr]
    assert figures._contrasts(one).legends == []


def test_markdown_says_the_same_and_names_runs_and_figures() -> None:
    checkpoints = study({"curriculum": [0.8, 0.75], "shuffled": [0.5, 0.4], "flat": [0.3, 0.4]})
    found = compared(checkpoints)
    runs = [run for each in checkpoints for run in (each.eval_run, each.train_run)]
    places = Places("", {run: f"#/runs/{run}" for run in runs})
    text = markdown.write(found, {"seeds": "1, 2", "hypothesis": "It\n\ndoes."}, places, {"accuracy.png": "Accuracy"})
    assert text.startswith(f"# study\n\n{found['verdict']}\n\n{found['best']}")
    for line in tables.checkpoints(found)[1:]:
        assert f"| {' | '.join(line)} |" in text
    assert found["contrasts"]["curriculum - flat"]["sentence"] in text
    assert "![Accuracy](accuracy.png)" in text
    assert all(f"[{run[:8]}](#/runs/{run})" in text for run in runs)
    assert "## Set-up\n\n- **seeds**: 1, 2\n- **hypothesis**: It does.\n\n" in text
    left, right = (each.eval_run for each in checkpoints if each.name in ("curriculum-1-s2", "shuffled-1-s2"))
    path = f"#/runs/{left}/traces?compareToRunUuid={right}"
    assert f"- [curriculum and shuffled, seed 2]({path})" in text
    at_home = markdown.write(found, {}, Places("https://mlflow.example", places.paths), {})
    assert f"(https://mlflow.example/{path})" in at_home


def test_every_number_of_the_markdown_has_its_interval() -> None:
    found = compared(study({"curriculum": [0.5], "shuffled": [0.4]}))
    curriculum, name = found["checkpoints"][1], "curriculum-1-s1"
    header, *rows = tables.structure(found)
    column = header.index(name)
    for row in rows:
        measure = curriculum["measures"][row[0]]
        mean, interval = tables.with_interval(row[0], measure)
        assert row[column] == f"{mean} ({interval})"
        assert interval
    by_category = tables.by_group(found, "category")
    # Wilson's interval of 10 of 20.
    assert [row for row in by_category if row[0] == name] == [[name, *["10/20 (30 to 70 %)"] * 2]]


def test_the_comparison_follows_from_the_record(finished: Finished) -> None:
    from stagewise.steps.report import read_checkpoints

    (report,) = finished.runs("report")
    trained, evaluated = (
        [read(finished.client, run.info.run_id, kind) for run in finished.runs(kind)] for kind in ("train", "eval")
    )
    derived = canonical_json(comparison("tiny", Primary(), read_checkpoints(trained, evaluated)))
    assert derived == download(finished.client, report.info.run_id, "comparison.json")
