"""What tables and figures say: means, differences, failures, names with special letters."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from comparison_cases import run_of
from scipy import stats

import matcard.comparison.results as results_module
from matcard.comparison.cells import Cell
from matcard.comparison.experiment import Experiment, Method, Task
from matcard.comparison.plan import Row
from matcard.comparison.report import interval_figure, write_report
from matcard.comparison.results import mean_scores, outcomes, results_table, summarise
from matcard.comparison.tables import (
    TextTable,
    captions,
    score_tables,
    short_tables,
    task_tables,
    to_latex,
    to_markdown,
)
from matcard.evaluation.statistics import corrected_t_test, holm
from matcard.evaluation.style import save_figure

VALUES = {"ce": [0.50, 0.52, 0.49], "a_b": [0.60, 0.63, 0.61], "50 % | <b>": [0.50, 0.51, 0.50], "bad": None, "new": []}
REASON = "a $loss$ & more | with \\ and # in it"


def experiment(tasks=("t_1",), made=(), **changes):
    values = {
        "name": "small", "title": "A comparison of 5 & 6",
        "tasks": (*made, *(Task(name, "", data(), 4) for name in tasks)),
        "methods": tuple(Method(label, {"loss": {"name": label}}) for label in VALUES),
        "reference": "ce", "seeds": 3, "metrics": ("macro_f1", "average_precision"),
    }  # fmt: skip
    return Experiment(**{**values, **changes})


def tuned(**changes):
    return experiment(space={"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2}}, **changes)


def rows(tasks=("t_1",), values=VALUES):
    found = []
    for task in tasks:
        for label, scores in values.items():
            for seed in range(3):
                cell = Cell(task, label, "test", seed, {"task": task, "loss": label, "seed": seed})
                record = None
                if scores is None:
                    record = {"status": "failed", "reason": REASON, "attempt": "x"}
                elif scores:
                    record = {"status": "finished", "run": run_of(seed, scores[seed], tested=True)}
                found.append(Row(cell, record))
    return found


@pytest.fixture(scope="module")
def summary():
    return summarise(results_table(rows()), experiment())


def test_the_summary_by_hand(summary):
    of = summary.set_index(["method", "metric", "rule"])
    found = of.loc[("a_b", "macro_f1", "argmax")]
    assert found["mean"] == pytest.approx(np.mean(VALUES["a_b"]))
    assert (found["seeds_low"], found["seeds_high"]) == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(VALUES["a_b"]), stats.sem(VALUES["a_b"]))
    )
    error = np.std(VALUES["a_b"], ddof=1) * np.sqrt(1 / 3 + 15 / 70)
    assert (found["low"], found["high"]) == pytest.approx(stats.t.interval(0.95, 2, np.mean(VALUES["a_b"]), error))
    tests = [corrected_t_test(VALUES[name], VALUES["ce"], 15 / 70) for name in ("a_b", "50 % | <b>")]
    assert found["difference"] == pytest.approx(tests[0].mean)
    assert found["p"] == pytest.approx(tests[0].p)
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((tests[0].low, tests[0].high))
    assert found["detectable"] == pytest.approx(tests[0].detectable)
    differences = np.subtract(VALUES["a_b"], VALUES["ce"])
    assert (found["difference_seeds_low"], found["difference_seeds_high"]) == pytest.approx(
        stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    )
    assert found["p_holm"] == pytest.approx(holm([test.p for test in tests])[0])
    decided = of.loc[("a_b", "macro_f1", "decision")]
    assert decided["mean"] == pytest.approx(found["mean"] + 0.01)
    assert ("a_b", "average_precision", "decision") not in of.index, "no rule changes it"
    assert of.loc[("bad", "macro_f1", "argmax")]["n"] == 0
    assert np.isnan(of.loc[("ce", "macro_f1", "argmax")]["difference"])


def test_differences_are_paired_by_seed():
    order = [row for row in rows() if row.cell.method != "a_b" or row.cell.number != 1]
    found = summarise(results_table(order[::-1]), experiment()).set_index(["method", "metric", "rule"])
    one = found.loc[("a_b", "macro_f1", "argmax")]
    assert one["n"] == 2
    assert one["difference"] == pytest.approx(np.mean([0.60 - 0.50, 0.61 - 0.49])), "the seeds that both have"


def test_markdown_escapes_names_and_shows_failures(summary):
    tables = score_tables(summary, experiment())
    text = to_markdown(tables, title=experiment().title, command="python -m matcard.compare", captions=["a | b"])
    assert "\n    python -m matcard.compare\n" in text
    assert r"| 50 % \| \<b\> |" in text
    assert r"a\_b" in text
    assert r"failed: a \$loss\$ & more \| with \\ and \# in it" in text
    assert "| not run |" in text
    for table in text.split("## ")[1:]:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines() if line.startswith("|")}
        assert len(widths) == 1, "a bar in a name makes no column"
    assert re.search(r"\| a\\_b \| \.613 \(\.5\d\d to \.6\d\d; seeds \.575 to \.651\) \| \.623", text)
    assert re.search(r"\+\.110\\\* \(\+\.\d+ to \+\.\d+; seeds \+\.\d+ to \+\.\d+\), p = \.\d+, detects \.\d+ \|", text)


def test_latex_escapes_names(summary):
    text = to_latex(score_tables(summary, experiment()), command="python", captions=["what is said"])
    assert r"a\_b" in text
    assert r"50 \% | \textless{}b\textgreater{}" in text
    assert r"a \$loss\$ \& more | with \textbackslash{} and \# in it" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {3}
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert "−" not in text


def test_latex_takes_no_name_for_an_option_of_the_row_before():
    table = TextTable("a", ("loss", "b"), (("[3em] one", "1*"), ("*", "2")))
    text = to_latex([table], command="python", captions=["two\nlines"])
    assert r"{[}3em] one & 1{*} \\" in text.splitlines()
    assert r"{*} & 2 \\" in text.splitlines()
    assert "% two lines\n" in text, "what follows a line's end would be set"


def data(**changes):
    split = {"kind": None, "folds": None, **changes.pop("split", {})}
    return {"data": {"source": "points.csv", "test_source": None, "split": split, **changes}}


def test_a_metric_that_is_undefined_is_a_dash():
    made = experiment(metrics=("few_shot_recall", "precision_at_100", "medium_shot_recall"))
    table, differences = score_tables(summarise(results_table(rows()), made), made)
    assert table.header == (
        "loss",
        "recall, few-shot classes",
        "precision@100",
        "recall, medium-shot classes, argmax",
        "recall, medium-shot classes, decision",
    )
    by_loss = {row[0]: row[1:] for row in table.rows}
    assert by_loss["a_b"][0] == "–"
    assert by_loss["a_b"][1].startswith(".613 (")
    assert by_loss["new"] == ("not run",) * 4
    assert by_loss["bad"][1].startswith("failed")
    assert {row[0]: row[1:] for row in differences.rows}["a_b"][1].startswith("+.110")


def test_short_tables_have_half_intervals_and_mark_differences():
    better = {**VALUES, "a_b": [0.60, 0.62, 0.59001], "new": [0.998, 1.0, 1.0], "bad": [0.3, 0.5, 0.4]}
    made = experiment(metrics=("macro_f1", "minority_recall", "mcc", "brier", "average_precision"))
    runs = [row for row in rows(values=better) if not (row.cell.method == "bad" and row.cell.number == 0)]
    (table,) = short_tables(summarise(results_table(runs), made), made)
    assert table.title == "t_1"
    assert table.header[-1] == "average precision"
    assert not any("Brier" in name for name in table.header), "the first three and the last"
    by_loss = {row[0]: row[1] for row in table.rows}

    def halves(label):
        deviation = stats.t.ppf(0.975, 2) * np.std(better[label], ddof=1)
        wide, narrow = (f"{deviation * np.sqrt(1 / 3 + ratio):.3f}".removeprefix("0") for ratio in (15 / 70, 0))
        return f"± {wide} (seeds {narrow})"

    assert by_loss["a_b"] == f".603* {halves('a_b')}"
    assert by_loss["ce"].startswith(".503 ± ")
    assert by_loss["50 % | <b>"].startswith(".503 ± "), "no difference"
    assert by_loss["new"] == f".999* {halves('new')}", "though the upper end is cut off at 1"
    assert by_loss["bad"].endswith("(2 of 3 seeds)"), "what is missing is said"


def test_intervals_end_where_scores_do_and_differences_of_none_have_none():
    made = experiment()
    found = summarise(results_table(rows(values={**VALUES, "a_b": [1.0, 0.9, 1.0], "50 % | <b>": VALUES["ce"]})), made)
    means, differences = ({row[0]: row[1] for row in table.rows} for table in score_tables(found, made))
    assert re.fullmatch(r"\.967 \(\.\d{3} to 1\.000; seeds \.\d{3} to 1\.000\)", means["a_b"])
    assert differences["50 % | <b>"] == "+.000, p = 1.000"


def test_what_is_said_of_the_choice_of_options():
    own, given_part = Task("own", "", data(), 4), Task("given", "", data(split={"kind": "given"}), 4)
    each = captions(tuned(tasks=(), tune_on=None, made=(own,)))
    assert "anew for each seed on its own split; the" in each[0]
    assert not any("first seed" in line for line in each)
    leaking = captions(tuned(tasks=(), tune_on="first-seed", made=(own, given_part)))
    assert "on the first seed's split for all seeds" in leaking[0]
    assert [line for line in leaking if line.startswith("own: options were chosen on the first seed's split alone")]
    mixed = captions(tuned(tasks=(), made=(own, given_part)))
    assert re.search(r"own: 4 trials.* anew for each seed .*; given: 4 trials.* on the first seed's split", mixed[0])
    assert [line for line in mixed if line.startswith("given: the test part is the same")]
    assert not any("own: options were chosen" in line for line in mixed)
    assert len(captions(tuned(tasks=(), tune_on="first-seed", made=(own,), seeds=1))) == len(each)


def test_what_is_said_of_the_protocol():
    said = " ".join(captions(tuned()))
    assert "3 seeds" in said
    assert "4 trials" in said
    assert "not tuned" in " ".join(captions(tuned(tasks=(), made=(Task("own", "", data()),))))
    beside = tuned(methods=(Method("ce", {}), Method("trees", {"rival": {}})))
    assert " (trees as given); the test part" in captions(beside)[0]
    development = " ".join(captions(tuned(tune_on="development")))
    assert "chosen once by a development part, 20% of the samples" in development


TASKS = tuple(f"task {k}" for k in range(6))


def test_wins_ties_and_losses():
    better = {**VALUES, "a_b": [0.60, 0.62, 0.59001]}
    made = experiment(TASKS)
    found = summarise(results_table(rows(TASKS, better)), made)
    counts = outcomes(found, made, "macro_f1", "argmax")
    assert counts.loc["a_b", ["win", "tie", "loss"]].tolist() == [6, 0, 0]
    assert counts.loc["50 % | <b>", ["win", "tie", "loss"]].tolist() == [0, 6, 0]
    assert counts.loc["bad", "undecided"] == 6
    turned = experiment(TASKS, reference="a_b")
    worse = outcomes(summarise(results_table(rows(TASKS, better)), turned), turned, "macro_f1", "argmax")
    assert worse.loc["ce", "loss"] == 6
    table, ranks = task_tables(found, made)
    assert ranks.header[1] == "macro-F1, argmax"
    shown = {label: row[0] for label, *row in ranks.rows}
    assert shown["a_b"] == "1.00"
    assert {shown["bad"], shown["new"]} == {"–"}
    scores = mean_scores(found, made, "macro_f1", "argmax").to_numpy()
    slow = [[0.5 + sum((other > score) + (other == score) / 2 for other in row) for score in row] for row in scores]
    assert shown["ce"] == f"{np.mean(slow, axis=0)[0]:.2f}"
    assert shown["critical difference (Nemenyi)"] == f"{2.343 * np.sqrt(3 * 4 / (6 * 6)):.2f}", "Demsar 2006, table 5"
    assert task_tables(found, experiment(TASKS[:1])) == []
    assert table.rows[0][:2] == ("a_b", "6 / 0 / 0")
    assert "(6 undecided)" in {row[0]: row[1] for row in table.rows}["bad"]


def test_scores_of_errors_are_turned_so_that_larger_is_better():
    made = experiment(TASKS, metrics=("macro_f1", "brier"))
    found = summarise(results_table(rows(TASKS)), made)
    assert list(mean_scores(found, made, "macro_f1", "argmax")) == ["ce", "a_b", "50 % | <b>"], "those with a score"
    assert (mean_scores(found, made, "brier", "argmax") < 0).all().all()


@pytest.mark.parametrize(("name", "low", "high"), [("mcc", -1, 1), ("macro_f1", 0, 1), ("brier", 0, 2)])
def test_intervals_of_means_end_where_the_metric_does(name, low, high):
    for values in ([low, low + 0.01, low + 0.2], [high, high - 0.01, high - 0.2]):
        mean = results_module._mean(name, values, 0.2)
        assert low <= mean["low"] <= mean["seeds_low"] <= mean["mean"] <= mean["seeds_high"] <= mean["high"] <= high


def test_the_figure_is_drawn(tmp_path, summary):
    save_figure(interval_figure(summary, experiment(), ("macro_f1", "average_precision")), tmp_path / "one.svg")
    assert (tmp_path / "one.svg").stat().st_size > 10_000


def test_the_report_has_what_the_tables_have(tmp_path):
    made, results = experiment(TASKS), results_table(rows(TASKS))
    page = write_report(tmp_path, made, results, summarise(results, made), "the <command>").read_text()
    assert "missing:" not in page
    assert "the &lt;command&gt;" in page
    assert "<b>" not in page.split("</style>")[1]
    assert "Mean ranks over 6 tasks" in page
    assert "Failed cells" in page
    interval = r"<br><small>(seeds )?\+?\.\d+ to \+?\.\d+</small>"
    assert re.search(rf"<td class=number>\.613({interval}){{2}}</td>", page)
    assert re.search(
        rf"<td class=number>\+\.110\*?({interval}){{2}}<br><small>p = \.\d+</small><br><small>detects ", page
    )
    assert "Chosen options" not in page, "nothing was searched"
    for name in ("table.md", "table.tex", "results.parquet"):
        assert f'<a href="{name}">' in page
    assert REASON.replace("&", "&amp;") in page
    written = pd.read_csv(tmp_path / "figures" / "intervals.csv")
    assert len(written) == len(summarise(results, made))
