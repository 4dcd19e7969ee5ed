"""Checkpoints of the original CGCNN project (Xie and Grossman 2018), read without running what they may hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

SCALARS = ("f8", "f4", "i8", "i4", "b1")
"""Types of the numpy numbers that such files hold among their results."""


class _ScalarType:
    """Stands in for `numpy.dtype` while a file is read: numpy's own trusts the bytes that it is given."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in SCALARS:
            raise InputError(f"a numpy number of type {code!r}")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


def _scalar(kind: _ScalarType, data: bytes) -> Any:
    """Stand in for `numpy.core.multiarray.scalar`."""
    order = kind.order if kind.order in ("<", ">") else "<"
    return np.frombuffer(data, dtype=f"{order}{kind.code}", count=1)[0]


_STAND_INS: list[Any] = [
    (_ScalarType, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]


def load_safely(path: Path) -> Any:
    """Load what `torch.save` wrote, as long as it is tensors, numbers and plain containers.

    Raises:
        InputError: no such file, damaged, or holding other objects, which are not made: making them can run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises almost anything
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused or isinstance(error, InputError):
            what = f"the Python object {refused[1]}" if refused else error
            raise InputError(
                f"{path}: holds {what} beside weights, and is not opened, since making such objects can run code; "
                "save its state_dict alone"
            ) from None
        raise InputError(f"{path}: cannot be read as saved weights, it is damaged or no such file ({error})") from None


@dataclass(frozen=True, eq=False)
class OriginalCheckpoint:
    """What a .pth.tar file of the original project holds."""

    state: dict[str, Tensor]
    """Weights, named as in `CGCNN`."""
    args: Mapping[str, Any]
    """Command line of the training."""
    task: Literal["classification", "regression"]
    """A classifier's head can be used; a regression's is left behind."""
    mean: float
    """Mean of the property in training, which the network was trained on less; 0 for a classifier."""
    std: float
    """Standard deviation of the property in training, which it was divided by; 1 for a classifier."""


def read_original(path: Path) -> OriginalCheckpoint:
    """Read a checkpoint of the original project.

    Its embedding of a crystal, and a classifier's log_softmax(logits), are those of `CGCNN` with these weights on
    the same edges. Where an atom had too few neighbours the original took the first atom of the crystal at
    radius + 1 angstrom for the missing: those edges have to be in the batch for equal numbers.

    Raises:
        InputError: not such a file.
    """
    content = load_safely(path)
    if not is_original(content):
        raise InputError(
            f"{path}: expected a checkpoint of the original CGCNN project, a dictionary with state_dict, args and "
            f"normalizer, found {sorted(content) if isinstance(content, dict) else type(content).__name__}"
        )
    state = dict(content["state_dict"])
    for name in [name for name in state if name.endswith("running_mean")]:
        # Files older than torch 0.4.1 do not count batches.
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    normalizer = content.get("normalizer") or {}
    return OriginalCheckpoint(
        state,
        content.get("args") or {},
        "regression" if len(state["fc_out.weight"]) == 1 else "classification",
        float(normalizer.get("mean", 0)),
        float(normalizer.get("std", 1)),
    )


def is_original(content: Any) -> bool:
    """Say whether a loaded file is a checkpoint of the original project."""
    if not (isinstance(content, dict) and isinstance(content.get("state_dict"), dict)):
        return False
    return {"embedding.weight", "convs.0.fc_full.weight", "conv_to_fc.weight", "fc_out.weight"} <= set(
        content["state_dict"]
    )
