"""From a source of crystals to labelled graphs in three parts: the data half of the straight line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals import CrystalTable, open_crystals, open_store
from matcard.crystals.batches import GraphDataset
from matcard.data.cache import cache_dir
from matcard.data.cards import card_names, load_card, load_table
from matcard.data.labels import make_labels, target_column
from matcard.data.splits import Split, split_table
from matcard.errors import InputError, nearest_names
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from jaxtyping import Int64, Shaped

    from matcard.crystals.graphs import Graphs
    from matcard.crystals.options import GraphOptions
    from matcard.data.options import DataOptions


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """The N crystals of a source that can be read and have a label, and all that was left out.

    Attributes:
        table: crystals, their other columns, malformed rows in `left_out`.
        codes: (N,) class of each crystal.
        class_names: the C classes.
        unlabelled: id, where and reason of the crystals whose target is missing.
        left_out_codes: class of each malformed row; -1 where its target is missing too, or of no class.
        left_out_texts: target of each malformed row as it was read; empty where missing.
    """

    table: CrystalTable
    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    unlabelled: pd.DataFrame
    left_out_codes: Int64[np.ndarray, " M"]
    left_out_texts: Shaped[np.ndarray, " M"]

    @property
    def left_out_counts(self) -> Int64[np.ndarray, " C"]:
        """Malformed rows of each class."""
        known = self.left_out_codes[self.left_out_codes >= 0]
        return np.bincount(known, minlength=len(self.class_names))

    @property
    def lost_classes(self) -> dict[str, int]:
        """Classes that only malformed rows have, with the number of these rows."""
        lost = self.left_out_texts[(self.left_out_codes < 0) & (self.left_out_texts != "")]
        return dict(zip(*(values.tolist() for values in np.unique(lost.astype(str), return_counts=True)), strict=True))

    def write_left_out(self, path: Path) -> None:
        """Write every row that was not used: id, where, reason, class."""
        import pandas as pd

        # The class where there is one, else the target as it was read.
        named = np.array([*self.class_names, ""], dtype=object)[self.left_out_codes]
        classes = np.where(self.left_out_codes < 0, self.left_out_texts, named)
        malformed = self.table.left_out[["id", "where", "reason"]].assign(**{"class": classes})
        listed = pd.concat([malformed, self.unlabelled.assign(**{"class": ""})])
        with written_whole(path) as beside:
            listed.to_csv(beside, index=False)

    def check_left_out(self, largest_share: float, listed: Path) -> None:
        """Stop where too many of the rows with a target are malformed.

        Raises:
            InputError: more than `largest_share` of them; the first reason is named.
        """
        malformed = self.table.left_out[self.left_out_texts != ""]
        bad, total = len(malformed), len(self.table) + len(malformed)
        if bad <= largest_share * total:
            return
        first = malformed.iloc[0]
        raise InputError(
            f"{bad} of {total} rows with a target cannot be used ({bad / total:.1%}; --data.max_left_out allows "
            f"{largest_share:.1%}). The first is {first['where']}: {first['reason']}. All are listed in {listed}; mend "
            "them, or allow more with --data.max_left_out"
        )


@dataclass(frozen=True, eq=False)
class CrystalData:
    """Labelled graphs, split: all that training must know of a data set.

    Attributes:
        ids: (N,) object array of str.
        codes: (N,) class of each crystal.
        class_names: the C classes.
        graphs: the N graphs, memory-mapped.
        split: positions of the three parts.
    """

    ids: Shaped[np.ndarray, " N"]
    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    graphs: Graphs
    split: Split

    @property
    def dataset(self) -> GraphDataset:
        """The graphs with their targets, as a data set of torch."""
        return GraphDataset(self.graphs, self.codes)

    def notes(self, options: GraphOptions) -> list[str]:
        """Say how many atoms have fewer neighbours than asked for, or a shell that was cut."""
        within = f"{options.neighbors} neighbours within {options.radius:g} A"
        counts = {
            "without any neighbour": self.graphs.isolated,
            f"with fewer than {within}": self.graphs.short,
            f"whose shell of equal distances was cut to keep {options.neighbors} neighbours": self.graphs.truncated,
        }
        return [f"{np.sum(atoms)} atoms {what}" for what, atoms in counts.items() if np.any(atoms)]

    @property
    def fingerprint(self) -> str:
        """Sha256 of ids, classes and class names: tells whether a resumed run sees the same data."""
        text = json.dumps([self.ids.tolist(), self.codes.tolist(), list(self.class_names)])
        return hashlib.sha256(text.encode()).hexdigest()


def read_labelled(options: DataOptions, progress: Callable[[int, int | None], None] | None = None) -> LabelledTable:
    """Read the crystals of a card or a path and give each its class.

    Args:
        options: what is read and classified.
        progress: called with the rows parsed and their number, an estimate or None, where a path is not yet parsed.

    Raises:
        InputError: no such source or column, a target that gives fewer than two classes, an unreadable file.
    """
    source = options.source
    target, threshold, bins = options.target, options.threshold, options.bins
    if source in card_names():
        card = load_card(source)
        table = load_table(card)
        if target is None:
            target = card.target
            if threshold is None and bins is None:
                threshold, bins = card.threshold, list(card.bins) if card.bins else None
    elif Path(source).exists():
        table = open_crystals(
            source,
            cache_dir() / "crystals",
            id_column=options.id_column,
            structure_column=options.structure_column,
            target=target,
            jobs=options.jobs,
            progress=progress,
        )
    else:
        raise InputError(
            f"--data.source {source}: neither a file or folder nor the name of a data set; "
            f"{nearest_names(source, card_names())}"
        )
    if target is None:
        raise InputError(
            f"--data.target is not given: name the column of {source} to predict, one of "
            f"{', '.join(map(str, table.columns.columns))}"
        )
    return _labelled(table, target, threshold, bins, source)


def prepare(
    labelled: LabelledTable,
    options: DataOptions,
    *,
    seed: int,
    saved_split: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrystalData:
    """Build or open the graphs and split them, or split them as a saved run did.

    Raises:
        InputError: a split that cannot be made, or a saved one of other data.
    """
    crystals = labelled.table.crystals
    graphs = open_store(crystals, options.graph, cache_dir() / "graphs", jobs=options.jobs, progress=progress)
    if saved_split is not None:
        split = Split.from_json(saved_split, crystals.ids)
    else:
        split = split_table(labelled.table, labelled.codes, options.split, seed=seed, class_names=labelled.class_names)
    return CrystalData(crystals.ids, labelled.codes, labelled.class_names, graphs, split)


def _labelled(
    table: CrystalTable, target: str, threshold: float | None, bins: Sequence[float] | None, source: str
) -> LabelledTable:
    """Give each crystal its class and part those that have none."""
    import pandas as pd

    values = target_column(table.columns, target, source)
    labels = make_labels(values, threshold=threshold, bins=bins, target=target)
    known = labels.codes >= 0
    unlabelled = table.columns.loc[~known, []].assign(
        id=table.crystals.ids[~known], where=source, reason=f"{target} is missing"
    )
    kept = CrystalTable(
        table.crystals.take(np.flatnonzero(known)),
        table.columns[known].reset_index(drop=True),
        table.left_out,
    )
    # Where the source has columns of these names itself, reading sets them apart.
    column = f"source_{target}" if target in ("id", "where", "reason") else target
    lost = table.left_out.get(column, pd.Series(np.nan, table.left_out.index))
    texts = np.where(lost.isna(), "", lost.astype(str)).astype(object)
    return LabelledTable(kept, labels.codes[known], labels.class_names, unlabelled, labels.encode(lost), texts)
