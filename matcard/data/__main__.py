"""`python -m matcard.data [show|fetch] [NAME ...]`: the data sets there are, what each is, and getting them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from matcard.cli import make_console, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """List the data sets there is a card for: rows, classes, imbalance (rows of the commonest class for each
of the rarest), licence, and whether the files are in the cache. A question mark stands for what is measured at the
first fetch. Any of them can be given as --data.source."""

FETCH = """Download the files of data sets into the cache, checked, and count their classes. The cache is the folder
named by MATCARD_CACHE; a folder or url in MATCARD_MIRROR is tried before the internet."""


def main(argv: Sequence[str]) -> None:
    """List cards, show some or fetch some."""
    parser = argparse.ArgumentParser(prog="python -m matcard.data", description=DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="show|fetch")
    show = actions.add_parser("show", help="show everything about data sets", description="Show all a card says.")
    fetch = actions.add_parser("fetch", help="download data sets and count their classes", description=FETCH)
    for action in (show, fetch):
        action.add_argument("names", nargs="+", metavar="NAME", help="name of a data set")
    show.add_argument(
        "--distinct",
        action="store_true",
        help="count distinct samples of each class: reads the data, and takes some 2 ms a formula of crystals at first",
    )
    options = parser.parse_args(argv)

    from matcard.data import card as card_files
    from matcard.data import show as screen
    from matcard.data.options import ABOUT

    names = card_files.card_names() if options.action is None else options.names
    cards = [card_files.load_card(name) for name in names]
    console = make_console()
    if options.action is None:
        console.print(screen.list_cards(cards))
    elif options.action == "show":
        for card in cards:
            console.print(screen.show_card(card))
            if options.distinct:
                from matcard.data.read import count_source

                distinct = count_source(card.name)
                console.print(screen.distinct_table(distinct))
                for text in distinct.warnings(ABOUT[card.kind].unit):
                    console.print(text, markup=False)
            console.print()
    else:
        from matcard.data import read, sources

        for card in cards:
            console.print(f"[bold]{card.name}[/]: {card.title}")
            for path in sources.fetch(card).values():
                console.print(f"  {path} ({path.stat().st_size:,} bytes)", markup=False, soft_wrap=True)
            with console.status(f"counting the classes of {card.name}"):
                counts = read.measure_counts(card)
            for line in screen.say_counts(counts).splitlines():
                console.print(f"  {line}", markup=False)


if __name__ == "__main__":
    run_command(main)
