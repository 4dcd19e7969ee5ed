"""From a table to samples with a class, and a record of all that has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matcard.data.labels import make_labels, target_column
from matcard.data.tables import ArrayTable
from matcard.errors import InputError
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from jaxtyping import Int64, Shaped

    from matcard.data.tables import Table


_SHOWN = 5
"""Rows that a message names."""


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """The N samples of a source that can be read and have a label, and all that was left out.

    Attributes:
        table: crystals, images or rows with their other columns, malformed ones in `left_out`.
        codes: (N,) class of each sample.
        class_names: the C classes.
        unlabelled: id, where and reason of the samples whose target is missing.
        left_out_codes: class of each malformed row; -1 where its target is missing too, or of no class.
        left_out_texts: target of each malformed row as it was read; empty where missing.
        of_numbers: whether the classes were made of a number.
    """

    table: Table
    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    unlabelled: pd.DataFrame
    left_out_codes: Int64[np.ndarray, " M"]
    left_out_texts: Shaped[np.ndarray, " M"]
    of_numbers: bool

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

    def check_left_out(self, largest_share: float) -> None:
        """Stop where too many of the rows with a target are malformed.

        Raises:
            InputError: more than `largest_share` of them; the first reasons are named.
        """
        malformed = self.table.left_out[self.left_out_texts != ""]
        bad, total = len(malformed), len(self.table) + len(malformed)
        if bad <= largest_share * total:
            return
        first = "; ".join(f"{row.where}: {row.reason}" for row in malformed.head(_SHOWN).itertuples())
        raise InputError(
            f"{bad} of {total} rows with a target cannot be used ({bad / total:.1%}; --data.max_left_out allows "
            f"{largest_share:.1%}). The first: {first}. Mend them, or allow more with --data.max_left_out, which lists "
            "all of them in left_out.csv"
        )


def label_table(
    table: Table,
    target: str,
    source: str,
    *,
    threshold: float | None = None,
    bins: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
) -> LabelledTable:
    """Give each sample its class and part those that have none.

    Args:
        table: what was read.
        target: column of `table.columns` that the classes come from.
        source: how the source is called in messages.
        threshold: see `matcard.data.labels.make_labels`, as `bins` and `window`.
        bins: edges between classes.
        window: bounds of class 1.

    Raises:
        InputError: no row that can be used, no such column, or classes that cannot be made of it.
    """
    import pandas as pd

    if len(table) == 0 and len(table.left_out):
        first = table.left_out.iloc[0]
        raise InputError(
            f"none of the {len(table.left_out)} rows of {source} can be used. The first is {first['where']}: "
            f"{first['reason']}"
        )
    values = target_column(table.columns, target, source)
    try:
        places = None if isinstance(table, ArrayTable) else table.crystals.where
        labels = make_labels(values, threshold=threshold, bins=bins, window=window, target=target, where=places)
    except InputError as error:
        if not len(table.left_out):
            raise
        # The class that is missing may be among them.
        first = table.left_out.iloc[0]
        raise InputError(
            f"{error}. {len(table.left_out)} rows of {source} cannot be used and do not count; the first is "
            f"{first['where']}: {first['reason']}"
        ) from error
    known = labels.codes >= 0
    where = source if isinstance(table, ArrayTable) else table.crystals.where[~known]
    unlabelled = table.columns.loc[~known, []].assign(id=table.ids[~known], where=where, reason=f"{target} is missing")
    # Where the source has columns of these names itself, reading sets them apart.
    column = f"source_{target}" if target in ("id", "where", "reason") else target
    lost = table.left_out.get(column, pd.Series(np.nan, table.left_out.index))
    texts = np.where(lost.isna(), "", lost.astype(str)).astype(object)
    of_numbers = bool(labels.edges or labels.window)
    if of_numbers:
        lost = pd.to_numeric(lost, errors="coerce")  # a word there stops nothing: its row is left out already
    return LabelledTable(
        table.take(np.flatnonzero(known)),
        labels.codes[known],
        labels.class_names,
        unlabelled,
        labels.encode(lost),
        texts,
        of_numbers,
    )
