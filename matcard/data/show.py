"""Cards for the screen: a table of all, and everything about one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table
from rich.text import Text

from matcard.data.card import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matcard.data.card import Card
    from matcard.data.draws import Distinct

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
    """Give everything about a card: what its keys say, the classes as far as they were counted, where its files are."""
    counts, place = card.known_counts, disk_state(card)
    said = _given(asdict(card)) | {
        "class_counts": "not measured yet: fetch it" if counts is None else say_counts(counts),
        "format": f"{card.format}: {FORMATS[card.kind][card.format]}",
        "on_disk": place if card.made_by_code else f"{place}: {card.folder}",
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in said.items():
        grid.add_row(key.replace("_", " "), Text(_written(value)))
    return grid


def _written(value: Any) -> str:
    """Write names in a line, sentences one below the other, and what is nested as YAML."""
    if not isinstance(value, list | dict):
        return str(value)
    if all(isinstance(one, str) for one in value) and isinstance(value, list):
        return "\n".join(f"- {one}" for one in value) if any(" " in one for one in value) else ", ".join(value)
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6).strip()


def _given(value: Any) -> Any:
    """Give nested values as dicts and lists, without those that are not given."""
    if isinstance(value, Mapping):
        return {key: _given(inner) for key, inner in value.items() if inner not in (None, (), {})}
    return list(map(_given, value)) if isinstance(value, list | tuple) else value


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


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _ratio(counts: dict[str, int]) -> float:
    return max(counts.values()) / max(1, min(counts.values()))
