"""The embedded data set: synthetic perovskites in five phases, made from what pymatgen knows of ions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

if TYPE_CHECKING:
    from matcard.data.perovskites.table import perovskite_phases as perovskite_phases

__getattr__, __dir__, __all__ = attach(__name__, {"perovskite_phases": "table"})
