"""From a source to labelled samples in three parts: the data half of the straight line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.read import read_crystals
from matcard.crystals.table import CrystalTable
from matcard.data.cache import cache_dir
from matcard.data.card import card_names, load_card
from matcard.data.imbalance import make_imbalanced
from matcard.data.kinds import kind_of
from matcard.data.labelled import CrystalData
from matcard.data.splits import Split, seen_note, split_table
from matcard.data.tables import ArrayTable
from matcard.errors import InputError, listed, nearest_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.crystals.graphs import Graphs
    from matcard.crystals.neighbors import GraphOptions
    from matcard.data.card import Card
    from matcard.data.labelled import LabelledData
    from matcard.data.labelling import LabelledTable
    from matcard.data.options import DataOptions
    from matcard.data.tables import Table

    Progress = Callable[[int, int | None], None]


def read_labelled(options: DataOptions, progress: Progress | None = None) -> LabelledTable:
    """Read the crystals, images or rows of a card or a path and give each its class.

    Args:
        options: what is read and classified.
        progress: called with the rows parsed and their number, an estimate or None, where crystals are not yet parsed.

    Raises:
        InputError: no such source or column, a target that gives fewer than two classes, an unreadable file.
    """
    from matcard.crystals.files import source_exists
    from matcard.data.labelling import label_table
    from matcard.data.unused import tell_unused

    source = options.source
    card = load_card(source) if source in card_names() else None
    if card is None and not source_exists(source):
        raise InputError(
            f"--data.source {source}: neither a file or folder nor the name of a data set; "
            f"{nearest_names(source, card_names())}"
        )
    tell_unused(options, card)
    table = _read(options, card, progress)
    ways: dict[str, Any] = {name: getattr(options, name) for name in ("threshold", "bins", "window")}
    target = options.target
    if target is None and card is not None:
        target = card.target
        if all(way is None for way in ways.values()):
            # A window is in the target's column already, as words.
            ways |= {"threshold": card.threshold, "bins": list(card.bins) if card.bins else None}
    if target is None and isinstance(table, ArrayTable) and table.kind == "images":
        target = str(table.columns.columns[0])
    if target is None:
        raise InputError(
            f"--data.target is not given: name the column of {source} to predict, one of "
            f"{listed(table.columns.columns)}"
        )
    return label_table(table, target, source, **ways)


def prepare(
    labelled: LabelledTable,
    options: DataOptions,
    *,
    seed: int,
    saved_split: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledData:
    """Split the samples, or as a saved run did, and build or open the graphs of crystals.

    Raises:
        InputError: a split that cannot be made, or a saved one of other data.
    """
    table = labelled.table
    if saved_split is not None:
        split = Split.from_json(saved_split, table.ids)
    else:
        split = split_table(
            table,
            labelled.codes,
            options.split,
            seed=seed,
            class_names=labelled.class_names,
            of_numbers=labelled.of_numbers,
        )
        split = make_imbalanced(split, labelled.codes, options.imbalance, seed=seed)
    common: dict[str, Any] = {
        "ids": table.ids,
        "codes": labelled.codes,
        "class_names": labelled.class_names,
        "split": split,
    }
    if isinstance(table, ArrayTable):
        from matcard.data.arrays import ArrayData, standardisation

        mean, std = standardisation(table.inputs, split, options.standardise)
        return ArrayData(
            **common,
            kind=table.kind,
            notes=(*_array_notes(table), *seen_note(split, options.split.seen)),
            inputs=table.inputs,
            mean=mean,
            std=std,
            features=table.features,
            made_of=table.made_of,
            augment=options.augment,
        )
    from matcard.crystals.graphs import open_graphs

    graphs = open_graphs(table.crystals, options.graph, cache_dir() / "graphs", jobs=options.jobs, progress=progress)
    return CrystalData(
        **common,
        notes=(*_graph_notes(graphs, options.graph), *seen_note(split, options.split.seen)),
        graphs=graphs,
        graph_options=options.graph,
    )


def _read(options: DataOptions, card: Card | None, progress: Progress | None) -> Table:
    kind = kind_of(options)
    if card is not None and kind != card.kind:
        raise InputError(f"--data.kind {kind}: the data set {card.name} holds {card.kind}; leave the option out")
    if kind == "images":
        from matcard.data.images import read_images

        return read_images(options, card)
    if kind != "crystals":
        from matcard.data.rows import read_rows

        return read_rows(options, card, kind)
    return _read_crystals(options, card, progress)


def _read_crystals(options: DataOptions, card: Card | None, progress: Progress | None) -> CrystalTable:
    if card is not None:
        from matcard.data.sources import load_crystals

        return CrystalTable.of(load_crystals(card, jobs=options.jobs, progress=progress))
    crystals = read_crystals(
        options.source,
        id_column=options.id_column,
        structure_column=options.structure_column,
        jobs=options.jobs,
        progress=progress,
    )
    return CrystalTable.of(crystals.with_label(options.target))


def _graph_notes(graphs: Graphs, options: GraphOptions) -> list[str]:
    """Say how many atoms have fewer neighbours than asked for, or a shell that was cut."""
    within = f"{options.neighbors} neighbours within {options.radius:g} A"
    counts = {
        "without any neighbour": graphs.isolated,
        f"with fewer than {within}": graphs.short,
        f"whose shell of equal distances was cut to keep {options.neighbors} neighbours": graphs.truncated,
    }
    return [f"{np.sum(atoms)} atoms {what}" for what, atoms in counts.items() if np.any(atoms)]


def _array_notes(table: ArrayTable) -> list[str]:
    """Say what the columns are."""
    if not table.features:
        return []
    shown = ", ".join(table.features[:_SHOWN]) + (", ..." if len(table.features) > _SHOWN else "")
    return [f"{len(table.features)} columns of numbers: {shown}"]


_SHOWN = 24
"""Names of columns that a note lists."""
