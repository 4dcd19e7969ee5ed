"""Images as samples: scikit-learn's digits, the official files of MNIST and CIFAR, npz."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from matcard.crystals.crystals import objects
from matcard.data.image_files import Part, read_cifar, read_idx
from matcard.data.options import DataOptions
from matcard.data.samples import Kind, Samples
from matcard.errors import InputError
from matcard.files import find_paths, readable, require_file
from matcard.table_files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
    from typing import IO

    from jaxtyping import Bool, Shaped, UInt8

    from matcard.data.card import Card
    from matcard.data.samples import Progress, Source

LABEL = "label"
"""Column of the classes where no card names another."""
_CHANNELS = (1, 3, 4)
_PARTS = ("train", "test")
UNLABELLED = "x"
"""Array of an npz file that holds images without classes."""
TAKES = f"npz files (with an array {UNLABELLED}, or as for training), or folders of the files of MNIST or CIFAR"


@dataclass(frozen=True)
class ImageKind(Kind):
    """Images of one shape (channels, height, width) and type of numbers, bytes or floats."""

    target: ClassVar[str | None] = LABEL

    shape: tuple[int, ...]
    dtype: str
    name: Literal["images"] = "images"

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The shape of a sample."""
        return {"input_shape": self.shape}

    def find(self, words: Sequence[str]) -> Sequence[Source]:
        """Find npz files and folders of images."""
        return find_paths(words, lambda folder: [folder], TAKES, stdin=False)

    def pieces(self, source: Source, options: DataOptions, stream: IO[bytes], progress: Progress) -> Iterator[Samples]:
        """Read a file, which is held whole."""
        assert isinstance(source, Path)
        require_file(source)
        alone = None
        if source.suffix == ".npz":
            with readable(source), np.load(source, allow_pickle=False) as file:
                alone = file[UNLABELLED] if UNLABELLED in file.files else None
        if alone is None:
            samples = read(DataOptions(source=str(source)), None, self, None)
        else:
            images = self.require(channels_first(alone, str(source)), str(source))
            ids = [str(k) for k in range(len(images))]
            samples = self.samples(images, ids, [f"{source.name} image {name}" for name in ids])
        for k in range(0, len(samples), CHUNK):
            yield samples.take(np.arange(k, min(k + CHUNK, len(samples))))
            progress(min(k + CHUNK, len(samples)), len(samples))

    def wrap(self, given: Iterable[Any], ids: Sequence[str] | None) -> Samples:
        """Take an array (n, height, width), or with channels beside."""
        images = self.require(channels_first(np.asarray(given), "the array"), "the array")
        names = [str(name) for name in (range(len(images)) if ids is None else ids)]
        if len(names) != len(images):
            raise InputError(f"{len(images)} images and {len(names)} ids: give an id for each")
        return self.samples(images, names, [f"images[{k}]" for k in range(len(images))])

    def samples(
        self,
        images: Shaped[np.ndarray, "n C H W"],
        ids: Sequence[str],
        where: Sequence[str],
        columns: pd.DataFrame | None = None,
        test: Bool[np.ndarray, " n"] | None = None,
    ) -> Samples:
        """Give images as samples."""
        frame = pd.DataFrame(index=range(len(images))) if columns is None else columns
        return Samples(objects(ids), objects(where), images, frame, objects([None] * len(images)), self, test)

    def require(self, images: Shaped[np.ndarray, "n C H W"], name: str) -> Shaped[np.ndarray, "n C H W"]:
        """Refuse images of another shape or type.

        Raises:
            InputError: they are.
        """
        if images.shape[1:] != self.shape or str(images.dtype) != self.dtype:
            raise InputError(
                f"{name}: images of shape {images.shape[1:]} ({images.dtype}); the run was trained on "
                f"{self.shape} ({self.dtype}), channels first"
            )
        return images


KIND = ImageKind


def read(options: DataOptions, card: Card | None, like: ImageKind | None, progress: Progress | None) -> Samples:
    """Read images with their classes; where files have a training and a test part, the latter is marked.

    Of two sources the second is the test part, whatever parts they have.

    Args:
        options: one source or two.
        card: the source's, where it is the name of one.
        like: what a run was trained on; images of another shape or type are refused.
        progress: not called.

    Raises:
        InputError: files that are missing or of another format, or images and classes that do not fit.
    """
    parts, names = _from_path(Path(options.source)) if card is None else _from_card(card)
    tested = {"test"}
    if options.test_source is not None:
        second, found = _from_path(Path(options.test_source))
        if found and list(found) != list(names or found):
            raise InputError(
                f"--data.test_source {options.test_source} has the classes {', '.join(found)}, the source "
                f"{', '.join(names)}; both must have the same, in one order"
            )
        tested = {f"test_source-{part}" for part in second}
        parts |= {f"test_source-{part}": images for part, images in second.items()}
    samples = _samples(parts, names, card.target if card else LABEL, options.source, tested)
    if like is not None:
        like.require(samples.inputs, options.source)
    return samples


