"""Checkpoints of the original CGCNN project (Xie and Grossman 2018), read without running what they may hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matcard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SCALARS = ("f8", "f4", "i8", "i4", "b1")
"""Types of the numpy numbers that such files hold among their results."""

_TELLING = {"embedding.weight", "convs.0.fc_full.weight", "conv_to_fc.weight", "fc_out.weight"}


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
        # Of such files torch says "101" or advises to load without the check: neither helps.
        raise InputError(
            f"{path}: cannot be read as saved weights: expected a file that torch.save has written (.ckpt, .pth.tar), "
            "or a .safetensors file, whole"
        ) from None


def is_original(content: Any) -> bool:
    """Say whether a loaded file is a checkpoint of the original project."""
    state = content.get("state_dict") if isinstance(content, dict) else None
    return isinstance(state, dict) and set(state) >= _TELLING


def original_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Give the weights of a checkpoint of the original project, which have the names that `CGCNN` gives them.

    With them, `CGCNN` gives the original's embedding of a crystal, and a classifier's log_softmax(logits) is what the
    original predicts, on the same edges. Where an atom had too few neighbours the original took the first atom of the
    crystal at radius + 1 angstrom for each that was missing: those edges have to be in the batch for equal numbers.
    """
    state = dict(content["state_dict"])
    for name in [name for name in state if name.endswith("running_mean")]:
        # Files older than torch 0.4.1 do not count batches.
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return state
