"""`python -m matcard.train`: train a classifier of crystals and measure it on the test part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matcard.cli import run_command
from matcard.errors import InputError
from matcard.training.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """Train a classifier of crystals, choose its best epoch on the validation part and measure it
once on the test part. Go on with a killed run by --resume RUN_DIR."""


def main(argv: Sequence[str]) -> None:
    """Train a new run, or resume one."""
    if any(word == "--resume" or word.startswith("--resume=") for word in argv):
        folder = _resumed(list(argv))
        from matcard.training.run import resume

        resume(folder)
        return
    config = parse_config(argv, prog="python -m matcard.train", description=DESCRIPTION)
    from matcard.training.run import train

    train(config)


def _resumed(argv: list[str]) -> Path:
    words = argv[0].split("=", 1) + argv[1:] if argv[0].startswith("--resume=") else argv
    if len(words) != 2 or words[0] != "--resume":
        raise InputError(
            "--resume RUN_DIR stands alone: a resumed run keeps the options in its config.yaml; for other options "
            "start a new run with --config RUN_DIR/config.yaml and the options that differ"
        )
    return Path(words[1])


if __name__ == "__main__":
    run_command(main)
