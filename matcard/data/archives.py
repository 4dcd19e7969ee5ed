"""Archives and pickles of others, opened without trusting them."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError)
# The file type in the upper half of a zip member's attributes, and that of a plain file.
_TYPE, _PLAIN = 0o170000, 0o100000


def extract(archive: Path, folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> Path:
    """Unpack the wanted files of a tar (also gzipped, bz2 or xz) or zip archive.

    They are unpacked beside `folder`, which appears whole or not at all.

    Args:
        archive: the archive.
        folder: where its members go; it must not exist.
        wanted: says of a member's name, with forward slashes, whether to unpack it.

    Raises:
        InputError: an archive that is broken, or with a wanted member that leads out of the folder (an absolute
            path, `..`) or is no plain file (a link, a device); nothing is unpacked then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in members(archive, wanted):
            path = beside.joinpath(*PurePosixPath(name).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def members(archive: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, bytes]]:
    """Give the name and the content of each wanted file of a tar or zip archive.

    Raises:
        InputError: as `extract`.
    """
    with _readable(archive):
        yield from (_zip_members if zipfile.is_zipfile(archive) else _tar_members)(archive, wanted)


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


def _tar_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if wanted(member.name) and not member.isdir():
                _refuse(archive, member.name, plain=member.isreg())
                with cast("IO[bytes]", tar.extractfile(member)) as content:
                    yield member.name, content.read()


def _zip_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if wanted(member.filename) and not member.is_dir():
                _refuse(archive, member.filename, plain=(member.external_attr >> 16) & _TYPE in (0, _PLAIN))
                yield member.filename, file.read(member)


def _refuse(archive: Path, name: str, *, plain: bool) -> None:
    """Raise where a member is no plain file inside the folder, on this system or another."""
    windows = PureWindowsPath(name)
    if not name or name.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        raise InputError(
            f"{archive} has a member {name!r} that leads out of its folder; it is not unpacked: do not use it"
        )
    if not plain:
        raise InputError(f"{archive} has a member {name!r} that is a link or device; it is not unpacked: do not use it")


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk, not the archive
        said = " ".join(str(error).split())
        raise InputError(f"{archive} is no intact archive ({said}); delete it and fetch it again") from error
