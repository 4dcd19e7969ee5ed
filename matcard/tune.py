"""`python -m matcard.tune`: an Optuna study of the loss's scale, its weights, or any other option."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from matcard.cli import make_console, run_command
from matcard.study.settings import StudyOptions
from matcard.training.config import config_to_dict, parse_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcard.study.settings import Settings

PROG = "python -m matcard.tune"
DESCRIPTION = """Search the options that are best on the validation part. All options of matcard.train are taken,
too: they are what trials start from. A study that exists is continued by --study NAME alone."""


def main(argv: Sequence[str]) -> None:
    """Run a study, or go on with one."""
    settings = parse_settings(argv)
    from matcard.report.page import show_page
    from matcard.report.study import write_study_report
    from matcard.study.tuning import run_study

    console = make_console()
    run_study(settings, console, lambda path: show_page(path, lambda: write_study_report(path), console))


def parse_settings(argv: Sequence[str]) -> Settings:
    """Parse the command line, over what the study began with where it exists.

    The command line's options stand above those of the trial's training, these above those that go with the space,
    these above --config.

    Raises:
        InputError: unknown option (with the nearest names), wrong type, unreadable file.
    """
    from matcard.study.settings import Settings, StudyDir, read_entries, trial_settings

    named = _named(argv, "study", "space", "trial_config", "jobs", "scheduler")
    begun = None
    if named["study"] is not None and (folder := StudyDir.named(named["study"], "")).settings.is_file():
        begun = Settings.read(folder.settings)
    own = begun.options if begun else StudyOptions()
    if named["jobs"] or named["scheduler"]:  # one takes the place of the other with which the study began
        own = replace(own, jobs=1, scheduler=None)
    entries = begun.space if begun and not named["space"] else read_entries(named["space"] or own.space)
    fresh = begun is None or named["trial_config"] is not None
    layers = [dict(entries.get("config") or {})]
    short = [*layers, trial_settings(named["trial_config"] or own.trial_config)] if fresh else layers
    parsed: list[Any] = [
        parse_beside(argv, own, prog=PROG, description=DESCRIPTION, base=base, over=over)
        for base, over in ((begun.config if begun else None, layers), (begun.trial if begun else None, short))
    ]
    (config, options), (trial, _) = parsed
    return Settings(config_to_dict(config), config_to_dict(trial), entries, options)


def _named(argv: Sequence[str], *names: str) -> dict[str, str | None]:
    """Read options that decide how the others are read."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        first.add_argument(f"--{name}")
    return vars(first.parse_known_args(list(argv))[0])


if __name__ == "__main__":
    run_command(main)
