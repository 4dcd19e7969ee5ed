"""The geometry of the graph embeddings: a map, and the magnitude of each class."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import NullFormatter

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.evaluation.figures import BESIDE
from matcard.invariants import magnitude_profile, median_scale
from matcard.report.page import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from matcard.report.page import FigureFolder
    from matcard.training.finished import FinishedRun


_MOST_POINTS = 2000

Projection = Literal["pca", "umap"]
COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY, style.GREY)
_OTHERS = "other classes"
_VECTORS_UP_TO = 800
"""More points than this are a picture within the drawing, else it would be large."""
MOST = 500
"""Crystals of a class at most: the work grows with the third power of their number."""
_SCALES = 21


def embedding_map(run: FinishedRun, figures: FigureFolder, projection: Projection = "pca") -> Markup:
    """Draw the embeddings of the test part in two dimensions."""
    test, names = run.test, np.array(run.class_names, dtype=object)
    kept, values = run.test_embeddings
    drawn = np.sort(np.random.default_rng(run.config["seed"]).permutation(len(kept))[:_MOST_POINTS])
    chosen = kept[drawn]
    points, axes = project(values[drawn], projection, run.config["seed"])
    targets, right = test.targets[chosen], test.right[chosen]
    by_class, by_mistake = class_layers(targets, run.class_names), mistake_layers(right, run.minority[targets])
    part = plural(len(test.ids), f"test {run.noun}")
    if len(chosen) < len(test.ids):
        part = f"{len(chosen):,} of {part}, drawn by lot"
    return figures.add(
        "embedding-map",
        map_figure(points, by_class, by_mistake, axes),
        pd.DataFrame(points, columns=["x", "y"]).assign(
            id=test.ids[chosen], true=names[targets], predicted=names[test.predicted[chosen]]
        ),
        alt=f"Map of the embeddings of {part}, coloured by class and by mistake.",
        caption=f"Embeddings of {part}, projected by {projection.upper()}: what is near is alike to the network. "
        "Distances in a plane are a shadow of those in the embedding.",
    )


def magnitude_functions(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw |tX| of each class's embeddings against the scale t."""
    kept, values = run.test_embeddings
    table = magnitude_table(values, run.test.targets[kept], run.class_names, run.config["seed"])
    counts = table.groupby("class")["crystals"].first()
    shown = counts.sort_values(ascending=False).index[: len(COLOURS)].tolist()
    rest = f" The {len(counts) - len(shown)} smallest classes are pale." if len(counts) > len(shown) else ""
    return figures.add(
        "magnitude",
        magnitude_figure(table, shown),
        table,
        alt="Magnitude of each class's embeddings against the scale.",
        caption="Magnitude |tX| of the embeddings of each class on the test part: the effective number of distinct "
        "points when distances are multiplied by t, from 1 (all look alike) to their number (all are apart). At "
        f"most {MOST} {run.noun}s of each class, drawn by lot.{rest}",
    )


class Layer(NamedTuple):
    """Points of one colour."""

    label: str
    colour: str
    members: Int[np.ndarray, " k"]


def project(
    embeddings: Float[np.ndarray, "n F"], projection: Projection, seed: int
) -> tuple[Float[np.ndarray, "n 2"], tuple[str, str]]:
    """Give two coordinates for each embedding, and what the axes are.

    Raises:
        InputError: fewer than three points.
    """
    if len(embeddings) < 3:
        raise InputError(f"a map needs three crystals or more, there are {len(embeddings)}")
    if projection == "umap":
        umap = importlib.import_module("umap")
        mapping = umap.UMAP(n_neighbors=min(15, len(embeddings) - 1), random_state=seed, n_jobs=1)
        return np.asarray(mapping.fit_transform(embeddings)), ("UMAP 1", "UMAP 2")
    left, values, _ = np.linalg.svd(embeddings - embeddings.mean(axis=0), full_matrices=False)
    held = values**2 / max((values**2).sum(), np.finfo(float).tiny)
    names = (f"first component ({held[0]:.0%} of the variance)", f"second component ({held[1]:.0%})")
    return left[:, :2] * values[:2], names


