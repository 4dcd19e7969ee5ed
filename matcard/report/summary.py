"""What a run is: in a paragraph and a few numbers, its classes, what was left out, its options and environment."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from matcard.errors import listed
from matcard.evaluation.confusion import successes
from matcard.evaluation.figures import distinct_figure
from matcard.evaluation.metrics import metric_label, undefined
from matcard.files import read_json
from matcard.report.page import code, interval, paragraph, plural, score, share, table
from matcard.training.config import config_from_dict, config_to_dict, flatten, overlaid, read_default
from matcard.training.options import BY_CLASS

if TYPE_CHECKING:
    from matcard.data.draws import Distinct
    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


_TILES = ("minority_recall", "balanced_accuracy", "macro_f1", "average_precision", "accuracy", "ece")
_LOOSE = 20
"""With fewer test crystals of a class its recall is loose: the interval spans some .4."""

PARTS = {"train": "training", "val": "validation", "test": "test"}
_LISTED = 12


def summary(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Say what was trained on what, and how good it is, in plain words and in six numbers."""
    sentences = [_data(run), _result(run), *_doubts(run)]
    return paragraph(" ".join(sentences), "lead") + _tiles(run)


def _data(run: FinishedRun) -> str:
    n = {part: len(rows.ids) for part, rows in run.parts.items()}
    target = run.config["data"]["target"]
    of = f" of “{target}”" if target else ""
    return (
        f"This network tells {len(run.class_names)} classes{of} apart ({listed(run.class_names, 7)}). It was trained "
        f"on {n['train']:,} {run.noun}s of {Path(run.source).name}; {n['val']:,} more chose the epoch and the decision "
        f"rule, and {n['test']:,} were kept aside for the figures below. They were divided by "
        f"{run.split_kind.replace('_', ' ')}."
    )


def loss_text(loss: dict[str, Any]) -> str:
    """Name a loss with what decides it: its invariant, its combination, its scale."""
    where = [loss[key] for key in ("invariant", "combine") if loss.get(key)]
    if scale := loss.get("scale"):
        where.append(f"scale {scale}" if isinstance(scale, str) else f"scale {scale:g}")
    return str(loss["name"]).replace("_", " ") + (f" ({', '.join(where)})" if where else "")


def _result(run: FinishedRun) -> str:
    metrics = run.metrics
    rare = metrics["minority_classes"]
    recalls = [metrics["recall"][name] for name in rare or run.class_names]
    found, of = sum(map(successes, recalls)), sum(recall["n"] for recall in recalls)
    whose = f"minority classes ({listed(rare)})" if rare else "all classes, none of them a minority,"
    text = f"Of the {of:,} test {run.noun}s of {whose} it finds {found:,} ({share(found / of) if of else 'none there'})"
    return f"{text}; over all classes the mean recall is {score(metrics['balanced_accuracy'])}."


def _doubts(run: FinishedRun) -> list[str]:
    """Say what a reader should not make of these figures."""
    recalls = run.metrics["recall"]
    few = [name for name in run.class_names if 0 < recalls[name]["n"] < _LOOSE]
    none = [name for name in run.class_names if not recalls[name]["n"]]
    never = [
        name for k, name in enumerate(run.class_names) if recalls[name]["n"] and not (run.test.predicted == k).any()
    ]
    known_types = run.noun == "crystal" and run.split_kind in ("random", "formula")
    doubts = (
        (never, f"It never predicts {listed(never)}."),
        (few, f"The test part has fewer than {_LOOSE} {run.noun}s of {listed(few)}: their figures are rough."),
        (none, f"It has none of {listed(none)}, of which nothing can be said."),
        (known_types, "Crystals of the same structure type stand on both sides, so that new types may fare worse."),
        (True, "This is one run with one seed: another would differ by a few hundredths."),
    )
    return [text for of, text in doubts if of]


def _tiles(run: FinishedRun) -> Markup:
    tiles = []
    for metric in _TILES:
        value = run.metrics[metric]
        low, high = run.metrics["intervals"].get(metric, (None, None))
        below = f"95 %: {interval(low, high)}" if not undefined(low) else "0 is best" if metric == "ece" else ""
        if metric == "average_precision" and len(run.class_names) == 2:
            below += f"; chance {run.metrics['prevalence'][run.class_names[1]]:.2f}"
        tile = Markup("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>")
        tiles.append(tile.format(metric_label(metric), score(value), below))
    note = paragraph(
        "On the test part, at the most likely class (argmax). The intervals are of a bootstrap within each class: they "
        f"hold for this network and other {run.noun}s of the same kind, not for another seed.",
        "note",
    )
    return Markup('<dl class="tiles">{}</dl>').format(Markup("").join(tiles)) + note


