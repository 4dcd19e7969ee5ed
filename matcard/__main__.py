"""`matcard COMMAND ...`: all commands under one name; `matcard train` is `python -m matcard.train`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from matcard import __version__
from matcard.cli import run_command
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "train": ("matcard.train", "train a classifier and measure it once on the test part"),
    "tune": ("matcard.tune", "search a loss's scale and weights, or any other option, by Optuna"),
    "compare": ("matcard.compare", "compare losses under one protocol, over data sets and seeds"),
    "evaluate": ("matcard.evaluate", "measure a trained run on a new labelled set, or choose another decision rule"),
    "predict": ("matcard.predict", "predict the classes of new samples by one run or several"),
    "report": ("matcard.report.__main__", "write the report of a finished run, or of a study, again"),
    "data": ("matcard.data.__main__", "list data sets, show what a card says, download"),
    "losses": ("matcard.losses.__main__", "show the losses, their formulas and their options"),
}
"""Each command: the module whose `main` takes the words after it, and what it does."""


def main() -> None:
    """Hand the words after the name of a command to its module, which is imported only then."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("usage: matcard COMMAND [options]\n\nCrystal-graph networks that find the rare class.\n")
        print("\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()))
        print("\nmatcard COMMAND --help tells the options of a command; matcard --version the version.")
    elif name == "--version":
        print(f"matcard {__version__}")
    elif name in COMMANDS:
        run_command(import_module(COMMANDS[name][0]).main, words)
    else:
        run_command(_refuse, [name])


def _refuse(words: Sequence[str]) -> None:
    raise InputError(f"there is no command {words[0]!r}; {nearest_names(words[0], COMMANDS)}")


if __name__ == "__main__":
    main()
