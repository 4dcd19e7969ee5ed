"""The page of a run or a study, written last of all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from matcard.errors import MatcardWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console


def write_page(folder: Path, write: Callable[[], Path], console: Console) -> None:
    """Write the report of what is finished; whatever goes wrong there, the folder's other files are whole.

    Args:
        folder: of the run or study.
        write: writes the page and gives its path.
        console: what is printed to.
    """
    try:
        path = write()
    except Exception as error:
        warnings.warn(
            f"{folder}: no report was written ({error}); write it by python -m matcard.report {folder}",
            MatcardWarning,
            stacklevel=2,
        )
    else:
        console.print(f"report: {path}", soft_wrap=True, markup=False)
