"""The tables of a comparison: what they say, and how Markdown and LaTeX write it."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matcard.comparison.experiment import has_given_test
from matcard.comparison.metrics import metric_label, rules_of
from matcard.comparison.search import STARTUP
from matcard.comparison.summary import SIGNIFICANT, outcomes
from matcard.report.html import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from matcard.comparison.experiment import Experiment, Task

DASH = "–"


@dataclass(frozen=True)
class TextTable:
    """Cells as text, not yet escaped."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def short_tables(summary: pd.DataFrame, experiment: Experiment) -> list[TextTable]:
    """Give for each task a table of the headline metrics, a mean and half of its interval in a cell."""
    short = dataclasses.replace(experiment, metrics=experiment.headline_metrics)
    return [
        TextTable(task.name, *_table(summary[summary["task"] == task.name], short, _brief)) for task in experiment.tasks
    ]


def score_tables(summary: pd.DataFrame, experiment: Experiment) -> list[TextTable]:
    """Give for each task a table of means with intervals, and one of differences from the reference."""
    tables = []
    for task in experiment.tasks:
        of_task = summary[summary["task"] == task.name]
        means = _table(of_task, experiment, _mean)
        tables.append(TextTable(f"{task.name}: mean over seeds (95 % interval)", *means))
        if len(experiment.methods) > 1:
            header, rows = _table(of_task, experiment, _difference)
            rows = tuple(row for row in rows if row[0] != experiment.reference)
            tables.append(TextTable(f"{task.name}: paired difference from {experiment.reference}", header, rows))
    return tables


def outcome_table(summary: pd.DataFrame, experiment: Experiment) -> TextTable:
    """Count wins, ties and losses against the reference over tasks, by the first metric and average precision."""
    metrics = list(dict.fromkeys([experiment.metrics[0], "average_precision"]))
    shown = [(m, rule) for m in metrics if m in experiment.metrics for rule in _present_rules(summary, m)]
    counts = [outcomes(summary, experiment, metric, rule) for metric, rule in shown]
    labels = [method.label for method in experiment.methods if method.label != experiment.reference]
    rows = []
    for index, label in enumerate(labels):
        cells = []
        for count in counts:
            row = count.iloc[index]
            undecided = f" ({row['undecided']} undecided)" if row["undecided"] else ""
            cells.append(f"{row['win']} / {row['tie']} / {row['loss']}{undecided}")
        rows.append((label, *cells))
    header = ("loss", *(_heading(metric, rule, summary) for metric, rule in shown))
    title = f"Tasks won / tied / lost against {experiment.reference}, at corrected p < {SIGNIFICANT:g}"
    return TextTable(title, header, tuple(rows))


def captions(experiment: Experiment) -> list[str]:
    """Say how the figures came about."""
    if experiment.protocol == "published":
        return [_PUBLISHED, f"{experiment.seeds} initialisations on one split.", _TESTS, *experiment.notes]
    seeds = f"{plural(experiment.seeds, 'seed')}, each with its own split and first weights"
    said = [f"{seeds}; {_tuned(experiment)}; the test part is looked at once.", _DECISION, _TESTS]
    if given := [task.name for task in experiment.tasks if has_given_test(task.config["data"])]:
        said.append(f"{', '.join(given)}: {_GIVEN}")
    if leaking := [task.name for task in experiment.tasks if experiment.leaks(task)]:
        said.append(f"{', '.join(leaking)}: {_LEAK}")
    return [*said, *experiment.notes]


def _tuned(experiment: Experiment) -> str:
    """Say how many trials there were, and on which splits, once for all data sets where it is the same."""
    tasks: dict[str, list[str]] = {}
    for task in experiment.tasks:
        tasks.setdefault(_tuned_on(experiment, task), []).append(task.name)
    if len(tasks) == 1:
        return next(iter(tasks))
    return "; ".join(f"{', '.join(names)}: {how}" for how, names in tasks.items())


def _tuned_on(experiment: Experiment, task: Task) -> str:
    if not (trials := experiment.trials_of(task)):
        return "options as given, not tuned"
    each = experiment.tunes_on(task) == "each-seed"
    where = "anew for each seed on its own split" if each else "on the first seed's split for all seeds"
    what = f"{plural(trials, 'trial')} each for learning rate and own options ({_searched(trials)})"
    return f"{what}, chosen on validation, {where}"


def _searched(trials: int) -> str:
    """Say how trials are chosen."""
    parts = ["the options as they are"]
    if drawn := min(STARTUP, trials) - 1:
        parts.append(f"{drawn} drawn at random")
    if guided := trials - drawn - 1:
        parts.append(f"{guided} by TPE")
    return ", ".join(parts)


