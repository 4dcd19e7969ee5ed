"""How many of each class are found: confusions, recall with intervals, two decisions, a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.confusion import confusion_matrix, successes
from matcard.evaluation.figures import Series, confusion_figure, interval_figure, recall_figure
from matcard.evaluation.metrics import metric_label, metric_names, undefined
from matcard.report.page import DASH, code, interval, paragraph, records, score, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


def confusion(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw which classes are taken for which."""
    counts = confusion_matrix(run.test.targets, run.test.predicted, len(run.class_names))
    rare = run.metrics["minority_classes"]
    wrong = counts.copy()
    wrong[range(len(wrong)), range(len(wrong))] = 0
    true, called = divmod(int(wrong.argmax()), len(wrong))
    often = (
        f"The most frequent confusion: {wrong[true, called]:,} of {counts[true].sum():,} "
        f"{run.class_names[true]} are taken for {run.class_names[called]}."
        if wrong.any()
        else f"No test {run.noun} is taken for another class."
    )
    named = pd.DataFrame(counts, columns=run.class_names)
    named.insert(0, "true class \\ predicted", run.class_names)
    return figures.add(
        "confusion",
        confusion_figure(counts, run.class_names, rare),
        named,
        alt=f"Confusion matrix of {len(counts)} classes over {counts.sum():,} test {run.noun}s. {often}",
        caption=f"Test {run.noun}s by true and predicted class. {often}",
    )


def per_class(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw and list recall, precision and F1 of each class with intervals."""
    metrics = run.metrics
    by_class = class_table(metrics)
    rows = [
        (
            row["class"],
            f"{row['found']:,} of {row['support']:,}",
            score(row["recall"]),
            interval(row["recall_low"], row["recall_high"]),
            score(row["precision"]),
            interval(row["precision_low"], row["precision_high"]),
            score(row["f1"]),
        )
        for row in records(by_class)
    ]
    return figures.add(
        "recall",
        recall_figure(metrics),
        by_class,
        alt="Recall of each class on the test part with its 95 % Wilson interval: "
        + "; ".join(f"{row[0]} {row[2]}" for row in rows[:12]),
        caption="Recall of each class on the test part, with its 95 % Wilson interval, from the most frequent class to "
        "the rarest. Where an interval is wide, there are too few to say more.",
    ) + table(
        ("class", "found", "recall", "95 %", "precision", "95 %", "F1"),
        rows,
        caption="Each class of the test part, at argmax. Orange: minority classes",
        marked=[k for k, row in enumerate(rows) if row[0] in metrics["minority_classes"]],
    )


def class_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Give recall, precision and F1 of each class with their bounds as a table."""
    rows = []
    for name, recall in metrics["recall"].items():
        row: dict[str, Any] = {"class": name, "support": recall["n"], "found": successes(recall)}
        for key in ("recall", "precision", "f1"):
            found = metrics[key][name]
            row |= {key: found["value"], f"{key}_low": found["low"], f"{key}_high": found["high"]}
        rows.append(row)
    return pd.DataFrame(rows)


def decisions(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Show argmax beside the rule that was chosen on the validation part."""
    argmax, chosen = run.metrics, run.metrics["at_decision"]
    threshold = run.decision.threshold
    rule = chosen["rule"] + (f": {run.class_names[1]} above a probability of {threshold:.3f}" if threshold else "")
    text = paragraph(
        Markup(
            "A loss that reweights mostly moves the operating point, and so does a threshold. Beside the most likely "
            "class (argmax) stands the rule chosen on the validation part: {}. It is what {} uses. Average precision, "
            "ROC-AUC and calibration are the same for both, since no threshold changes them."
        ).format(rule, code("matcard.predict"))
    )
    return text + compared(
        run, figures, "decision", ("argmax", argmax), ("chosen on validation", chosen),
        metrics=metric_names(of_classes=True),
        caption="Recall of each class on the test part at argmax and with the rule chosen on validation, "
        "with 95 % Wilson intervals.",
    )  # fmt: skip


def against_baseline(run: FinishedRun, figures: FigureFolder, baseline: FinishedRun) -> Markup:
    """Compare with a baseline's run."""
    if baseline.class_names != run.class_names:
        raise InputError(
            f"the baseline {baseline.path} has other classes ({', '.join(baseline.class_names[:5])}): give a run of "
            "the same data and target"
        )
    same = set(run.test.ids.tolist()) == set(baseline.test.ids.tolist())
    name = baseline.config["loss"]["name"]
    label = f"baseline ({name})"
    ours = f"this run ({run.config['loss']['name']})"
    text = paragraph(
        Markup("The baseline is {}, trained with {}. {}").format(
            code(baseline.path.name), str(name).replace("_", " "),
            "Two runs do not tell a better loss from a lucky seed; a comparison over seeds does." if same else
            "Its test part is another one, so that differences are between test sets too: train both with the same "
            "split and seed."
        )
    )  # fmt: skip
    return text + compared(
        run, figures, "baseline", (label, baseline.metrics), (ours, run.metrics), metrics=metric_names(),
        caption=f"Recall of each class on the test part: {label} and {ours}, both at argmax, with 95 % Wilson "
        "intervals.",
    )  # fmt: skip


def compared(
    run: FinishedRun,
    figures: FigureFolder,
    name: str,
    first: tuple[str, Mapping[str, Any]],
    second: tuple[str, Mapping[str, Any]],
    *,
    metrics: Sequence[str],
    caption: str,
) -> Markup:
    """Draw the recall of each class of two sets of metrics, and list the averages of both."""
    both = (first, second)
    looks = ((style.BLUE, "o"), (style.ORANGE, "s"))
    order = sorted(run.class_names, key=lambda item: -first[1]["recall"][item]["n"])
    series = [
        Series(label, colour, marker, [found["recall"][item] for item in order])
        for (label, found), (colour, marker) in zip(both, looks, strict=True)
    ]
    tables = [class_table(found).set_index("class").loc[order].add_prefix(f"{label} ") for label, found in both]
    drawn = figures.add(
        name,
        interval_figure(order, series, "recall, with 95 % Wilson interval", marked=run.metrics["minority_classes"]),
        tables[0].join(tables[1]).reset_index(),
        alt=f"Recall of each class: {first[0]} and {second[0]}. "
        + "; ".join(f"{item} {score(series[0].values[k]['value'])}, {score(series[1].values[k]['value'])}"
                    for k, item in enumerate(order[:8])),
        caption=caption,
    )  # fmt: skip
    rows = []
    for metric in metrics:
        one, other = first[1][metric], second[1][metric]
        difference = DASH if undefined(one) or undefined(other) else score(other - one, "+.3f")
        rows.append((metric_label(metric), score(one), score(other), difference))
    return drawn + table(("", first[0], second[0], "difference"), rows, caption="Averages over the test part")
