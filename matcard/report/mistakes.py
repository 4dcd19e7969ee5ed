"""The mistakes that are worth looking at, with their structures."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from ase.visualize.plot import Matplotlib
from markupsafe import Markup
from pymatgen.util.string import htmlify

from matcard.crystals.crystals import reduced_formulas
from matcard.data.groups import symmetries
from matcard.evaluation import style
from matcard.report.page import code, paragraph, plural, records, table

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from matplotlib.figure import Figure

    from matcard.crystals.crystals import Crystals
    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


_EACH = 6

_ON_FACE = 0.05
"""Atoms so near to a face of the cell, in units of its edges, are drawn on the opposite face too."""
_BALL = 0.45
"""Radius of a ball, in covalent radii: small enough to see what lies behind."""
_PALEST = 0.72
"""The darkest of the three parts of a colour is at most this."""
EYE = (1.15, 0.62, 0.42)
"""Where one looks from, as seen from the middle of the cell; z points up."""
_CORNERS = np.array(list(product((0, 1), repeat=3)), dtype=np.float64)
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1]


def mistakes(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Show the most confident mistakes and the hardest samples of minority classes; crystals with their structures."""
    test, names = run.test, np.array(run.class_names, dtype=object)
    found = pd.DataFrame(
        {
            "id": test.ids,
            "true": names[test.targets],
            "predicted": names[test.predicted],
            "probability_of_predicted": test.probabilities.max(axis=1),
            "probability_of_true": test.probabilities[np.arange(len(test.ids)), test.targets],
        }
    )
    wrong, rare = found[~test.right], found[~test.right & run.minority[test.targets]]
    if not len(wrong):
        return paragraph(f"None: the class of all {plural(len(found), f'test {run.noun}')} is found.")
    source = figures.data("mistakes", wrong.sort_values("probability_of_true"))
    turn = "Drag a structure to turn it. " if run.has_structures else ""
    intro = Markup(
        "{} of {:,} are given a wrong class; {} lists all of them. {}Before you blame the network, look at the label: "
        "a confident mistake is often a wrong entry in the data."
    ).format(plural(len(wrong), f"test {run.noun}"), len(found), code(source), turn)
    # None is shown twice.
    confident = wrong.nlargest(_EACH, "probability_of_predicted")
    hard = (rare if len(rare) else wrong).drop(confident.index, errors="ignore").nsmallest(_EACH, "probability_of_true")
    kind = f"{run.noun}s of minority classes" if len(rare) else f"{run.noun}s"
    show = _cards if run.has_structures else _rows
    drawn = paragraph(intro)
    for title, anchor, rows in (
        ("Most confident mistakes", "confident", confident),
        (f"Hardest {kind}: least probability of the true class", "hardest", hard),
    ):
        if len(rows):
            drawn += show(run, figures, title, anchor, rows)
    return drawn


def _rows(run: FinishedRun, figures: FigureFolder, title: str, anchor: str, chosen: pd.DataFrame) -> Markup:
    header = ("id", "true class", "predicted class", "probability of the true", "of the predicted")
    probabilities = ("probability_of_true", "probability_of_predicted")
    rows = [
        (row["id"], row["true"], row["predicted"], *(percent(row[name]) for name in probabilities))
        for row in records(chosen)
    ]
    return table(header, rows, caption=title, texts=3)


def _cards(run: FinishedRun, figures: FigureFolder, title: str, prefix: str, chosen: pd.DataFrame) -> Markup:
    crystals = run.test_samples.inputs.take(chosen.index.to_numpy())
    formulas, groups, sites = reduced_formulas(crystals), symmetries(crystals), crystals.num_sites
    cards = Markup("")
    for k, row in enumerate(records(chosen)):
        group, drawing = groups[k], Drawing(crystals, k)
        about = f"{group.international if group else 'no space group'}, {plural(int(sites[k]), 'site')}"
        atoms = pd.DataFrame(drawing.positions, columns=["x", "y", "z"])
        caption = Markup(
            "<strong>{}</strong> <span class=id>{}</span><br>{}<br>is <b>{}</b> ({}), taken for <b>{}</b> ({})"
        ).format(
            Markup(htmlify(str(formulas[k]))), row["id"], about, row["true"], percent(row["probability_of_true"]),
            row["predicted"], percent(row["probability_of_predicted"]),
        )  # fmt: skip
        cards += figures.add(
            f"{prefix}-{k + 1}",
            structure_figure(drawing),
            atoms.assign(element=[chemical_symbols[z] for z in drawing.numbers.tolist()]),
            alt=f"Unit cell of {formulas[k]}, {row['id']}.",
            caption=caption,
            live=drawing.live(),
        )
    return Markup('<h3>{}</h3><div class="cards">{}</div>').format(title, cards)


