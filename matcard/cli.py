"""What every command shares: bad input is a message and exit code 2, an interruption says what is kept."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError, MatcardWarning, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from matcard.data.options import DataOptions

NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
"""What the system says of a disk that takes no more: no fault of the code."""
PIPE_WIDTH = 110
"""Characters a line where the output is no screen."""


def run_command(command: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run a command on the words of the command line and exit with its code.

    Exit codes: 0 done, 1 training failed, 2 bad usage or input, 130 interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except (InputError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt as interruption:
        print(f"\ninterrupted{f': {interruption}' if str(interruption) else ''}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, a pager) has gone; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        print(f"error: cannot write ({error}): make room, or choose another place", file=sys.stderr)
        sys.exit(2)


def positive(text: str) -> int:
    """Read an option that is a whole number of 1 or more, as argparse's `type`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected 1 or more")
    return number


def add_reading(parser: argparse.ArgumentParser, data: argparse._ActionsContainer) -> None:
    """Add the options of commands that predict: columns of tables to `data`, device, batches, processes to `parser`."""
    for column, what in (("id", "ids"), ("structure", "structures"), ("composition", "formulas")):
        text = f"column of {what} in tables"
        data.add_argument(f"--data.{column}_column", dest=f"{column}_column", metavar="NAME", help=text)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; auto takes a GPU where there is one")
    batch = "samples in a batch (default: %(default)s)"
    parser.add_argument("--batch-size", type=positive, default=256, metavar="N", help=batch)
    jobs = "processes that parse and build graphs; -1: all cores"
    parser.add_argument("--jobs", type=int, default=-1, metavar="N", help=jobs)


def data_options(options: argparse.Namespace, **more: Any) -> DataOptions:
    """Give those of `add_reading` as options of the data, beside others."""
    from matcard.data.options import DataOptions

    columns = {name: getattr(options, name) for name in ("id_column", "structure_column", "composition_column")}
    return DataOptions(**columns, jobs=options.jobs, **more)


def rank() -> int:
    """Give this process's number among those of a run: torchrun or srun says it, or Lightning, where it starts them."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return int(os.environ.get("SLURM_PROCID", "0"))
    return int(os.environ.get("LOCAL_RANK", "0"))


def make_console() -> Console:
    """Give the console that commands print to: as wide as the screen, or wide enough for tables in a file or pipe.

    In a run of several processes only the first prints.
    """
    from rich.console import Console

    screen = sys.stdout.isatty()
    return Console(
        width=None if screen else PIPE_WIDTH,
        # Jupyter claims to be a terminal: bars would be drawn there one below the other.
        force_terminal=None if screen else False,
        force_jupyter=False,
        quiet=rank() != 0,
    )


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Print matcard's own warnings as sentences and leave out those that libraries send to programmers."""
    if issubclass(category, MatcardWarning):
        print(f"warning: {message}", file=sys.stderr)