def class_layers(targets: Int[np.ndarray, " n"], class_names: Sequence[str]) -> list[Layer]:
    """Part points by class; beyond seven classes, the six with most points have colours and the rest share grey."""
    counts = np.bincount(targets, minlength=len(class_names))
    order = np.argsort(-counts, kind="stable")
    named = order if len(order) <= len(COLOURS) else order[: len(COLOURS) - 1]
    layers = [
        Layer(class_names[c], colour, np.flatnonzero(targets == c))
        for c, colour in zip(named.tolist(), COLOURS, strict=False)
    ]
    if len(named) < len(order):
        rest = f"{_OTHERS} ({len(order) - len(named)})"
        layers.append(Layer(rest, style.GREY, np.flatnonzero(~np.isin(targets, named))))
    return layers


def mistake_layers(right: Bool[np.ndarray, " n"], rare: Bool[np.ndarray, " n"]) -> list[Layer]:
    """Part points into those found, mistakes, and mistakes on minority classes."""
    return [
        Layer("class found", style.SKY, np.flatnonzero(right)),
        Layer("mistake", style.INK, np.flatnonzero(~right & ~rare)),
        Layer("minority class missed", style.VERMILLION, np.flatnonzero(~right & rare)),
    ]


def map_figure(
    points: Float[np.ndarray, "n 2"], by_class: Sequence[Layer], by_mistake: Sequence[Layer], axes_names: Sequence[str]
) -> Figure:
    """Draw the same points twice: coloured by class, and by whether the class is found."""
    figure = style.new_figure(8.8, 4.1)
    titles = ("by class", "by mistake")
    large = len(points) > _VECTORS_UP_TO
    for axes, layers, title in zip(figure.subplots(1, 2), (by_class, by_mistake), titles, strict=True):
        for label, colour, members in layers:
            axes.scatter(
                *points[members].T, s=7 if large else 14, color=colour, alpha=0.75, linewidths=0,
                label=style.short(label, 26), rasterized=large,
            )  # fmt: skip
        style.tidy(axes, grid="both", x=axes_names[0], y=axes_names[1], title=title)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=style.SMALL,
            markerscale=1.6, handletextpad=0.2,
        )  # fmt: skip
    return figure


def magnitude_table(
    embeddings: Float[np.ndarray, "n F"], targets: Int[np.ndarray, " n"], class_names: Sequence[str], seed: int
) -> pd.DataFrame:
    """Compute |tX| of each class's embeddings over a range of scales t.

    Args:
        embeddings: of n crystals.
        targets: their classes.
        class_names: C names.
        seed: of the choice of at most `MOST` crystals a class.

    Returns:
        Rows of `class`, `crystals`, `t` and `magnitude` of these crystals. The scales t are three decades around one
        over the median distance of all embeddings, in units of one over distance.
    """
    rng = np.random.default_rng(seed)
    points = torch.as_tensor(embeddings, dtype=torch.float64)
    # An even part of all: they may be in order of their class.
    scales = float(median_scale(points[rng.permutation(len(points))[:2048]])) * np.logspace(-1.3, 2.0, _SCALES)
    tables = []
    for c, name in enumerate(class_names):
        rows = rng.permutation(np.flatnonzero(targets == c))[:MOST]
        if len(rows):
            magnitudes = magnitude_profile(points[rows], scales.tolist()).numpy()
            tables.append(pd.DataFrame({"class": name, "crystals": len(rows), "t": scales, "magnitude": magnitudes}))
    return pd.concat(tables, ignore_index=True)


def magnitude_figure(table: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """Draw the magnitude function of the classes that are shown; the others are pale."""
    figure = style.new_figure(5.8, 3.7)
    axes = figure.subplots()
    colours = dict(zip(shown, COLOURS, strict=False))
    for name, rows in table.groupby("class", sort=False):
        look: dict[str, Any] = {"color": style.PALE, "linewidth": 0.8, "zorder": 1}
        if name in colours:
            label = f"{style.short(str(name), 22)} ({rows['crystals'].iloc[0]:,})"
            look = {"color": colours[str(name)], "linewidth": 1.5, "zorder": 2, "label": label}
        axes.plot(rows["t"], rows["magnitude"], **look)
    style.tidy(axes, grid="both", x="scale t (1 / distance)", y="magnitude |tX|")
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.legend(**BESIDE)
    return figure