def percent(probability: float) -> str:
    """Write a probability as a percentage: never 0 or 100 where it is neither."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < probability < 1 else f"{100 * probability:.1f} %"


class Drawing:
    """What is drawn of crystal i: M atoms around the middle of the cell, and twelve edges.

    Attributes:
        numbers: (M,) atomic numbers.
        frac_coords: (M, 3) in [0, 1], up to what lies on a face.
        positions: (M, 3), angstrom.
        cell: (3, 3) rows, angstrom.
        edges: (12, 2, 3) ends of the cell's edges, angstrom.
    """

    def __init__(self, crystals: Crystals, i: int) -> None:
        sites = slice(int(crystals.offsets[i]), int(crystals.offsets[i + 1]))
        self.frac_coords, owners = _with_images(np.asarray(crystals.frac_coords[sites]))
        self.numbers: Int[np.ndarray, " M"] = np.asarray(crystals.numbers[sites]).astype(np.int64)[owners]
        self.cell = _upright(np.asarray(crystals.lattice[i]))
        middle = self.cell.sum(axis=0) / 2
        self.positions = self.frac_coords @ self.cell - middle
        corners = _CORNERS @ self.cell - middle
        self.edges = np.array([[corners[a], corners[b]] for a, b in _EDGES])

    @property
    def colours(self) -> Float[np.ndarray, "M 3"]:
        """The elements' colours as in Jmol, red, green and blue in [0, 1]; what is nearly white is darkened."""
        colours = np.asarray(jmol_colors[self.numbers])
        return np.asarray(colours * _PALEST / np.maximum(colours.min(axis=1, keepdims=True), _PALEST))

    def live(self) -> dict[str, Any]:
        """Give what the page's script needs to draw it in three dimensions."""
        elements = {}
        for number in np.unique(self.numbers).tolist():
            mine = self.numbers == number
            elements[chemical_symbols[number]] = {
                "colour": "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * self.colours[mine][0])),
                "radius": round(float(_BALL * covalent_radii[number]), 3),
                "at": self.positions[mine].round(3).tolist(),
                "frac": self.frac_coords[mine].round(3).tolist(),
            }
        return {"elements": elements, "edges": self.edges.round(3).tolist(), "eye": list(EYE)}


def structure_figure(drawing: Drawing) -> Figure:
    """Draw a still picture, from where the turning one is first seen."""
    figure = style.new_figure(3.2, 2.7)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    atoms = Atoms(drawing.numbers, scaled_positions=drawing.frac_coords, cell=drawing.cell)
    towards = np.array(EYE) / np.linalg.norm(EYE)
    right = np.cross([0.0, 0.0, 1.0], towards)
    right /= np.linalg.norm(right)
    view = np.stack([right, np.cross(towards, right), towards], axis=1)
    Matplotlib(atoms, axes, rotation=view, radii=_BALL, colors=drawing.colours).write()  # type: ignore[no-untyped-call]
    axes.set_axis_off()
    return figure


def _with_images(frac: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, " M"]]:
    """Wrap atoms into the cell and repeat those on a face; gives which atom each is an image of."""
    wrapped = frac - np.floor(frac)
    # What rounding has put just below the opposite face stands on this one.
    wrapped[wrapped > 1 - _ON_FACE] -= 1
    images, owners = [], []
    for shift in product((0, 1), repeat=3):
        step = np.array(shift)
        repeated = ((np.abs(wrapped) < _ON_FACE) | (step == 0)).all(axis=1)
        images.append(wrapped[repeated] + step)
        owners.append(np.flatnonzero(repeated))
    return np.concatenate(images), np.concatenate(owners)


def _upright(lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Turn a cell so that c points up and a lies in the plane of x and z."""
    z = lattice[2] / np.linalg.norm(lattice[2])
    y = np.cross(z, lattice[0])
    y /= np.linalg.norm(y)
    return np.asarray(lattice @ np.stack([np.cross(y, z), y, z]).T)
