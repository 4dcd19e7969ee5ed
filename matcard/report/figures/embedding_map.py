"""The embeddings of a part in two dimensions, coloured by class and by mistake."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from matcard.errors import InputError
from matcard.evaluation import style
from matcard.report.svg import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int, Shaped
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Projection = Literal["pca", "umap"]

COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY, style.GREY)
_OTHERS = "other classes"
_VECTORS_UP_TO = 800
"""More points than this are a picture within the drawing, else it would be large."""


class Layer(NamedTuple):
    """Points of one colour."""

    label: str
    colour: str
    members: Int[np.ndarray, " k"]


def check_projection(projection: Projection) -> None:
    """Tell before anything is drawn that a projection cannot be had.

    Raises:
        InputError: UMAP is asked for where the package umap-learn is not installed.
    """
    if projection == "umap" and find_spec("umap") is None:
        raise InputError("a map by UMAP needs a package that is missing: pip install umap-learn")


def project(
    embeddings: Float[np.ndarray, "n F"], projection: Projection, seed: int
) -> tuple[Float[np.ndarray, "n 2"], tuple[str, str]]:
    """Give two coordinates for each embedding, and what the axes are.

    Raises:
        InputError: `check_projection`, or fewer than three points.
    """
    check_projection(projection)
    if len(embeddings) < 3:
        raise InputError(f"a map needs three crystals or more, there are {len(embeddings)}")
    if projection == "umap":
        umap = importlib.import_module("umap")
        mapping = umap.UMAP(n_neighbors=min(15, len(embeddings) - 1), random_state=seed, n_jobs=1)
        return np.asarray(mapping.fit_transform(embeddings)), ("UMAP 1", "UMAP 2")
    centred = embeddings - embeddings.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
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
    for axes, layers, title in zip(figure.subplots(1, 2), (by_class, by_mistake), titles, strict=True):
        _scatter(axes, points, layers)
        style.tidy(axes, grid="both", x=axes_names[0], y=axes_names[1], title=title)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=style.SMALL,
            markerscale=1.6, handletextpad=0.2,
        )  # fmt: skip
    return figure


def live_map(
    points: Float[np.ndarray, "n 2"],
    by_class: Sequence[Layer],
    by_mistake: Sequence[Layer],
    texts: Shaped[np.ndarray, " n"],
    axes_names: Sequence[str],
) -> dict[str, Any]:
    """Give what the page's script needs to draw the map with its ids."""
    return {
        "kind": "map",
        "x": points[:, 0].round(4).tolist(),
        "y": points[:, 1].round(4).tolist(),
        "texts": texts.tolist(),
        "axes": list(axes_names),
        "colourings": {
            name: [
                {"label": layer.label, "colour": VARIABLES[layer.colour], "members": layer.members.tolist()}
                for layer in layers
            ]
            for name, layers in (("by class", by_class), ("by mistake", by_mistake))
        },
    }


def _scatter(axes: Axes, points: Float[np.ndarray, "n 2"], layers: Sequence[Layer]) -> None:
    size = 14 if len(points) <= _VECTORS_UP_TO else 7
    for label, colour, members in layers:
        axes.scatter(
            points[members, 0],
            points[members, 1], s=size, color=colour, alpha=0.75, linewidths=0,
            label=style.short(label, 26), rasterized=len(points) > _VECTORS_UP_TO,
        )  # fmt: skip
