"""The tables of a comparison: what they say, and how Markdown and LaTeX write it."""

from __future__ import annotations

import math
import re
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from matcard.comparison.experiment import has_fixed_test
from matcard.comparison.plan import STARTUP
from matcard.comparison.results import SIGNIFICANT, mean_scores, metric, outcomes, rules_of
from matcard.evaluation.statistics import compare_ranks
from matcard.report.page import DASH, plural
from matcard.work.trainings import DEVELOPMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matcard.comparison.experiment import Experiment, Task


class TextTable(NamedTuple):
    """Cells as text, not yet escaped."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def short_tables(summary: pd.DataFrame, experiment: Experiment) -> list[TextTable]:
    """Give for each task a table of the headline metrics, a mean and half of its intervals in a cell."""
    metrics = experiment.headline_metrics
    return [_table(summary, experiment, task, task.name, metrics, _brief) for task in experiment.tasks]


def score_tables(summary: pd.DataFrame, experiment: Experiment) -> list[TextTable]:
    """Give for each task a table of means with intervals, and one of differences from the reference."""
    tables = []
    for task in experiment.tasks:
        titles = (f"{task.name}: mean over seeds", f"{task.name}: paired difference from {experiment.reference}")
        tables.append(_table(summary, experiment, task, titles[0], experiment.metrics, _mean))
        if len(experiment.methods_of(task)) > 1:
            table = _table(summary, experiment, task, titles[1], experiment.metrics, _difference)
            rows = tuple(row for row in table.rows if row[0] != experiment.reference)
            tables.append(TextTable(table.title, table.header, rows))
    return tables


def task_tables(summary: pd.DataFrame, experiment: Experiment) -> list[TextTable]:
    """Compare losses over all data sets: wins, ties and losses against the reference, and mean ranks.

    They are of the first metric and average precision; none where there is one data set or one loss, and no ranks where
    no two losses have a score of each data set.
    """
    if min(len(experiment.tasks), len(experiment.methods)) < 2:
        return []
    names = dict.fromkeys([experiment.metrics[0], "average_precision"])
    shown = [(name, rule) for name in names for rule in _present_rules(summary, name)]
    header = ("loss", *(_heading(name, rule, summary) for name, rule in shown))
    labels = [method.label for method in experiment.methods]
    counts, ranked = [], []
    for name, rule in shown:
        found = outcomes(summary, experiment, name, rule).itertuples()
        undecided = " ({} undecided)".format
        counts.append([f"{n.win} / {n.tie} / {n.loss}{undecided(n.undecided) if n.undecided else ''}" for n in found])
        scores = mean_scores(summary, experiment, name, rule)
        column = dict.fromkeys([*labels, _CRITICAL, _FRIEDMAN], DASH)
        if min(scores.shape) > 1:
            ranks = compare_ranks(scores.to_numpy())
            column |= {str(label): f"{rank:.2f}" for label, rank in zip(scores, ranks.mean, strict=True)}
            column |= {_CRITICAL: f"{ranks.critical_difference:.2f}", _FRIEDMAN: f"{ranks.friedman_p:.3f}"}
        ranked.append(column)
    rivals = [label for label in labels if label != experiment.reference]
    won = f"Tasks won / tied / lost against {experiment.reference}, at corrected p < {SIGNIFICANT:g}"
    ranks_title = f"Mean ranks over {len(experiment.tasks)} tasks, 1 being the best"
    tables = [TextTable(won, header, tuple(zip(rivals, *counts, strict=True)))]
    if any(text != DASH for column in ranked for text in column.values()):
        rows = tuple((name, *(column[name] for column in ranked)) for name in ranked[0])
        tables.append(TextTable(ranks_title, header, rows))
    return tables


_CRITICAL, _FRIEDMAN = "critical difference (Nemenyi)", "p (Friedman)"


def captions(experiment: Experiment) -> list[str]:
    """Say how the figures came about."""
    seeds = f"{plural(experiment.seeds, 'seed')}, each with its own split and first weights"
    said = [f"{seeds}; {_tuned(experiment)}; the test part is looked at once.", _DECISION, _TESTS]
    tasks = experiment.tasks
    for names, text in (
        ([task.name for task in tasks if has_fixed_test(task.config["data"])], _GIVEN),
        ([task.name for task in tasks if experiment.leaks(task)], _LEAK),
    ):
        if names:
            said.append(f"{', '.join(names)}: {text}")
    return [*said, *experiment.notes]


def _tuned(experiment: Experiment) -> str:
    """Say how many trials there were, and on which splits, once for all data sets where it is the same."""
    how = {task.name: _tuned_on(experiment, task) for task in experiment.tasks}
    said = dict.fromkeys(how.values())
    return next(iter(said)) if len(said) == 1 else "; ".join(f"{name}: {text}" for name, text in how.items())


def _tuned_on(experiment: Experiment, task: Task) -> str:
    methods = experiment.methods_of(task)
    fixed = [method.label for method in methods if not experiment.searched(task, method)]
    if len(fixed) == len(methods):
        return "options as given, not tuned"
    parts = ["the options as they are"]
    if drawn := min(STARTUP, task.trials) - 1:
        parts.append(f"{drawn} drawn at random")
    if guided := task.trials - drawn - 1:
        parts.append(f"{guided} by TPE")
    what = f"{plural(task.trials, 'trial')} each for learning rate and own options ({', '.join(parts)})"
    searched = f"{what}, chosen {_WHERE[experiment.tunes_on(task)]}"
    return f"{searched} ({', '.join(fixed)} as given)" if fixed else searched


_WHERE = {
    "each-seed": "on validation, anew for each seed on its own split",
    "first-seed": "on validation, on the first seed's split for all seeds",
    "development": f"once by a development part, {DEVELOPMENT:.0%} of the samples in whole groups, after training on "
    "all others, those of the test parts among them; it stands in no test part, and goes to every training part",
}
_DECISION = (
    "“Decision”: with the threshold or class offsets that were best on the validation part, or by a rule that the "
    "method has of its own. No rule changes average precision, so a gain at argmax that is gone at the decision is one "
    "of convenience."
)
_GIVEN = (
    "the test part is the same for every seed, so intervals and p tell of first weights and "
    "training parts, not of another draw of test samples."
)
_LEAK = (
    "options were chosen on the first seed's split alone, for cost. Rows of its training and validation part stand in "
    "the test parts of the other seeds and have thus been seen in the choice; alike for every loss."
)
_TESTS = (
    "Two 95 % intervals stand in each cell. The first is corrected for resampling (Nadeau and Bengio 2003) and tells "
    "of another sample of such data; the second, over seeds alone, by Student's t, tells of these data. ± is half of "
    "each. Differences are paired by seed; p is that of the corrected resampled t-test, by Holm for the number of "
    "losses, * a difference from the reference at p < .05; “detects” is the smallest true difference that this test "
    "finds at p < .05, before Holm, four times in five."
)


def to_markdown(tables: Sequence[TextTable], *, title: str, command: str, captions: Sequence[str]) -> str:
    """Write the tables, with the command that makes them."""
    parts = [f"# {_md(title)}", f"    {command}", "  \n".join(map(_md, captions)), *map(markdown_table, tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: TextTable) -> str:
    """Write a table under its title."""
    lines = [tuple(map(_md, row)) for row in (table.header, *table.rows)]
    lines.insert(1, ("---", *["---:"] * (len(table.header) - 1)))
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {_md(table.title)}\n\n{body}"


def to_latex(tables: Sequence[TextTable], *, command: str, captions: Sequence[str]) -> str:
    """Write the tables for LaTeX with booktabs."""
    said = [command, *captions, r"Needs \usepackage{booktabs}."]
    parts = ["\n".join(f"% {' '.join(line.split())}" for line in said)]
    for table in tables:
        style = pd.DataFrame(table.rows, columns=table.header).style.hide(axis="index")
        style = style.format(_tex).format_index(_tex, axis="columns")
        how: dict[str, Any] = {"hrules": True, "position_float": "centering", "caption": _tex(table.title)}
        parts.append(style.to_latex(column_format=f"l{'r' * (len(table.header) - 1)}", **how).rstrip())
    return "\n\n".join(parts) + "\n"


def _table(
    summary: pd.DataFrame,
    experiment: Experiment,
    task: Task,
    title: str,
    metrics: Sequence[str],
    write: Callable[[dict[str, Any]], str],
) -> TextTable:
    of_task, methods = summary[summary["task"] == task.name], experiment.methods_of(task)
    columns = [(name, rule) for name in metrics for rule in _present_rules(of_task, name)]
    found: Any = of_task.set_index(["method", "metric", "rule"]).to_dict("index")
    rows = [(m.label, *(write(found[m.label, name, rule]) for name, rule in columns)) for m in methods]
    return TextTable(title, ("loss", *(_heading(name, rule, of_task) for name, rule in columns)), tuple(rows))


def _present_rules(summary: pd.DataFrame, name: str) -> list[str]:
    present = set(summary[summary["metric"] == name]["rule"])
    return [rule for rule in rules_of(name) if rule in present]


def _heading(name: str, rule: str, summary: pd.DataFrame) -> str:
    label = metric(name).label
    return label if len(_present_rules(summary, name)) == 1 else f"{label}, {rule}"


def _mean(found: dict[str, Any]) -> str:
    if not found["n"]:
        if found["finished"]:
            return DASH
        return f"failed: {shorten(found['failed'], _LONGEST, placeholder=' …')}" if found["failed"] else "not run"
    why = ""
    if found["failed"]:
        why = f" ({found['seeds'] - found['finished']} of {found['seeds']} failed)"
    elif found["n"] < found["seeds"]:
        why = f" ({found['n']} of {found['seeds']} seeds)"
    return f"{_score(found['mean'])}{_intervals(found, '', _score)}{why}"


def _brief(found: dict[str, Any]) -> str:
    if math.isnan(found["half"]) or found["n"] < found["seeds"]:
        return _mean(found)
    mark = "*" if found["p_holm"] < SIGNIFICANT else ""
    return f"{_score(found['mean'])}{mark} ± {_score(found['half'])} (seeds {_score(found['seeds_half'])})"


def _difference(found: dict[str, Any]) -> str:
    if math.isnan(found["difference"]):
        return DASH
    text = _signed(found["difference"])
    if math.isnan(found["p_holm"]):
        return text
    p = "p < .001" if found["p_holm"] < 0.001 else f"p = {_score(found['p_holm'])}"
    if math.isnan(found["detectable"]):  # the same for all seeds
        return f"{text}, {p}"
    mark = "*" if found["p_holm"] < SIGNIFICANT else ""
    return f"{text}{mark}{_intervals(found, 'difference_', _signed)}, {p}, detects {_score(found['detectable'])}"


def _intervals(found: dict[str, Any], prefix: str, write: Callable[[float], str]) -> str:
    """Give the interval that is corrected for resampling, and the one over seeds alone; nothing of a single seed."""
    shown = [
        f"{name}{write(found[f'{prefix}{of}low'])} to {write(found[f'{prefix}{of}high'])}"
        for name, of in (("", ""), ("seeds ", "seeds_"))
        if not math.isnan(found[f"{prefix}{of}low"])
    ]
    return f" ({'; '.join(shown)})" if shown else ""


def _score(value: float) -> str:
    """Write a score as .755, an undefined one as a dash."""
    if math.isnan(value):
        return DASH
    text = f"{abs(value):.3f}"
    return ("−" if value < 0 and float(text) else "") + (text[1:] if text.startswith("0") else text)


def _signed(value: float) -> str:
    return _score(value) if value < 0 or math.isnan(value) else f"+{_score(value)}"


_LONGEST = 80
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$])")
_LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{symbol: f"{{{symbol}}}" for symbol in "[*"},  # after the end of a row these would be its options
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    **{symbol: rf"\{symbol}" for symbol in "&%$#_"},
}


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _tex(text: object) -> str:
    return " ".join(str(text).split()).translate(str.maketrans(_LATEX))
