"""What a run predicts on: one class for each kind of data holds all that differs between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.prediction.inputs.crystals import CrystalInputs
from matcard.prediction.inputs.images import ImageInputs
from matcard.prediction.inputs.rows import RowInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcard.data.labelled import LabelledData
    from matcard.data.options import DataKind
    from matcard.prediction.inputs.base import Inputs

INPUTS: dict[DataKind, type[Inputs[Any]]] = {
    "crystals": CrystalInputs,
    "compositions": RowInputs,
    "table": RowInputs,
    "images": ImageInputs,
}
"""A new kind of data is one class and one line here."""


def inputs_of(data: LabelledData) -> Inputs[Any]:
    """Give what a network takes that was trained on `data`."""
    return INPUTS[data.kind].of_data(data)


def stored_inputs(kind: str, stored: Mapping[str, Any]) -> Inputs[Any]:
    """Give what `Inputs.to_dict` has described.

    Raises:
        KeyError: no such kind, or something is missing.
        TypeError: something of another type.
    """
    return INPUTS[kind].from_dict(stored)  # type: ignore[index]
