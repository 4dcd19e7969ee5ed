"""CSV fields as they are written: "None" and "NA" are words, as labels and ids are (sodium, say)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

AS_WRITTEN: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
"""Options by which pandas takes only the empty field for missing."""

_NOT_NUMBERS = ["nan", "NaN", "NA"]


def read_fields(path: Path, **options: Any) -> pd.DataFrame:
    """Read CSV with `options` of `pandas.read_csv`, the types of columns settled over the whole file.

    Only the empty field is missing; among numbers or booleans also nan, NaN and NA.
    """
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **AS_WRITTEN, **options)
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