def _from_card(card: Card) -> tuple[dict[str, Part], Sequence[str]]:
    if card.format == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return {"train": Part(digits.images.astype(np.uint8), digits.target)}, card.class_names
    from matcard.data.sources import fetch  # what fetches takes a second that prediction does without

    files = list(fetch(card).values())
    if card.format == "idx":
        return _from_idx(files, card.name), card.class_names
    parts, names = read_cifar(files[0])
    return parts, card.class_names or names


def _from_path(path: Path) -> tuple[dict[str, Part], Sequence[str]]:
    require_file(path)
    if path.is_dir() and any(path.glob("*idx3-ubyte*")):
        return _from_idx(sorted(path.glob("*ubyte*")), str(path)), ()
    if path.suffix != ".npz":
        return read_cifar(path)
    with readable(path), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = [str(name) for name in arrays.get("class_names", ())]
    parts = {}
    for part in _PARTS:
        if {f"x_{part}", f"y_{part}"} <= set(arrays):
            parts[part] = Part(arrays[f"x_{part}"], arrays[f"y_{part}"])
        elif {f"{part}_jpeg", f"{part}_offset", f"{part}_label"} <= set(arrays):
            parts[part] = _decoded(arrays, part, path)
    if "train" not in parts:
        raise InputError(
            f"{path}: expected the arrays x_train and y_train (and x_test, y_test), or train_jpeg, train_offset and "
            f"train_label; found {', '.join(arrays) or 'none'}"
        )
    return parts, names


def _decoded(arrays: Mapping[str, Any], part: str, path: Path) -> Part:
    """Decode images that stand one after another as JPEG (or PNG) bytes."""
    content, offsets = arrays[f"{part}_jpeg"].tobytes(), arrays[f"{part}_offset"].tolist()
    images = []
    for i, (start, end) in enumerate(pairwise(offsets)):
        try:
            with Image.open(io.BytesIO(content[start:end])) as image:
                images.append(np.asarray(image))
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{path}: {part}_jpeg: image {i} cannot be decoded ({error})") from error
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{path}: {part}_jpeg: images of several sizes; all must be of one")
    return Part(np.stack(images), arrays[f"{part}_label"])


def _from_idx(files: Sequence[Path], source: str) -> dict[str, Part]:
    """Read the four files of MNIST and its kin, known by their names."""
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        found = {}
        for what in ("images", "labels"):
            file = next((path for path in files if path.name.startswith(f"{prefix}-{what}")), None)
            if file is None:
                raise InputError(f"{source}: there is no file {prefix}-{what}-... among those of MNIST's format")
            found[what] = read_idx(file)
        parts[part] = Part(found["images"], found["labels"])
    return parts


def _samples(
    parts: Mapping[str, Part], class_names: Sequence[str], target: str, source: str, tested: Set[str]
) -> Samples:
    images = [channels_first(part.images, f"{source}, {name} part") for name, part in parts.items()]
    if len({(array.shape[1:], array.dtype) for array in images}) > 1:
        raise InputError(f"{source}: images of the training and test part differ: {[a.shape for a in images]}")
    for name, part in parts.items():
        if part.labels.ndim != 1 or len(part.labels) != len(part.images) or part.labels.dtype.kind not in "iu":
            raise InputError(
                f"{source}, {name} part: {len(part.images)} images need as many classes, as whole numbers; found "
                f"{part.labels.dtype} of shape {part.labels.shape}"
            )
    labels = np.concatenate([part.labels for part in parts.values()]).astype(np.int64)
    lowest, highest = int(labels.min()), int(labels.max())
    names = list(class_names) or [str(k) for k in range(highest + 1)]
    if lowest < 0 or highest >= len(names):
        raise InputError(f"{source}: classes run from {lowest} to {highest}, and there are {len(names)} names")
    single = len(parts) == 1
    ids = [
        str(i) if single else f"{name}-{i}".replace(" ", "-")
        for name, part in parts.items()
        for i in range(len(part.labels))
    ]
    held = [np.full(len(part.labels), name in tested) for name, part in parts.items()]
    inputs = np.concatenate(images)
    kind = ImageKind(tuple(inputs.shape[1:]), str(inputs.dtype))
    columns = pd.DataFrame({target: pd.Categorical.from_codes(labels, categories=pd.Index(names))})
    where = [f"{source} image {name}" for name in ids]
    return kind.samples(inputs, ids, where, columns, None if single else np.concatenate(held))


def channels_first(
    images: Shaped[np.ndarray, "N ..."], where: str
) -> UInt8[np.ndarray, "N C H W"] | Shaped[np.ndarray, "N C H W"]:
    """Give images as (N, channels, height, width), whether they came without channels or with these last."""
    if len(images) == 0 or images.dtype.kind not in "uif":
        raise InputError(f"{where}: no images, or of type {images.dtype}; numbers were expected")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError(f"{where}: some pixels are not finite numbers; mend or leave out these images")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if images.ndim == 4 and images.shape[1] in _CHANNELS:
        return images
    raise InputError(f"{where}: shape {images.shape}; expected (N, height, width) or with 1, 3 or 4 channels beside")
