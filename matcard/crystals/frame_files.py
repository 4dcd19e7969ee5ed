"""Pieces of a data frame on disk, as parquet that holds columns of any kind."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_KEY = b"matcard"


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with a RangeIndex; of a column of objects that parquet cannot hold, each as JSON.

    Columns may have any names, repeated ones, too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    as_json = [k for k in range(frame.shape[1]) if not _fits(frame.iloc[:, k])]
    numbered = frame.set_axis([str(k) for k in range(frame.shape[1])], axis=1)
    for k in as_json:
        numbered[str(k)] = [json.dumps(value, default=_plain) for value in frame.iloc[:, k]]
    table = pa.Table.from_pandas(numbered)
    said = json.dumps({"rows": len(frame), "names": list(frame.columns), "as_json": as_json}, default=str)
    with path.open("wb") as file:
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _KEY: said}), file)
        file.flush()
        os.fsync(file.fileno())


def read_frame(path: Path) -> pd.DataFrame:
    """Read what `write_frame` wrote; missing objects are None, or NaN among floats."""
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read()
    said = json.loads(table.schema.metadata[_KEY])
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    for k in said["as_json"]:
        frame[str(k)] = pd.Series([json.loads(text) for text in frame[str(k)]], frame.index, dtype=object)
    return frame.set_axis(said["names"], axis=1).set_axis(pd.RangeIndex(said["rows"]), axis=0)


def _fits(column: pd.Series[Any]) -> bool:
    """Say whether parquet can hold a column: not if it has objects of several kinds, or very large numbers."""
    import pyarrow as pa

    if column.dtype == object and column.dropna().map(type).nunique() > 1:
        return False
    try:
        pa.array(column, from_pandas=True)
    except (ValueError, TypeError, NotImplementedError, OverflowError):  # all of pyarrow's are one of these
        return False
    return True


def _plain(value: Any) -> Any:
    """Give a scalar of numpy as one of Python, other objects as text."""
    return value.item() if hasattr(value, "item") else str(value)
