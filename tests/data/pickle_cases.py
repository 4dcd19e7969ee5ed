"""Pickles as Python 2 wrote them: the official batches of CIFAR are such."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile

import numpy as np


class Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as the `str` of Python 2, by protocol 2."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def _save_str(self, value):
        content = value if isinstance(value, bytes) else value.encode("latin-1")
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_str


def python2_pickle(value, core="numpy.core"):
    """Pickle a value with the names of numpy 1, or others."""
    file = io.BytesIO()
    Python2Pickler(file).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", f"c{core}.multiarray\n".encode())


def cifar_files(labels=("labels",), classes=10, images=4, seed=0, core="numpy.core"):
    """The content of the files of CIFAR-10, or CIFAR-100 for other labels, with few images a batch."""
    generator = np.random.default_rng(seed)
    ten = labels == ("labels",)
    train = [f"data_batch_{k}" for k in range(1, 6)] if ten else ["train"]
    test, meta = ("test_batch", "batches.meta") if ten else ("test", "meta")
    files = {}
    for name in (*train, test):
        batch = {"data": generator.integers(0, 256, (images, 3072)).astype(np.uint8), "batch_label": name}
        batch["filenames"] = [f"{k}.png" for k in range(images)]
        for key in labels:
            batch[key] = generator.integers(0, classes, images).tolist()
        files[name] = batch
    names = {"labels": "label_names", "fine_labels": "fine_label_names", "coarse_labels": "coarse_label_names"}
    files[meta] = {names[key]: [f"class {k}" for k in range(classes)] for key in labels}
    return files, {name: python2_pickle(value, core) for name, value in files.items()}


def write_tar(path, files, folder="cifar-10-batches-py"):
    """Write a tar.gz as the makers of CIFAR packed theirs: a folder, then its files."""
    with tarfile.open(path, "w:gz") as tar:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
