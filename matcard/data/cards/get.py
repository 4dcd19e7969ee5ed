"""Fetching data sets for a user who looks on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.data.cards.counts import measure_counts
from matcard.data.cards.show import say_counts
from matcard.data.downloads import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from matcard.data.cards.card import Card


def get_cards(cards: Iterable[Card], console: Console, *, timeout: float) -> None:
    """Download the files of cards, check them, count their classes and say so.

    Raises:
        InputError: a file that cannot be had or read.
    """
    for card in cards:
        console.print(f"[bold]{card.name}[/]: {card.title}")
        for path in fetch(card, timeout=timeout).values():
            console.print(f"  {path} ({path.stat().st_size:,} bytes)", markup=False, soft_wrap=True)
        with console.status(f"counting the classes of {card.name}"):
            counts = measure_counts(card)
        for line in say_counts(counts).splitlines():
            console.print(f"  {line}", markup=False)
