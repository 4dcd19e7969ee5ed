"""Starting from weights that exist, of this or of the original CGCNN project: which are taken, which are new."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from matcard.errors import InputError, listed
from matcard.models.base import HEAD, in_head

if TYPE_CHECKING:
    from torch import Tensor

    from matcard.models.base import Classifier

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
        # Of such files torch says "101" or advises to load without the check: neither helps.
        raise InputError(
            f"{path}: cannot be read as saved weights: expected a file that torch.save has written (.ckpt, .pth.tar), "
            "or a .safetensors file, whole"
        ) from None


LIGHTNING_PREFIX = "model."
"""What stands before the weights' names in a checkpoint of a training run."""
BEST = (Path("model", "model.safetensors"), Path("model.safetensors"), Path("checkpoints", "best.ckpt"))
"""Where the weights of the best epoch are, in a run's directory or in its model folder alone; the last also while
the run goes on."""


def load_weights(model: Classifier, path: Path, *, new_head: bool = False) -> str:
    """Load the encoder, and the head where it fits, into a model.

    Args:
        model: to be loaded into, in place.
        path: checkpoint of the original project, .ckpt or .safetensors file, run directory or its model folder.
        new_head: leave the model's head as it is even if the file has one that fits.

    Returns:
        a sentence: how many weights were taken, which of the model's are as new, which of the file's were not used.

    Raises:
        InputError: a file that cannot be read, or whose weights are of another model or other widths.
    """
    path = weights_file(path)
    saved = read_weights(path)
    own = model.state_dict()
    fits = {name for name in saved if name in own and saved[name].shape == own[name].shape}
    # Weight and bias of a head are taken together or not at all.
    unfit = {name.partition(".")[0] for name in {*saved, *own} if in_head(name) and name not in fits}
    kept = {name for name in saved if in_head(name) and (new_head or name.partition(".")[0] in unfit)}
    taken = {name: value for name, value in saved.items() if name not in kept}
    _check(model, own, taken, path)
    model.load_state_dict(taken, strict=False)
    new = ", ".join(name for name in own if name not in taken and name not in model.constants)
    left = ", ".join(sorted(set(saved) - set(taken)))
    said = f"{len(taken)} weights from {path}, {f'new: {new}' if new else 'none new'}"
    return said + (f"; not used: {left}" if left else "")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a model from a file of any of the known kinds.

    Those of a checkpoint of the original project have the names that `CGCNN` gives them. With them, `CGCNN` gives the
    original's embedding of a crystal, and a classifier's log_softmax(logits) is what the original predicts, on the same
    edges. Where an atom had too few neighbours the original took the first atom of the crystal at radius + 1 angstrom
    for each that was missing: those edges have to be in the batch for equal numbers.

    Raises:
        InputError: a file that cannot be read, or of another kind.
    """
    if path.suffix == ".safetensors":
        return _without_prefix(read_safetensors(path))
    content = load_safely(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(
            f"{path}: expected weights: a checkpoint of this or of the original CGCNN project, or a state_dict"
        )
    state = _without_prefix(state)
    for name in [name for name in state if name.endswith("running_mean")]:
        # Files from before torch 0.4.1 do not count batches.
        state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return state


def weights_file(path: Path) -> Path:
    """Find the weights in a run's directory or a model folder; a file is one itself.

    Raises:
        InputError: no weights in the directory.
    """
    if not path.is_dir():
        return path
    for name in BEST:
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"{path}: no weights here (looked for {', '.join(map(str, BEST))}); name a run's directory or a file"
    )


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave the model's weights among those of a training run, by the names that the model gives them."""
    own = {name.removeprefix(LIGHTNING_PREFIX): state[name] for name in state if name.startswith(LIGHTNING_PREFIX)}
    return own or dict(state)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file to the CPU.

    Raises:
        InputError: no such file, or a damaged one.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of weights") from None
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error})") from None


def _check(model: Classifier, own: dict[str, Tensor], taken: dict[str, Tensor], path: Path) -> None:
    """Refuse weights that do not fill the encoder, saying what is missing, foreign or of another shape."""
    missing = [name for name in own if name not in taken and not in_head(name) and name not in model.constants]
    foreign = [name for name in taken if name not in own]
    shapes = [
        f"{name} {tuple(taken[name].shape)} in the file and {tuple(own[name].shape)} here"
        for name in taken
        if name in own and taken[name].shape != own[name].shape and name not in model.constants
    ]
    if not (missing or foreign or shapes):
        return
    found = [f"missing {listed(missing, 3)}"] * bool(missing) + [f"foreign {listed(foreign, 3)}"] * bool(foreign)
    found += [f"shapes {listed(shapes, 3)}"] * bool(shapes)
    shared = any(name in own for name in taken if not in_head(name) and name not in model.constants)
    advice = "build the model as it was trained, as the config.yaml of a run says"
    if not shared:
        advice = "they are of another kind of model, which --model.name chooses"
    raise InputError(
        f"{path}: its weights do not fit this {type(model).__name__} ({'; '.join(found)}): {advice}; only the head "
        f"({HEAD}) may differ"
    )
