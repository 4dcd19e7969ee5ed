"""What a run prints: how many samples of each class there are, and how many of them are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from matcard.evaluation.confusion import minority_mask, successes
from matcard.evaluation.metrics import metric_label, metric_names, undefined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float, Int
    from rich.console import Console


MINORITY_MARK = "*"
_MINORITY_STYLE = "bold yellow"
_SUMMARY = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "average_precision")


def _table(title: str, headers: Sequence[str], **options: Any) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", caption_justify="left", **options)
    for k, header in enumerate(headers):
        table.add_column(header, **({"justify": "right", "no_wrap": True} if k else {"overflow": "fold"}))
    return table


def print_scores(console: Console, metrics: Mapping[str, Any]) -> None:
    """Print what is known of a set of predictions: recall of each class, averages, calibration, predicted numbers."""
    console.print(recall_table(metrics))
    console.print(averages_table(metrics))
    for line in (calibration_line(metrics), *value_lines(metrics)):
        console.print(line, markup=False)


def recall_table(metrics: Mapping[str, Any]) -> Table:
    """Show recall per class with its Wilson interval and counts, minority classes marked, a summary below."""
    rare = set(metrics["minority_classes"])
    ranking = metrics.get("ranking")
    headers = ("class", "recall", "95 % interval", "found", "precision", "F1")
    table = _table("Recall per class", (*headers, *(["AP (chance)"] if ranking else [])), caption=summary_line(metrics))
    for name, recall in metrics["recall"].items():
        of = ranking[name] if ranking else {}  # the prevalence is what a random order gives
        table.add_row(
            _class_label(name, name in rare),
            format_score(recall["value"]),
            f"{recall['low']:.3f} to {recall['high']:.3f}" if recall["n"] else "no samples",
            f"{successes(recall)} / {recall['n']}",
            format_score(metrics["precision"][name]["value"]),
            format_score(metrics["f1"][name]["value"]),
            *([f"{format_score(of['average_precision'])} ({format_score(of['prevalence'])})"] if of else []),
            style=_MINORITY_STYLE if name in rare else None,
        )
    return table


def summary_line(metrics: Mapping[str, Any]) -> str:
    """Give the averages in a line, and over how many classes they run."""
    scores = [f"{metric_label(name)} {format_score(metrics[name])}" for name in _SUMMARY]
    rare = metrics["minority_classes"]
    first = "no minority class (none has a share of the training part below 1/C)"
    if rare:
        over = f"{metrics['minority_classes_with_support']} of {len(rare)} {MINORITY_MARK} classes"
        first = f"{metric_label('minority_recall')} {format_score(metrics['minority_recall'])} ({over})"
    present, total = metrics["classes_with_support"], len(metrics["recall"])
    return " · ".join([first, *scores, f"{metrics['n']} samples, {present} of {total} classes"])


def class_count_table(
    class_names: Sequence[str],
    counts_by_part: Mapping[str, Int[np.ndarray, " C"]],
    left_out: Int[np.ndarray, " C"] | None = None,
    *,
    distinct: Float[np.ndarray, " C"] | None = None,
    drawn: Float[np.ndarray, " C"] | None = None,
) -> Table:
    """Show how many samples of each class every part holds.

    Args:
        class_names: C names.
        counts_by_part: part -> counts; the first is the training part, and says which classes are minority.
        left_out: rows that could not be read, by class.
        distinct: how many distinct samples of each class the training part holds.
        drawn: training samples of each class that an epoch draws, where these are not those that there are.
    """
    train = np.asarray(next(iter(counts_by_part.values())))
    rare = minority_mask(train)
    columns = {**counts_by_part} if left_out is None else {**counts_by_part, "left out": left_out}
    shares = {"share": train} if drawn is None else {"share": train, "drawn": np.asarray(drawn)}
    headers = ("class", *columns, *([] if distinct is None else ["distinct"]), *shares)
    table = _table("Classes", headers, show_footer=True)
    for column, total in zip(table.columns, ("all", *(str(int(np.sum(n))) for n in columns.values())), strict=False):
        column.footer = total
    for index, name in enumerate(class_names):
        table.add_row(
            _class_label(name, bool(rare[index])),
            *(
                Text(
                    f"{counts[index]}",
                    style="bold red" if counts[index] == 0 and part not in ("left out", "cut") else "",
                )
                for part, counts in columns.items()
            ),
            *(() if distinct is None else (f"{distinct[index]:,.1f}",)),
            *(f"{of[index] / max(of.sum(), 1):.1%}" for of in shares.values()),
            style=_MINORITY_STYLE if rare[index] else None,
        )
    if rare.any():
        table.caption = f"{MINORITY_MARK} less than 1/{len(class_names)} of the training part"
    return table


def averages_table(metrics: Mapping[str, Any]) -> Table:
    """Show the averages with their bootstrap intervals, at argmax and at the decision rule.

    Where class shares were corrected (`corrected`), those scores stand in a last column. Where some classes have many,
    some few training samples, the recall of these groups stands below.
    """
    chosen, corrected = metrics["at_decision"], metrics.get("corrected")
    headers = ["metric", "most likely class", "95 % interval", "decision rule", "95 % interval"]
    headers += [] if corrected is None else ["shares corrected"]
    table = _table("Averages", headers, caption=f"decision rule: {chosen['rule']}")
    changed = metric_names(of_classes=True)
    for name in [*changed, *metric_names(of_classes=False)]:
        ruled = _with_interval(chosen, name) if name in changed else ("same", "")
        beside = [] if corrected is None else [format_score(corrected[name])]
        table.add_row(metric_label(name), *_with_interval(metrics, name), *ruled, *beside)
    groups = {group: shot for group, shot in metrics["shots"].items() if shot["classes"]}
    if len(groups) > 1:  # classes that are all alike in this have no tail
        for group, shot in groups.items():
            of_group = [scores["shots"][group]["recall"] for scores in (metrics, chosen)]
            at_argmax, at_rule = (format_score(recall) for recall in of_group)
            classes = "1 class" if shot["classes"] == 1 else f"{shot['classes']} classes"
            table.add_row(f"{group}-shot recall ({classes})", at_argmax, "", at_rule, "")
    return table


def shares_table(metrics: Mapping[str, Any], train_counts: Sequence[int]) -> Table:
    """Show the share of each class in the training part, among these samples, and the one corrected for."""
    corrected = metrics.get("corrected")
    beside = [] if corrected is None else [f"corrected for ({corrected['prior']})"]
    table = _table("Class shares", ("class", "training", "here", *beside))
    for (name, share), count in zip(metrics["prevalence"].items(), train_counts, strict=True):
        beside = [] if corrected is None else [f"{corrected['shares'][name]:.1%}"]
        table.add_row(_class_label(name, False), f"{count / sum(train_counts):.1%}", f"{share:.1%}", *beside)
    return table


def calibration_line(metrics: Mapping[str, Any]) -> str:
    """Say what the temperature fitted on validation does to the calibration of these samples."""
    after = metrics["calibrated"]
    words = [
        f"{metric_label(name)} {format_score(metrics[name])} -> {format_score(after[name])}"
        for name in ("ece", "log_loss", "brier")
    ]
    return f"at the temperature {after['temperature']:.2f} fitted on validation: {', '.join(words)}"


def value_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say how well numbers are predicted, one line each, and how well each source of the classes ranks them."""
    found = metrics.get("values", {})
    lines = [
        f"{name}: mean absolute error {of['mae']:.4g}, RMSE {of['rmse']:.4g}, R2 "
        f"{format_score(of['r2'])} of {of['values']:.0f}"
        for name, of in found.get("numbers", {}).items()
    ]
    if "average_precision" in found:
        class_head, number, mix = (
            format_score(found["average_precision"][name]) for name in ("class_head", "number", "mix")
        )
        lines.append(
            f"average precision: class head {class_head}, predicted number {number}, both {mix} (share of the number "
            f"{found['weight']:.2f})"
        )
    return lines


def format_score(value: float | None) -> str:
    """Write a score with three decimals, an undefined one as a dash."""
    return "-" if value is None or undefined(value) else f"{value:.3f}"


def _with_interval(metrics: Mapping[str, Any], name: str) -> tuple[str, str]:
    low, high = metrics["intervals"].get(name, (None, None))
    # One of no width means that no resample differs, not that the value is exact.
    interval = "" if undefined(low) or low == high else f"{low:.3f} to {high:.3f}"
    return format_score(metrics[name]), interval


def _class_label(name: str, rare: bool) -> Text:
    return Text(f"{name} {MINORITY_MARK}" if rare else name)
