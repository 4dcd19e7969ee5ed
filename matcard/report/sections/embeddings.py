"""The geometry of the graph embeddings: a map, and the magnitude of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.report.figures.embedding_map import COLOURS, class_layers, live_map, map_figure, mistake_layers, project
from matcard.report.figures.magnitudes import FEWEST, MOST, magnitude_figure, magnitude_table
from matcard.report.html import plural

if TYPE_CHECKING:
    from markupsafe import Markup

    from matcard.report.figures.embedding_map import Projection
    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun

_MOST_POINTS = 2000


def embedding_map(run: FinishedRun, figures: FigureFolder, projection: Projection = "pca") -> Markup:
    """Draw the embeddings of the test part in two dimensions."""
    import pandas as pd

    test, names = run.test, np.array(run.class_names, dtype=object)
    kept, values = run.test_embeddings
    drawn = np.sort(np.random.default_rng(_seed(run)).permutation(len(kept))[:_MOST_POINTS])
    chosen = kept[drawn]
    points, axes = project(values[drawn], projection, _seed(run))
    targets, right = test.targets[chosen], test.right[chosen]
    by_class, by_mistake = class_layers(targets, run.class_names), mistake_layers(right, run.minority[targets])
    predicted = names[test.predicted[chosen]]
    texts = np.array(
        [
            f"{name}: {true}" if found else f"{name}: {true}, taken for {called}"
            for name, true, called, found in zip(test.ids[chosen], names[targets], predicted, right, strict=True)
        ],
        dtype=object,
    )
    part = plural(len(test.ids), f"test {run.noun}")
    if len(chosen) < len(test.ids):
        part = f"{len(chosen):,} of {part}, drawn by lot"
    return figures.add(
        "embedding-map",
        map_figure(points, by_class, by_mistake, axes),
        pd.DataFrame(points, columns=["x", "y"]).assign(
            id=test.ids[chosen], true=names[targets], predicted=predicted
        ),
        alt=f"Map of the embeddings of {part}, coloured by class and by mistake.",
        caption=f"Embeddings of {part}, projected by {projection.upper()}: what is near is alike to the network. "
        "Distances in a plane are a shadow of those in the embedding.",
        live=live_map(points, by_class, by_mistake, texts, axes),
    )  # fmt: skip


def magnitude_functions(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw |tX| of each class's embeddings against the scale t."""
    kept, values = run.test_embeddings
    table = magnitude_table(values, run.test.targets[kept], run.class_names, _seed(run))
    counts = table.groupby("class")["crystals"].first()
    shown = counts.sort_values(ascending=False).index[: len(COLOURS)].tolist()
    equal = int(table["equal_crystals"].iloc[0])
    rest = f" The {len(counts) - len(shown)} smallest classes are pale." if len(counts) > len(shown) else ""
    return figures.add(
        "magnitude",
        magnitude_figure(table, shown),
        table,
        alt="Magnitude of each class's embeddings against the scale, once for all of them and once for equal numbers.",
        caption="Magnitude |tX| of the embeddings of each class on the test part: the effective number of distinct "
        "points when distances are multiplied by t, from 1 (all look alike) to their number (all are apart). Left: at "
        f"most {MOST} {run.noun}s of each class, drawn by lot. Right: {equal} of each class with {FEWEST} or more, so "
        f"that curves differ by geometry alone: the higher one is spread wider.{rest}",
    )


def _seed(run: FinishedRun) -> int:
    return int(run.config.get("seed", 0))