_PUBLISHED = (
    "Protocol of the published code, not matcard's: no validation part, and the epoch that is best on the test part."
)
_DECISION = (
    "“Decision”: with the threshold or class offsets that were best on the validation part, or by a rule that the "
    "method has of its own. No rule changes average precision, so a gain at argmax that is gone at the decision is one "
    "of convenience."
)
_GIVEN = (
    "the test part comes with the data and is the same for every seed, so intervals and p tell of first weights and "
    "training parts, not of another draw of test samples."
)
_LEAK = (
    "options were chosen on the first seed's split alone, for cost. Rows of its training and validation part stand in "
    "the test parts of the other seeds and have thus been seen in the choice; alike for every loss."
)
_TESTS = (
    "Intervals of means by Student's t over seeds; differences are paired by seed, their intervals and p by the "
    "corrected resampled t-test (Nadeau and Bengio 2003), p by Holm for the number of losses. "
    "± is half of such an interval, * a difference from the reference at p < .05."
)


def to_markdown(tables: Sequence[TextTable], *, title: str, command: str, captions: Sequence[str]) -> str:
    """Write the tables, with the command that makes them."""
    parts = [f"# {_md(title)}", f"    {command}", "  \n".join(map(_md, captions))]
    for table in tables:
        lines = [tuple(map(_md, row)) for row in (table.header, *table.rows)]
        lines.insert(1, ("---", *["---:"] * (len(table.header) - 1)))
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {_md(table.title)}\n\n{body}")
    return "\n\n".join(parts) + "\n"


def to_latex(tables: Sequence[TextTable], *, command: str, captions: Sequence[str]) -> str:
    """Write the tables for LaTeX with booktabs."""
    said = [command, *captions, r"Needs \usepackage{booktabs}."]
    parts = ["\n".join(f"% {' '.join(line.split())}" for line in said)]
    for table in tables:
        lines = [" & ".join(map(_tex, row)) + r" \\" for row in (table.header, *table.rows)]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_tex(table.title)}}}",
                    rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
                    r"\toprule",
                    lines[0],
                    r"\midrule",
                    *lines[1:],
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _table(
    of_task: pd.DataFrame, experiment: Experiment, write: Any
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    columns = [(metric, rule) for metric in experiment.metrics for rule in _present_rules(of_task, metric)]
    rows = []
    for method in experiment.methods:
        of_method = of_task[of_task["method"] == method.label]
        cells = []
        for metric, rule in columns:
            found = of_method[(of_method["metric"] == metric) & (of_method["rule"] == rule)].iloc[0].to_dict()
            cells.append(write(found))
        rows.append((method.label, *cells))
    return ("loss", *(_heading(metric, rule, of_task) for metric, rule in columns)), tuple(rows)


def _present_rules(summary: pd.DataFrame, metric: str) -> list[str]:
    present = set(summary[summary["metric"] == metric]["rule"])
    return [rule for rule in rules_of(metric) if rule in present]


def _heading(metric: str, rule: str, summary: pd.DataFrame) -> str:
    return metric_label(metric) if len(_present_rules(summary, metric)) == 1 else f"{metric_label(metric)}, {rule}"


def _mean(found: dict[str, Any]) -> str:
    if found["finished"] and not found["n"]:
        return DASH
    missing = found["seeds"] - found["finished"]
    why = ""
    if found["failed"]:
        why = f"failed: {_shortened(found['failed'])}" if not found["n"] else f" ({missing} of {found['seeds']} failed)"
    elif found["n"] and found["n"] < found["seeds"]:
        why = f" ({found['n']} of {found['seeds']} seeds)"
    elif missing:
        why = "not run"
    if not found["n"]:
        return why
    if math.isnan(found["low"]):
        return f"{_score(found['mean'])}{why}"
    return f"{_score(found['mean'])} ({_score(found['low'])} to {_score(found['high'])}){why}"


def _brief(found: dict[str, Any]) -> str:
    if not found["n"] or math.isnan(found["low"]) or found["n"] < found["seeds"]:
        return _mean(found)
    mark = "*" if found["p_holm"] < SIGNIFICANT else ""
    return f"{_score(found['mean'])}{mark} ± {_score(found['half'])}"


def _difference(found: dict[str, Any]) -> str:
    if math.isnan(found["difference"]):
        return DASH
    text = _signed(found["difference"])
    if math.isnan(found["p_holm"]):
        return text
    p = "p < .001" if found["p_holm"] < 0.001 else f"p = {_score(found['p_holm'])}"
    mark = "*" if found["p_holm"] < SIGNIFICANT else ""
    if math.isnan(found["difference_low"]):  # the same for all seeds
        return f"{text}, {p}"
    return f"{text}{mark} ({_signed(found['difference_low'])} to {_signed(found['difference_high'])}), {p}"


def _score(value: float) -> str:
    """Write a score as .755, an undefined one as a dash."""
    if math.isnan(value):
        return DASH
    text = f"{abs(value):.3f}"
    return ("−" if value < 0 and float(text) else "") + (text[1:] if text.startswith("0") else text)


def _signed(value: float) -> str:
    return _score(value) if value < 0 or math.isnan(value) else f"+{_score(value)}"


def _shortened(reason: str) -> str:
    line = reason.splitlines()[0] if reason else ""
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


_LONGEST = 80
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$])")
_LATEX = {
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


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
