"""JSON files that are valid (no NaN) and whole (written beside, then moved)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from matcard.errors import InputError
from matcard.files import written_whole


def to_json(value: Any, path: str | Path) -> None:
    """Write `value` as JSON: NaN and infinity as null, numpy numbers and arrays as plain ones.

    A reader sees the old file or the new one, never half of it.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it does not exist or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error}); it may be damaged: write it again") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
