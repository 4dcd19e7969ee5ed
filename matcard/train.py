"""`python -m matcard.train`: train a classifier of crystals and measure it on the test part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matcard.cli import make_console, run_command
from matcard.errors import InputError
from matcard.training.config import parse_config
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcard.data.samples import Samples
    from matcard.training.options import Config

DESCRIPTION = """Train a classifier of crystals, choose its best epoch on the validation part and measure it
once on the test part. Go on with a killed run by --resume RUN_DIR."""


def main(argv: Sequence[str]) -> None:
    """Train a new run, or resume one."""
    if any(word == "--resume" or word.startswith("--resume=") for word in argv):
        words = argv[0].split("=", 1) + list(argv[1:]) if argv[0].startswith("--resume=") else argv
        if len(words) != 2 or words[0] != "--resume":
            raise InputError(
                "--resume RUN_DIR stands alone: a resumed run keeps the options in its config.yaml; for other options "
                "start a new run with --config RUN_DIR/config.yaml and the options that differ"
            )
        begun: Path | Config = Path(words[1])
    else:
        begun = parse_config(argv, prog="python -m matcard.train", description=DESCRIPTION)
    # What is wrong with the directory is said before the seconds that Lightning takes to load.
    RunDir.unfinished(begun) if isinstance(begun, Path) else RunDir.planned(begun)
    from matcard.training.run import resume, train

    console = make_console()

    def report(folder: Path, samples: Samples) -> None:
        from matcard.report.page import show_page
        from matcard.report.run import write_report

        show_page(folder, lambda: write_report(folder, samples=samples), console)

    if isinstance(begun, Path):
        resume(begun, console, report)
    else:
        train(begun, console, report)


if __name__ == "__main__":
    run_command(main)
