"""Images in the official formats of MNIST (idx) and CIFAR (pickled batches), opened without trusting them."""

from __future__ import annotations

import io
import math
import pickle
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from matcard.errors import InputError
from matcard.files import open_bytes, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jaxtyping import Int, Shaped

_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_SIDE = 32

_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
# Of CIFAR-10 and of CIFAR-100: training batches, test batch, labels in them; where the names of classes are, their key.
_CIFAR = (
    (_BATCHES, "test_batch", "labels", "batches.meta", "label_names"),
    (("train",), "test", "fine_labels", "meta", "fine_label_names"),
)


class Part(NamedTuple):
    """Images of a part with their classes."""

    images: Shaped[np.ndarray, "N ..."]
    labels: Int[np.ndarray, " N"]


def read_idx(path: Path) -> Shaped[np.ndarray, ...]:
    """Read an idx file, gzipped where its name ends in .gz.

    The format (Y. LeCun, http://yann.lecun.com/exdb/mnist): two zero bytes, the type of the numbers, the number of
    axes, the length of each as four bytes, then the numbers, all with the most significant byte first.

    Raises:
        InputError: not such a file, or one of another length than it says.
    """
    with readable(path), open_bytes(path) as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise InputError(
            f"{path} is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00, a type, axes"
        )
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise InputError(f"{path} has {len(content)} bytes, less than a header of {axes} axes; fetch it again")
    shape = tuple(int(length) for length in np.frombuffer(content[4:start], ">u4"))
    expected = start + dtype.itemsize * math.prod(shape)
    if len(content) != expected:
        raise InputError(
            f"{path} has {len(content)} bytes, but {expected} for the shape {shape} it states; fetch it again"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_cifar(source: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Read CIFAR-10, or CIFAR-100 with its 100 classes, in its version for Python.

    Args:
        source: the archive (it need not be unpacked), or the folder of its files.

    Returns:
        the parts `train` and `test`, with images (N, 32, 32, 3) of bytes, and the names of the classes.

    Raises:
        InputError: a file that is missing, or holds something else than batches of such images.
    """
    held = _unpickled(source, {*_BATCHES, "test_batch", "batches.meta", "train", "test", "meta"})
    train, test, labels, meta, key = _CIFAR["meta" in held]
    if lacking := [name for name in (meta, *train, test) if name not in held]:
        there = ", ".join(sorted(held)) or "none of those expected"
        raise InputError(f"{source} has no file {lacking[0]}, only {there}; is it CIFAR?")
    parts = []
    for name in (*train, test):
        try:
            parts.append(_batch(held[name], labels, len(held[meta][key])))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise InputError(f"{source}: {name} and {meta} are no images and classes of CIFAR ({said})") from error
    first = Part(*(np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True)))
    return {"train": first, "test": parts[-1]}, tuple(map(str, held[meta][key]))


def _unpickled(source: Path, names: set[str]) -> dict[str, Any]:
    """Load the named files of a folder or an archive, wherever in it they are."""
    if source.is_dir():
        found = (path for path in sorted(source.rglob("*")) if path.name in names and path.is_file())
        return {path.name: load_pickle(path.read_bytes(), str(path)) for path in found}
    chosen = contents(source, lambda name: name.rpartition("/")[2] in names)
    return {name.rpartition("/")[2]: load_pickle(content, f"{source}: {name}") for name, content in chosen}


def _batch(held: Any, labels: str, classes: int) -> Part:
    """Give the images, channels last, and the labels of a batch."""
    targets = np.array(held[labels])
    images = held["data"].reshape(len(targets), 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    if images.dtype != np.uint8 or targets.dtype.kind != "i" or targets.min() < 0 or targets.max() >= classes:
        raise ValueError(f"bytes, and labels from 0 to {classes - 1}, were expected")
    return Part(np.ascontiguousarray(images), targets.astype(np.int64))


def contents(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Give the name and the content of each wanted file of a tar archive; nothing is unpacked.

    Raises:
        InputError: an archive that is broken.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isreg() and wanted(member.name):
                    yield member.name, cast("IO[bytes]", tar.extractfile(member)).read()
    except _BROKEN as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk, not the archive
        said = " ".join(str(error).split())
        raise InputError(f"{archive} is no intact archive ({said}); delete it and fetch it again") from error


def load_pickle(content: bytes, name: str) -> Any:
    """Read a pickle that holds dicts, lists, texts, numbers and numpy arrays, such as the batches of CIFAR.

    Anything else it names is refused before it is called. Strings of Python 2 become `str` byte by byte (latin-1).

    Args:
        content: the pickle.
        name: what to call it in an error.

    Raises:
        InputError: another object in it, or no pickle.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    except Exception as error:  # a damaged pickle raises anything
        said = " ".join(str(error).split())
        raise InputError(f"{name} is no intact pickle ({type(error).__name__}: {said}); fetch it again") from error


class _Unpickler(pickle.Unpickler):
    """Knows how arrays are made, under the names of numpy 1 and 2, and nothing else."""

    # A pickled array says: make it by this function, of this class and of such a dtype.
    _known = {  # noqa: RUF012
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self._known:
            raise InputError(
                f"names {module_name}.{global_name}, which has no place in a data set and is not loaded: the file "
                "is not what it should be; do not use it"
            )
        return self._known[module_name, global_name]
