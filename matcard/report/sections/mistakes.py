"""The mistakes that are worth looking at, with their structures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from matcard.data.groups import reduced_formulas
from matcard.report.figures.structure import Drawing, structure_figure
from matcard.report.groups import space_groups
from matcard.report.html import code, paragraph, plural, table

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Int

    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun

_EACH = 6


def mistakes(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Show the most confident mistakes and the hardest samples of minority classes; crystals with their structures."""
    wrong = np.flatnonzero(~run.test.right)
    if not len(wrong):
        return paragraph(f"None: the class of all {plural(len(run.test.ids), f'test {run.noun}')} is found.")
    source = figures.data("mistakes", _mistake_table(run, wrong))
    turn = "Drag a structure to turn it. " if run.has_structures else ""
    intro = Markup(
        "{} of {:,} are given a wrong class; {} lists all of them. {}Before you blame the network, look at the label: "
        "a confident mistake is often a wrong entry in the data."
    ).format(plural(len(wrong), f"test {run.noun}"), len(run.test.ids), code(source), turn)
    show = _cards if run.has_structures else _rows
    shown = [show(run, figures, title, anchor, rows) for title, anchor, rows in _chosen(run, wrong) if len(rows)]
    return Markup("").join([paragraph(intro), *shown])


def _chosen(run: FinishedRun, wrong: Int[np.ndarray, " k"]) -> list[tuple[str, str, Int[np.ndarray, " m"]]]:
    """Choose which mistakes to show, none twice: titles, names of their figures, rows of the test part."""
    confident = wrong[np.argsort(-run.test.confidence[wrong], kind="stable")][:_EACH]
    rare = wrong[run.minority[run.test.targets[wrong]]]
    hard = np.setdiff1d(rare if len(rare) else wrong, confident)
    hard = hard[np.argsort(run.test.truth[hard], kind="stable")][:_EACH]
    kind = f"{run.noun}s of minority classes" if len(rare) else f"{run.noun}s"
    return [
        ("Most confident mistakes", "confident", confident),
        (f"Hardest {kind}: least probability of the true class", "hardest", hard),
    ]


def _rows(run: FinishedRun, figures: FigureFolder, title: str, anchor: str, chosen: Int[np.ndarray, " k"]) -> Markup:
    names, test = run.class_names, run.test
    rows = [
        (
            test.ids[k],
            names[test.targets[k]],
            names[test.predicted[k]],
            percent(test.truth[k]),
            percent(test.confidence[k]),
        )
        for k in chosen.tolist()
    ]
    header = ("id", "true class", "predicted class", "probability of the true", "of the predicted")
    return table(header, rows, caption=title, texts=3)


def _mistake_table(run: FinishedRun, wrong: Int[np.ndarray, " k"]) -> pd.DataFrame:
    import pandas as pd

    test, names = run.test, np.array(run.class_names, dtype=object)
    table = pd.DataFrame(
        {
            "id": test.ids[wrong],
            "true": names[test.targets[wrong]],
            "predicted": names[test.predicted[wrong]],
            "probability_of_predicted": test.confidence[wrong],
            "probability_of_true": test.truth[wrong],
        }
    )
    return table.sort_values("probability_of_true", ignore_index=True)


def _cards(run: FinishedRun, figures: FigureFolder, title: str, prefix: str, chosen: Int[np.ndarray, " k"]) -> Markup:
    crystals = run.test_table.crystals.take(chosen)
    formulas, symmetries = reduced_formulas(crystals), space_groups(crystals)
    cards = Markup("").join(
        _card(run, figures, f"{prefix}-{k + 1}", int(row), k, Drawing(crystals, k), str(formulas[k]), symmetries[k][1],
              int(crystals.num_sites[k]))
        for k, row in enumerate(chosen)
    )  # fmt: skip
    return Markup('<h3>{}</h3><div class="cards">{}</div>').format(title, cards)


def _card(
    run: FinishedRun,
    figures: FigureFolder,
    name: str,
    row: int,
    k: int,
    drawing: Drawing,
    formula: str,
    space_group: str,
    sites: int,
) -> Markup:
    import pandas as pd
    from ase.data import chemical_symbols

    test = run.test
    true, called = (run.class_names[codes[row]] for codes in (test.targets, test.predicted))
    likely, least = test.confidence[row], test.truth[row]
    atoms = pd.DataFrame(drawing.positions, columns=["x", "y", "z"]).assign(
        element=[chemical_symbols[z] for z in drawing.numbers.tolist()]
    )
    caption = Markup(
        "<strong>{}</strong> <span class=id>{}</span><br>{}, {}<br>"
        "is <b>{}</b> ({}), taken for <b>{}</b> ({})"
    ).format(
        subscripts(formula), test.ids[row], space_group or "no space group", plural(sites, "site"),
        true, percent(least), called, percent(likely),
    )  # fmt: skip
    return figures.add(
        name,
        structure_figure(drawing),
        atoms,
        alt=f"Unit cell of {formula}, {test.ids[row]}.",
        caption=caption,
        live=drawing.live(),
    )


def subscripts(formula: str) -> Markup:
    """Write a formula as HTML, its numbers as subscripts."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", formula)
    return Markup("").join(Markup("<sub>{}</sub>").format(p) if k % 2 else p for k, p in enumerate(pieces))


def percent(probability: float) -> str:
    """Write a probability as a percentage: never 0 or 100 where it is neither."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < probability < 1 else f"{100 * probability:.1f} %"
