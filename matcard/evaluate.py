"""`python -m matcard.evaluate`: a trained run on a new labelled set, its test figures, or another decision rule."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from matcard.cli import make_console, positive, processes, run_command
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.decision import DecisionOptions, Objective, Rule
from matcard.files import first_free
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from matcard.evaluation.decision import Decision
    from matcard.prediction.assess import Assessment
    from matcard.prediction.predictor import Predictor

DESCRIPTION = """Measure a trained run on a new labelled set: its classes by the run's own threshold, its scores at the
most likely class and at the decision rule that was chosen on validation, with intervals. Without --data.source the
figures of the run's own test part are shown again; with --decision.rule, another rule is chosen on the validation
scores that the run has kept."""

_OF_A_SET = {
    "source_target": "--data.target",
    "id_column": "--data.id_column",
    "structure_column": "--data.structure_column",
    "composition_column": "--data.composition_column",
    "prior": "--prior",
    "output": "--output",
}
"""Options that need a labelled set."""
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"


def main(argv: Sequence[str]) -> None:
    """Measure, print and write."""
    options = build_parser().parse_args(argv)
    console = make_console()
    asked = decision_options(options)
    if options.save and asked is None:
        raise InputError("--save keeps another decision rule: name one by --decision.rule")
    prior = parse_prior(options.prior)
    if options.source is None:
        for name, flag in _OF_A_SET.items():
            if getattr(options, name) is not None:
                raise InputError(f"{flag} goes with a labelled set: name one by --data.source")
        if asked is None:
            show_test(console, Path(options.run))
        else:
            decide(console, Path(options.run), asked, save=options.save)
        return
    folder = Path(options.output) if options.output else folder_of(Path(options.run), options.source)
    if (folder / METRICS).exists():
        raise InputError(f"--output {folder} holds an evaluation already: name another folder")
    from matcard.data.options import DataOptions
    from matcard.prediction.assess import assess, check_prior, read_set
    from matcard.prediction.predictor import load_run
    from matcard.prediction.writers import check_output

    run = load_run(options.run, device=options.device)
    check_prior(prior, run.class_names)
    if asked is not None:
        run.decision = decide(console, Path(options.run), asked, save=options.save)
    check_output(folder / PREDICTIONS)
    with crystal_progress(console, "reading", run.kind.unit) as progress:
        asked_for = DataOptions(
            options.source,
            target=options.source_target,
            id_column=options.id_column,
            structure_column=options.structure_column,
            composition_column=options.composition_column,
            jobs=options.jobs,
        )
        samples = read_set(run, asked_for, leave_out_unknown=options.leave_out_unknown, progress=progress)
    found = assess(run, samples, prior=prior, batch_size=options.batch_size, jobs=options.jobs)
    write(folder, found, options.source)
    show(console, run, found, folder)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m matcard.evaluate", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN_DIR", help="directory of a finished run, or its model folder")
    data = parser.add_argument_group("the new set")
    data.add_argument("--data.source", dest="source", metavar="SOURCE", help="card or path, as in training")
    data.add_argument(
        "--data.target", dest="source_target", metavar="NAME", help="column of the labels; the run's by default"
    )
    data.add_argument("--data.id_column", dest="id_column", metavar="NAME", help="column of ids")
    data.add_argument("--data.structure_column", dest="structure_column", metavar="NAME", help="column of structures")
    data.add_argument("--data.composition_column", dest="composition_column", metavar="NAME", help="column of formulas")
    rule = parser.add_argument_group("another decision rule", "see matcard.train --help; chosen on validation scores")
    rule.add_argument("--decision.rule", dest="rule", choices=get_args(Rule))
    rule.add_argument("--decision.objective", dest="objective", choices=get_args(Objective))
    rule.add_argument("--decision.positive", dest="positive", metavar="CLASS")
    rule.add_argument("--decision.target", dest="target", type=float, metavar="NUMBER")
    rule.add_argument("--decision.costs", dest="costs", metavar="FILE")
    rule.add_argument("--decision.shares", dest="shares", metavar="SHARES")
    rule.add_argument("--save", action="store_true", help="make it the rule of the run, for prediction and report")
    parser.add_argument("--leave-out-unknown", action="store_true", help="leave out classes that the run does not know")
    parser.add_argument(
        "--prior",
        metavar="SHARES",
        help="class shares to correct the probabilities for: `estimate` takes them from the predictions alone, "
        "`labels` counts the labels of the new set, or numbers such as 0.9,0.1 in the order of the classes",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write; RUN_DIR/evaluations/NAME by default")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; auto takes a GPU where there is one")
    parser.add_argument("--batch-size", type=positive, default=256, metavar="N", help="samples in a batch")
    parser.add_argument("--jobs", type=processes, default=-1, metavar="N", help="processes that parse and build graphs")
    return parser


def parse_prior(text: str | None) -> str | list[float] | None:
    """Read `--prior`.

    Raises:
        InputError: neither a known word nor numbers that can be shares.
    """
    if text is None or text in ("estimate", "labels"):
        return text
    shares = _numbers(text)
    if len(shares) < 2 or not all(0 <= share < float("inf") for share in shares) or sum(shares) == 0:
        raise InputError(f"--prior {text}: expected estimate, labels, or a share for each class such as 0.9,0.1")
    return shares


def decision_options(options: argparse.Namespace) -> DecisionOptions | None:
    """Give the rule that is asked for; None where there is none.

    Raises:
        InputError: options of a rule without the rule, or such as do not go with it.
    """
    values = {field.name: getattr(options, field.name) for field in fields(DecisionOptions)}
    given = {name: value for name, value in values.items() if value is not None}
    if given and options.rule is None:
        raise InputError(f"--decision.{next(iter(given))} goes with a rule: name it by --decision.rule")
    if options.shares is not None:
        given["shares"] = _numbers(options.shares)
        if not given["shares"]:
            raise InputError(f"--decision.shares {options.shares}: expected numbers such as 0.9,0.1")
    return DecisionOptions(**given) if given else None


def decide(console: Console, path: Path, options: DecisionOptions, *, save: bool) -> Decision:
    """Choose a rule on the validation part of a run and show what it does there; with `save`, on the test part too."""
    from matcard.evaluation.tables import averages_table, recall_table
    from matcard.training.finished import FinishedRun

    run = FinishedRun(path)
    decision = run.choose(options)
    metrics = run.scored("val", decision)
    console.print(f"the validation part of {path}, on which the rule was chosen: {decision.rule}", markup=False)
    console.print(recall_table(metrics["at_decision"]))
    console.print(averages_table(metrics))
    if not save:
        console.print("not saved: --save makes it the rule of the run, and shows the test part at it")
        return decision
    metrics = run.decide(decision)
    console.print(f"the test part of {path} at this rule", markup=False)
    console.print(recall_table(metrics["at_decision"]))
    console.print(averages_table(metrics))
    console.print(f"saved; write the report again by python -m matcard.report {path}", soft_wrap=True, markup=False)
    return decision


def show_test(console: Console, path: Path) -> None:
    """Print the figures of the test part that a run wrote when it was finished.

    Raises:
        InputError: no finished run.
    """
    from matcard.evaluation.tables import print_scores
    from matcard.files import read_json

    file = path / "test_metrics.json"
    if not file.is_file():
        raise InputError(
            f"{path} has no {file.name}: name the directory of a finished run, or a labelled set by --data.source"
        )
    metrics = read_json(file)
    console.print(f"the test part of {path}, as it was measured once when the run was finished", markup=False)
    print_scores(console, metrics)


def write(folder: Path, found: Assessment, source: str) -> None:
    """Write metrics.json, predictions.parquet, left_out.csv and the figures."""
    from matcard.evaluation.figures import write_figures
    from matcard.files import to_json, written_whole
    from matcard.prediction.writers import open_table

    with open_table(folder / PREDICTIONS) as append:
        append(found.table)
    with written_whole(folder / "left_out.csv") as beside:
        found.left_out.to_csv(beside, index=False)
    write_figures(folder, found.targets, found.probabilities, found.metrics)
    to_json({"source": source, **found.metrics}, folder / METRICS)


def show(console: Console, run: Predictor, found: Assessment, folder: Path) -> None:
    """Print the scores, what was left out, what is not new, and whether the class shares fit."""
    from matcard.evaluation.tables import print_scores, shares_table

    metrics, unit = found.metrics, run.kind.unit
    print_scores(console, metrics)
    console.print(shares_table(metrics, run.description.class_counts))
    left = metrics["left_out"]
    unknown = sum(left["unknown"].values())
    if left["malformed"] or left["unlabelled"] or unknown:
        console.print(
            f"left out: {left['malformed']} malformed, {left['unlabelled']} without a label, {unknown} of unknown "
            f"classes; see {folder / 'left_out.csv'}",
            markup=False,
        )
    console.print(f"written: {folder}", soft_wrap=True, markup=False)
    overlap = metrics["overlap"]
    if overlap is None:
        console.print(
            f"whether {unit} of this set stood in training is not known: the model's training.json is missing"
        )
    elif any(overlap[name] for name in run.kind.overlap):
        found_again = " and ".join(f"{overlap[name]} {said}" for name, said in run.kind.overlap.items())
        warnings.warn(
            f"of {overlap['total']} {unit} {found_again} stood in training: on those the scores say little about "
            f"new {unit}",
            MatcardWarning,
            stacklevel=2,
        )
    if found.shares_differ:
        shift = metrics["shift"]
        offer = "" if "corrected" in metrics else "; --prior estimate (or labels, or shares) corrects the probabilities"
        warnings.warn(
            f"the class shares are not those of training: total variation {shift['total_variation']:.3f}, chi-square "
            f"{shift['chi_square']:.1f} (p = {shift['p_value']:.1g}), so that precision, accuracy, F1 and MCC do not "
            f"compare with the test part's{offer}",
            MatcardWarning,
            stacklevel=2,
        )


def _numbers(text: str) -> list[float]:
    """Read numbers between commas; none where one of them is no number."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        return []


def folder_of(run: Path, source: str) -> Path:
    """Give the folder of an evaluation where none is named: the source's name, a file's without its ending.

    Where there is an evaluation of that name, it is numbered.
    """
    path = Path(source).expanduser()
    name = path.resolve().name
    return first_free(run / "evaluations" / (name if path.is_dir() else Path(name.removesuffix(".gz")).stem))


if __name__ == "__main__":
    run_command(main)