def class_counts(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Show how many crystals of each class every part holds, and how many rows of it were not used."""
    counts = {part: run.counts(part) for part in PARTS}
    left_out = run.left_out["class"].value_counts()
    train = counts["train"]
    table_ = pd.DataFrame({"class": run.class_names, **counts})
    table_["left_out"] = [int(left_out.get(name, 0)) for name in run.class_names]
    table_["train_share"] = train / train.sum()
    found = run.distinct
    further = {"distinct": None if found is None else found.here, "drawn": run.drawn}
    beside = [name for name, numbers in further.items() if numbers is not None]
    for name in beside:
        table_[name] = further[name]
    figures.data("class-counts", table_)
    bar = Markup('{:.1f} % <span class="bar" style="--share: {:.4f}"></span>')
    rows = [
        (row[0], *(f"{n:,}" for n in row[1:5]), *(f"{n:,.1f}" for n in row[6:]), bar.format(100 * row[5], row[5]))
        for row in table_.itertuples(index=False)
    ]
    rare = np.flatnonzero(run.minority).tolist()
    sums = table_[[*PARTS, "left_out"]].sum()
    counted = table(
        ("class", *PARTS.values(), "left out", *beside, "share of training"),
        rows,
        caption=f"{run.noun.capitalize()}s of each class. Orange: minority classes, below 1/{len(run.class_names)} of "
        "the training part",
        marked=rare,
        footer=("all", *(f"{n:,}" for n in sums), *("" for _ in beside), ""),
    )
    return counted if found is None else counted + _distinct(run, found, figures)


def _distinct(run: FinishedRun, found: Distinct, figures: FigureFolder) -> Markup:
    """Say how many of a class are distinct, and draw it against the scale where several were counted."""
    said = paragraph(
        "Distinct: the sum of the spread's shares within the class, so that copies count once together. At scale "
        f"{found.scale:g} those are copies that lie well within 1/{found.scale:g} of the median distance between "
        "families."
    )
    if run.config["trainer"]["sampler"] in BY_CLASS:
        said += Markup("").join(paragraph(f"Beware: {text}.") for text in found.warnings(f"{run.noun}s"))
    if len(found.scales) == 1:
        return said
    numbers = pd.DataFrame(found.numbers, columns=list(found.class_names))
    numbers.insert(0, "scale", found.scales)
    least = int(np.nanargmin(found.shares[found.scales.index(found.scale)]))
    return said + figures.add(
        "distinct",
        distinct_figure(found.scales, found.shares, found.class_names, found.scale),
        numbers,
        alt=f"Share of the training {run.noun}s of each class that is distinct, at scales from {found.scales[0]:g} to "
        f"{found.scales[-1]:g}.",
        caption=f"The share of a class's training {run.noun}s that is distinct, against the scale at which they are "
        "told apart. A line that stays low where others have risen is a class of copies. The lowest at the chosen "
        f"scale is “{found.class_names[least]}”: {found.here[least]:,.1f} of {found.samples[least]:,}.",
    )


def left_out(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List what was not used, by reason."""
    rows = run.left_out
    if not len(rows):
        return paragraph("Nothing: every row of the source was used.")
    figures.data("left-out", rows)
    reasons = rows["reason"].value_counts()
    cut = f", the first {_LISTED} of {len(reasons):,}" if len(reasons) > _LISTED else ""
    said = Markup("{} of the source were not used. All of them are listed in {}.")
    return paragraph(said.format(plural(len(rows), "row"), code("left_out.csv"))) + table(
        ("reason", "rows"),
        [(reason, f"{n:,}") for reason, n in reasons.head(_LISTED).items()],
        caption=f"Reasons{cut}",
    )


def options(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List the options that differ from their defaults, and behind them all."""
    # Those of a run that names nothing but the same loss and model.
    names = {part: {"name": run.config[part]["name"]} for part in ("loss", "model")}
    resolved = config_to_dict(config_from_dict(overlaid(read_default(), names)))
    defaults = {name: _text(value) for name, value in flatten(resolved).items()}
    given = {name: _text(value) for name, value in flatten(run.config).items()}
    changed = [
        (code(f"--{name}"), value, defaults.get(name, ""))
        for name, value in given.items()
        if defaults.get(name) != value
    ]
    every = [(code(f"--{name}"), value) for name, value in given.items()]
    return table(
        ("option", "value", "default"), changed, caption="Options that differ from their defaults", texts=3
    ) + Markup("<details><summary>All {} options</summary>{}</details>").format(
        len(every), table(("option", "value"), every, caption="Options of the run", texts=2)
    )


def environment(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List versions, commit and device, and the command."""
    found = dict(read_json(run.files.environment))
    command = found.pop("command", None)
    packages = found.pop("packages", {})
    rows = [(name.replace("_", " "), _text(value)) for name, value in found.items()]
    rows += [(name, _text(version)) for name, version in packages.items() if version]
    found_table = table(("what", "value"), rows, caption="Environment", texts=2)
    if not command:
        return found_table
    return found_table + paragraph("Command:") + Markup("<pre><code>{}</code></pre>").format(shlex.join(command))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else f"{value}"
