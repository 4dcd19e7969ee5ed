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
from pathlib import Path, PureWindowsPath
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
        InputError: an archive that is broken, or with a wanted member that leads out of the folder or is a device or a
            link that does; nothing is unpacked then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with _readable(archive):
            if zipfile.is_zipfile(archive):
                _extract_zip(archive, beside, wanted)
            else:
                with tarfile.open(archive) as tar:
                    tar.extractall(beside, (member for member in tar if wanted(member.name)), filter="data")
        return beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def contents(archive: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, bytes]]:
    """Give the name and the content of each wanted file of a tar or zip archive; nothing is unpacked.

    Raises:
        InputError: an archive that is broken.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                yield from ((name, file.read(name)) for name in file.namelist() if wanted(name) and name[-1:] != "/")
        else:
            with tarfile.open(archive) as tar:
                for member in tar:
                    if member.isreg() and wanted(member.name):
                        yield member.name, cast("IO[bytes]", tar.extractfile(member)).read()


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


def _extract_zip(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack a zip, whose names and types Python does not check as it does those of a tar."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name, windows = member.filename, PureWindowsPath(member.filename)
            if not wanted(name) or member.is_dir():
                continue
            if not name or name.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
                raise _not_unpacked(archive, name)
            if (member.external_attr >> 16) & _TYPE not in (0, _PLAIN):
                raise _not_unpacked(archive, name)
            file.extract(member, folder)


def _not_unpacked(archive: Path, name: str) -> InputError:
    return InputError(
        f"{archive} has a member {name!r} that leads out of its folder or is a link or device; it is not unpacked: do "
        "not use it"
    )


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except tarfile.FilterError as error:
        raise _not_unpacked(archive, error.tarinfo.name) from error
    except _BROKEN as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk, not the archive
        said = " ".join(str(error).split())
        raise InputError(f"{archive} is no intact archive ({said}); delete it and fetch it again") from error
