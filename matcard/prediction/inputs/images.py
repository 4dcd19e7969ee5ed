"""Images: the files that training reads, whose labels are not looked at, and npz with nothing but images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from matcard.crystals.files import CHUNK, readable, require_file
from matcard.data.images import LABEL, channels_first, read_images
from matcard.data.options import DataOptions
from matcard.errors import InputError
from matcard.prediction.inputs.arrays import ArrayInputs, Arrays
from matcard.prediction.inputs.base import Rows
from matcard.prediction.inputs.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from jaxtyping import Shaped

    from matcard.data.labelled import LabelledData
    from matcard.data.tables import ArrayTable
    from matcard.prediction.inputs.base import Named, Progress

UNLABELLED = "x"
"""Array of an npz file that holds images without classes."""
TAKES = f"npz files (with an array {UNLABELLED}, or as for training), or folders of the files of MNIST or CIFAR"


@dataclass(frozen=True)
class ImageInputs(ArrayInputs):
    """Images of one shape (channels, height, width) and type of numbers, bytes or floats."""

    target: ClassVar[str | None] = LABEL
    overlap: ClassVar[dict[str, str]] = {"numbers": "by their numbers"}

    shape: tuple[int, ...]
    dtype: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height, width."""
        return self.shape

    @property
    def kind(self) -> Literal["images"]:
        """Images."""
        return "images"

    @classmethod
    def of_data(cls, data: LabelledData) -> Self:
        """Take how `data` were made."""
        from matcard.data.arrays import ArrayData

        assert isinstance(data, ArrayData)
        return cls(tuple(data.inputs.shape[1:]), str(data.inputs.dtype))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of plain values."""
        return cls(tuple(stored["shape"]), str(stored["dtype"]))

    def find(self, inputs: Sequence[str]) -> list[Path | None]:
        """Find npz files and folders of images."""
        found = find_paths(inputs, lambda folder: [folder], TAKES)
        if None in found:
            raise InputError(f"-: standard input is read for runs on crystals only; inputs are {TAKES}")
        return found

    def pieces(self, path: Path, named: Named) -> Iterator[tuple[Rows[Arrays], int]]:
        """Read a file, which is held whole."""
        ids, images = self._of_file(path)
        for k in range(0, len(images), CHUNK):
            names, some = ids[k : k + CHUNK], images[k : k + CHUNK]
            errors = np.full(len(some), None, dtype=object)
            yield Rows(names, [f"{path.name} image {name}" for name in names], Arrays.of(some), errors), len(images)

    def wrap(self, objects: Iterable[Any], ids: Sequence[str] | None) -> Rows[Arrays]:
        """Take an array (n, height, width), or with channels beside."""
        images = self._checked(channels_first(np.asarray(objects), "the array"), "the array")
        names = [str(name) for name in (range(len(images)) if ids is None else ids)]
        if len(names) != len(images):
            raise InputError(f"{len(images)} images and {len(names)} ids: give an id for each")
        where = [f"images[{k}]" for k in range(len(images))]
        return Rows(names, where, Arrays.of(images), np.full(len(images), None, dtype=object))

    def read_table(
        self, source: str, target: str | None, named: Named, jobs: int | None, progress: Progress | None
    ) -> ArrayTable:
        """Read images of the shape of training."""
        from matcard.data.card import card_names, load_card

        table = read_images(DataOptions(source=source), load_card(source) if source in card_names() else None)
        self._checked(table.inputs, source)
        return table

    def _of_file(self, path: Path) -> tuple[list[str], Shaped[np.ndarray, "n C H W"]]:
        require_file(path)
        if path.suffix == ".npz":
            with readable(path), np.load(path, allow_pickle=False) as file:
                alone = file[UNLABELLED] if UNLABELLED in file.files else None
            if alone is not None:
                images = self._checked(channels_first(alone, str(path)), str(path))
                return [str(k) for k in range(len(images))], images
        table = read_images(DataOptions(source=str(path)), None)
        return table.ids.tolist(), self._checked(table.inputs, str(path))

    def _checked(self, images: Shaped[np.ndarray, "n C H W"], name: str) -> Shaped[np.ndarray, "n C H W"]:
        if images.shape[1:] != self.shape or str(images.dtype) != self.dtype:
            raise InputError(
                f"{name}: images of shape {images.shape[1:]} ({images.dtype}); the run was trained on "
                f"{self.shape} ({self.dtype}), channels first"
            )
        return images
