"""Cards for the screen: a table of all, and everything about one."""

from __future__ import annotations

import re
from importlib.util import find_spec
from os import environ
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from matcard.data.card import FORMATS, KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matcard.data.card import Card, Download, Query
    from matcard.data.distinct import Distinct

_UNKNOWN = "?"
_SHOWN = 12  # classes that are listed; of more only the ends


def list_cards(cards: Iterable[Card]) -> Table:
    """Give the table of cards: name, kind, rows, classes, imbalance ratio, licence, whether it is on disk."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("name", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "classes", "imbalance"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("on disk", no_wrap=True)
    for card in cards:
        counts = card.known_counts
        table.add_row(
            card.name,
            card.kind,
            _number(card.rows if counts is None else sum(counts.values())),
            _number(card.num_classes if counts is None else len(counts)),
            _UNKNOWN if counts is None else f"{_ratio(counts):.4g}",
            re.split(r" \(|;", card.licence)[0],
            disk_state(card),
        )
    return table


def show_card(card: Card) -> Table:
    """Give everything about a card."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, content in _entries(card):
        grid.add_row(heading, Text(content))
    return grid


def distinct_table(distinct: Distinct) -> Table:
    """Give how many samples of each class are distinct, at each scale that was counted; rare classes last."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("class", overflow="fold")
    table.add_column("samples", justify="right")
    for scale in distinct.scales:
        table.add_column(f"distinct, {scale:g}" if scale == distinct.scale else f"{scale:g}", justify="right")
    for label in sorted(range(len(distinct.samples)), key=lambda label: -distinct.samples[label]):
        numbers = (f"{row[label]:,.1f}" for row in distinct.numbers)
        table.add_row(Text(distinct.class_names[label]), _number(distinct.samples[label]), *numbers)
    return table


def disk_state(card: Card) -> str:
    """Say whether a card's files lie in the cache; whether they are sound shows when they are used."""
    if card.made_by_code:
        return "made by code"
    have, wanted = sum((card.folder / name).is_file() for name in card.file_names), len(card.file_names)
    return "yes" if have == wanted else "no" if have == 0 else f"{have} of {wanted}"


def say_counts(counts: dict[str, int]) -> str:
    """List classes with their rows and shares; of many only the commonest and the rarest."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    lines = [f"{name}: {count:,} ({count / total:.1%})" for name, count in ordered]
    if len(lines) > _SHOWN:
        left = len(lines) - _SHOWN
        lines = [*lines[: _SHOWN // 2], f"... {left} more ...", *lines[-_SHOWN // 2 :]]
    return "\n".join([*lines, f"imbalance ratio {_ratio(counts):.4g}"])


def _entries(card: Card) -> list[tuple[str, str]]:
    counts = card.known_counts
    return [
        (heading, content)
        for heading, content in (
            ("name", card.name),
            ("title", card.title),
            ("kind", card.kind),
            ("description", card.description),
            ("known problems", "\n".join(f"- {problem}" for problem in card.known_problems)),
            ("citation", card.citation),
            ("licence", card.licence),
            ("rows", _number(card.rows if counts is None else sum(counts.values()))),
            ("target", _target(card)),
            ("classes", "not measured yet: fetch it" if counts is None else say_counts(counts)),
            ("format", f"{card.format}: {FORMATS[card.kind][card.format]}"),
            ("columns", _columns(card)),
            ("parameters", _mapping(card.parameters)),
            ("query", "" if card.query is None else _query(card.query)),
            ("files", "\n".join(map(_file, card.urls))),
            ("needs", "\n".join(_needs(card))),
            ("on disk", f"{disk_state(card)}{'' if card.made_by_code else f': {card.folder}'}"),
        )
        if content
    ]


def _target(card: Card) -> str:
    if card.threshold is not None:
        return f"{card.target}, class 1 where it is at or above {card.threshold:g}"
    if card.bins is not None:
        return f"{card.target}, classes between {', '.join(f'{edge:g}' for edge in card.bins)}"
    if card.window is not None:
        return f"{card.target}, inside where {card.window.low:g} <= {card.window.column} <= {card.window.high:g}"
    return card.target


def _columns(card: Card) -> str:
    roles = {
        "id": card.id_column,
        "structure": card.structure_column,
        "composition": card.composition_column,
        "features": ", ".join(card.feature_columns),
    }
    return _mapping({role: column for role, column in roles.items() if column})


def _query(query: Query) -> str:
    return f"fields {', '.join(query.fields)}\nfilters {_mapping(query.filters, ', ')}"


def _mapping(values: Mapping[str, Any], between: str = "\n") -> str:
    return between.join(f"{name}: {value}" for name, value in values.items())


def _file(download: Download) -> str:
    size = "size not stated" if download.size is None else f"{download.size:,} bytes"
    checksums = [f"{algorithm} {checksum}" for algorithm, checksum in download.checksums.items()]
    stated = checksums or ["no published checksum: its sha256 is noted at the first fetch and checked from then on"]
    places = [download.url, *(f"or {mirror}" for mirror in download.mirrors)]
    return "\n  ".join([f"{download.file_name}, {size}", *places, *stated])


def _needs(card: Card) -> list[str]:
    if card.made_by_code:
        return ["nothing: it is made by code"]
    if card.query is None:
        return ["the internet, or the files placed by hand, or MATCARD_MIRROR"]
    package = "installed" if find_spec("mp_api") else "not installed: pip install 'matcard[mp]'"
    key = "set" if environ.get(KEY) else "not set: get a key at https://materialsproject.org/api"
    return ["the internet", f"mp-api ({package})", f"{KEY} ({key})"]


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _ratio(counts: dict[str, int]) -> float:
    return max(counts.values()) / max(1, min(counts.values()))
