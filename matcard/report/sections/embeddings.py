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
    from matcard.report.finished import FinishedRun
    from matcard.report.folder import FigureFolder

_MOST_POINTS = 2000


def embedding_map(run: FinishedRun, figures: FigureFolder, projection: Projection = "pca") -> Markup:
    """Draw the embeddings of the test part in two dimensions."""
    import pandas as pd

    test, names = run.test, np.array(run.class_names, dtype=object)
    chosen = np.arange(len(test.ids))
    if len(chosen) > _MOST_POINTS:
        chosen = np.sort(np.random.default_rng(_seed(run)).choice(chosen, _MOST_POINTS, replace=False))
    points, axes = project(run.embeddings("test")[chosen], projection, _seed(run))
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
    part = f"{_MOST_POINTS:,} of {plural(len(test.ids), 'test crystal')}, drawn by lot" if len(test.ids) > _MOST_POINTS \
        else plural(len(test.ids), "test crystal")  # fmt: skip
    return figures.add(
        "embedding-map",
        map_figure(points, by_class, by_mistake, axes),
        pd.DataFrame(
            {"id": test.ids[chosen], "x": points[:, 0], "y": points[:, 1], "true": names[targets], "predicted": predicted}
        ),
        alt=f"Map of the graph embeddings of {part}, coloured by class and by mistake.",
        caption=f"Graph embeddings of {part}, projected by {projection.upper()}: what is near is alike to the network. "
        "Distances in a plane are a shadow of those in the embedding.",
        live=live_map(points, by_class, by_mistake, texts, axes),
    )  # fmt: skip


def magnitude_functions(run: FinishedRun, figures: FigureFolder) -> Markup:
    """Draw |tX| of each class's embeddings against the scale t."""
    part = run.parts["test"]
    table = magnitude_table(run.embeddings("test"), part.targets, run.class_names, _seed(run))
    counts = table.groupby("class")["crystals"].first()
    shown = counts.sort_values(ascending=False).index[: len(COLOURS)].tolist()
    equal = int(table["equal_crystals"].iloc[0])
    rest = f" The {len(counts) - len(shown)} smallest classes are pale." if len(counts) > len(shown) else ""
    return figures.add(
        "magnitude",
        magnitude_figure(table, shown),
        table,
        alt="Magnitude of each class's embeddings against the scale, once for all crystals and once for equal numbers.",
        caption="Magnitude |tX| of the embeddings of each class on the test part: the effective number of distinct points "
        "when distances are multiplied by t, from 1 (all look alike) to their number (all are apart). Left: at most "
        f"{MOST} crystals of each class, drawn by lot. Right: {equal} of each class with {FEWEST} or more, so that curves "
        f"differ by geometry alone: the higher one is spread wider.{rest}",
    )


def _seed(run: FinishedRun) -> int:
    return int(run.config.get("seed", 0))
