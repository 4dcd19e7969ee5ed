"""Class counts of a card: as measured on its files, which are kept beside them, or else as the card states."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.data.downloads.places import folder_of
from matcard.errors import MatcardWarning
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from jaxtyping import Int

    from matcard.data.cards.card import Card


def known_counts(card: Card) -> dict[str, int] | None:
    """Give the rows of each class under the default target: measured, stated by the card, or None."""
    try:
        kept = json.loads(_path(card).read_text(encoding="utf-8"))
        if kept["target"] == _target(card):
            return {str(name): int(count) for name, count in kept["counts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return card.class_counts


def measure_counts(card: Card) -> dict[str, int]:
    """Count the rows of each class in the files of a card (downloaded if need be), and keep the counts beside them.

    Rows without a value of the target do not count; rows whose structure cannot be used do. Counts that differ from
    those that the card states raise a `MatcardWarning`.

    Raises:
        InputError: files that cannot be had or read.
    """
    names, codes = _MEASURES[card.kind](card)
    counted = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    counts = dict(zip(names, counted, strict=True))
    if card.class_counts is not None and counts != card.class_counts:
        warnings.warn(
            f"{card.name}: the files hold {counts}, the card states {card.class_counts}", MatcardWarning, stacklevel=2
        )
    if not card.made_by_code:
        _keep(card, counts)
    return counts


def _keep(card: Card, counts: dict[str, int]) -> None:
    try:
        with written_whole(_path(card)) as beside:
            beside.write_text(json.dumps({"target": _target(card), "counts": counts}, indent=1), encoding="utf-8")
    except OSError as error:
        warnings.warn(f"the counts are not kept in {_path(card)} ({error.strerror})", MatcardWarning, stacklevel=3)


def _path(card: Card) -> Path:
    return folder_of(card) / "class_counts.json"


def _target(card: Card) -> dict[str, Any]:
    """What the counts depend on."""
    return {
        "target": card.target,
        "threshold": card.threshold,
        "bins": None if card.bins is None else list(card.bins),
        "window": None if card.window is None else asdict(card.window),
    }


def _labelled(card: Card, values: pd.Series[Any]) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    from matcard.data.labels import make_labels

    labels = make_labels(values, threshold=card.threshold, bins=card.bins, target=card.target)
    return labels.class_names, labels.codes


def _of_crystals(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    """Read the target alone; no structure is decoded."""
    import pandas as pd

    from matcard.crystals.readers.batch import Wanted
    from matcard.crystals.readers.read import open_source
    from matcard.data.cards.read import crystal_source, load_table

    if card.format == "generated":
        return _labelled(card, load_table(card).columns[card.target])
    wanted = Wanted(card.id_column, card.structure_column, card.target)
    parts = [batch.columns[card.target] for batch in open_source(crystal_source(card), wanted)]
    return _labelled(card, pd.concat(parts, ignore_index=True).infer_objects())


def _of_compositions(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    from matcard.data.cards.read import load_frame

    return _labelled(card, load_frame(card)[card.target])


def _of_images(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    from matcard.data.downloads import fetch
    from matcard.data.image_files import read_cifar, read_idx

    files = fetch(card)
    if card.format == "idx":
        return card.class_names, np.concatenate([read_idx(path) for name, path in files.items() if "labels" in name])
    if card.format == "cifar":
        images = read_cifar(next(iter(files.values())), card.labels or "labels")
        return images.class_names, np.concatenate([images.y_train, images.y_test])
    from sklearn.datasets import load_digits

    return card.class_names, load_digits().target


def _of_table(card: Card) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    from sklearn.datasets import make_classification

    codes = make_classification(**card.parameters)[1]
    return card.class_names, codes


_MEASURES = {"crystals": _of_crystals, "compositions": _of_compositions, "images": _of_images, "table": _of_table}
