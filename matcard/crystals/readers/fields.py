"""CSV fields as they are written: "None" and "NA" are words, as labels and ids are (sodium, say)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

AS_WRITTEN: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
"""Options by which pandas takes only the empty field for missing."""

_NOT_NUMBERS = ["nan", "NaN", "NA"]


def read_fields(path: Path, **options: Any) -> pd.DataFrame:
    """Read CSV with `options` of `pandas.read_csv`, the types of columns settled over the whole file.

    Only the empty field is missing; among numbers or booleans also nan, NaN and NA.

    Raises:
        InputError: see `refuse_shifted`.
    """
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **AS_WRITTEN, **options)
    refuse_shifted(frame, path)
    texts = set(options.get("dtype", ()))
    marked = [name for name in frame if name not in texts and frame[name].isin(_NOT_NUMBERS).any()]
    if marked:
        options = {**options, "usecols": marked, "keep_default_na": False, "na_values": ["", *_NOT_NUMBERS]}
        typed = pd.read_csv(path, low_memory=False, **options)
        for name in marked:
            values = typed[name].dropna()
            if len(values) > 0 and not any(isinstance(value, str) for value in values):
                frame[name] = typed[name]
    return frame


def refuse_shifted(frame: pd.DataFrame, path: Path) -> None:
    """Refuse a file whose rows have a field more than the header has names: pandas takes the first for an index.

    Raises:
        InputError: such a file.
    """
    import pandas as pd

    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(
            f"{path} has more fields in a row than names in its header: quote fields that hold commas, or name the "
            "columns that have none"
        )
