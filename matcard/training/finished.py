"""A finished run, read back from its directory, and another decision rule for it without training."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from matcard.crystals.crystals import Crystals
from matcard.data.draws import Distinct
from matcard.data.kinds import kind_of
from matcard.data.read import read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.calibration import Calibration
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.confusion import minority_mask
from matcard.evaluation.decision import Decision
from matcard.evaluation.printed import averages_table, print_scores, recall_table
from matcard.evaluation.scoring import scored
from matcard.files import read_json, to_json, tuples, written_whole
from matcard.prediction.modelfile import DESCRIPTION, FOLDER, ModelDescription, model_folder
from matcard.training.config import read_config
from matcard.training.options import BY_CLASS
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool, Float, Int, Shaped
    from rich.console import Console

    from matcard.data.samples import Samples
    from matcard.evaluation.decision import DecisionOptions

_PROBABILITY = "prob_"


class Part(NamedTuple):
    """The training, validation or test part: n crystals and what the network says of them."""

    ids: Shaped[np.ndarray, " n"]
    targets: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n C"]

    @property
    def predicted(self) -> Int[np.ndarray, " n"]:
        """The most likely class."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def right(self) -> Bool[np.ndarray, " n"]:
        """Whether the most likely class is the true one."""
        return np.asarray(self.predicted == self.targets)


class FinishedRun:
    """What a run has left in its directory; each file is read when it is first asked for.

    Args:
        path: the run's directory.
        samples: what the run's source holds, where it is at hand; else the source is read again.

    Attributes:
        files: where they lie.
        config: the resolved configuration, as nested dictionaries.
        metrics: those of the test part at argmax, and under `at_decision` with the chosen decision rule.
        source: where the crystals come from.

    Raises:
        InputError: no directory of a run, or one that has not finished.
    """

    def __init__(self, path: Path, samples: Samples | None = None) -> None:
        self.files = RunDir.open(path)
        self.path = path
        self._samples = samples
        if not self.files.test_metrics.is_file():
            raise InputError(
                f"{path} has not finished, so that its results are not there yet: go on with it by "
                f"python -m matcard.train --resume {path}"
            )
        self.config = read_config(self.files.config)
        self.metrics: dict[str, Any] = read_json(self.files.test_metrics)
        self.source = str(self.config["data"]["source"])

    @cached_property
    def decision(self) -> Decision:
        """The decision rule chosen on the validation part."""
        return Decision.load(self.files.decision)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """`metrics.csv`, a row an epoch."""
        return pd.read_csv(self.files.metrics)

    @cached_property
    def split_kind(self) -> str:
        """What the samples of one group of the split share; see `matcard.data.options.SplitOptions`."""
        return str(read_json(self.files.split)["kind"])

    @cached_property
    def distinct(self) -> Distinct | None:
        """How many distinct samples of each class the training part holds; None where nobody has counted them."""
        return Distinct(**tuples(read_json(self.files.distinct))) if self.files.distinct.is_file() else None

    @cached_property
    def description(self) -> ModelDescription | None:
        """What prediction knows of the network; None where its folder was removed."""
        folder = model_folder(self.path)
        return None if folder is None else ModelDescription.load(folder)

    @property
    def drawn(self) -> Float[np.ndarray, " C"] | None:
        """How many of each class an epoch drew, where samples were drawn by what is distinct; else None."""
        if self.files.load_config().trainer.sampler in BY_CLASS or self.description is None:
            return None
        return np.array(self.description.drawn_counts)

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """The rows that were not used: id, where, reason, class; all of them texts."""
        return pd.read_csv(self.files.left_out, dtype=str, keep_default_na=False)

    @cached_property
    def _predictions(self) -> pd.DataFrame:
        if not self.files.predictions.is_file():
            raise InputError(
                f"{self.path} has no {self.files.predictions.name}: reports are written, and rules chosen, from the "
                "scores in the run's own directory"
            )
        return pd.read_parquet(self.files.predictions)

    @cached_property
    def class_names(self) -> list[str]:
        """The C classes, in the order of the probabilities."""
        columns = [str(column) for column in self._predictions.columns]
        return [column.removeprefix(_PROBABILITY) for column in columns if column.startswith(_PROBABILITY)]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The predictions, part by part: `train`, `val` and `test`.

        Raises:
            InputError: the file lacks a part.
        """
        codes = {name: code for code, name in enumerate(self.class_names)}
        columns = [f"{_PROBABILITY}{name}" for name in self.class_names]
        parts = {
            str(part): Part(
                rows["id"].astype(str).to_numpy(dtype=object),
                rows["target"].map(codes).to_numpy(dtype=np.int64),
                rows[columns].to_numpy(),
            )
            for part, rows in self._predictions.groupby("split", sort=False)
        }
        if missing := {"train", "val", "test"} - set(parts):
            raise InputError(f"{self.files.predictions} lacks the rows of {', '.join(sorted(missing))}: copy it again")
        return parts

    @property
    def test(self) -> Part:
        """The test part."""
        return self.parts["test"]

    def numbers(self, name: str) -> pd.DataFrame:
        """Give `id`, `true` and `predicted` of a number of the test part, where it has one."""
        named = {"id": "id", f"number_{name}": "true", f"value_{name}": "predicted"}
        test = self._predictions.loc[self._predictions["split"] == "test", list(named)].rename(columns=named)
        return test[test["true"].notna()].reset_index(drop=True)

    def counts(self, part: str) -> Int[np.ndarray, " C"]:
        """Count the crystals of each class in a part."""
        return np.bincount(self.parts[part].targets, minlength=len(self.class_names))

    @property
    def minority(self) -> Bool[np.ndarray, " C"]:
        """Which classes have a share of the training part below 1/C."""
        return minority_mask(self.counts("train"))

    @cached_property
    def test_samples(self) -> Samples:
        """The crystals of the test part with their other columns, in the order of `test`.

        Raises:
            InputError: the source is gone, or no longer has them.
        """
        if (samples := self._samples) is None:
            with warnings.catch_warnings():
                # They were given when the run read the same source.
                warnings.simplefilter("ignore", MatcardWarning)
                samples = read_labelled(self.files.load_config().data)
        if not isinstance(samples.inputs, Crystals):
            raise InputError(f"{self.source} holds no structures of crystals")
        rows = {str(samples.ids[row]): row for row in samples.used.tolist()}
        if missing := [name for name in self.test.ids if name not in rows]:
            raise InputError(
                f"{len(missing)} of the {len(self.test.ids)} test crystals are no longer in {self.source} "
                f"(the first is {missing[0]}): it has changed since the run"
            )
        return samples.take(np.array([rows[name] for name in self.test.ids], dtype=np.int64))

    @cached_property
    def has_structures(self) -> bool:
        """Whether the source holds structures: neither images nor rows."""
        return kind_of(self.files.load_config().data) == "crystals"

    @property
    def noun(self) -> str:
        """What a sample is called in texts."""
        return "crystal" if self.has_structures else "sample"

    @cached_property
    def test_embeddings(self) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m F"]]:
        """The embeddings of the test part that were kept, and which of its samples they are.

        Raises:
            InputError: the run has kept none.
        """
        path = self.files.embeddings
        if not path.is_file():
            raise InputError(f"the run has kept no {path.name}")
        with np.load(path, allow_pickle=False) as arrays:
            rows = {name: row for row, name in enumerate(arrays["id"].tolist())}
            values = arrays["embedding"]
        kept = np.array([k for k, name in enumerate(self.test.ids.tolist()) if name in rows], dtype=np.int64)
        if not len(kept):
            raise InputError(f"{path.name} holds none of the test part")
        return kept, values[[rows[self.test.ids[k]] for k in kept.tolist()]].astype(np.float64)

    def choose(self, options: DecisionOptions) -> Decision:
        """Choose a decision rule on the validation part; the test part is not looked at.

        Raises:
            InputError: a run without its predictions, or an aim that is out of reach.
        """
        part, drawn = self.parts["val"], None
        if options.rule == "prior":
            if self.description is None:
                raise InputError(
                    f"{self.path} has no {FOLDER}/{DESCRIPTION}, which says how many of each class an epoch drew, the "
                    "prior that --decision.rule prior takes off: copy it again"
                )
            drawn = np.array(self.description.drawn_counts)
        return choose_decision(options, part.targets, part.probabilities, self.class_names, self.counts("train"), drawn)

    def scored(self, part: str, decision: Decision) -> dict[str, Any]:
        """Give the metrics of a part with a decision rule, as `matcard.evaluation.scoring.scored` gives them."""
        samples = self.parts[part]
        return scored(
            samples.targets,
            samples.probabilities,
            train_counts=self.counts("train"),
            decision=decision,
            calibration=Calibration(self.metrics["calibrated"]["temperature"]),
            seed=self.config["seed"],
        )

    def decide(self, decision: Decision) -> dict[str, Any]:
        """Make a rule that of the run, as if it had been trained with it: of prediction, and of the test figures.

        Writes `decision.json`, `model/model.json`, the classes of `predictions.parquet`, and `test_metrics.json`, in
        which all but what stands under `at_decision` stays as it was. `config.yaml` still holds the rule of the
        training.

        Returns:
            the metrics of the test part.

        Raises:
            InputError: a run without its predictions.
        """
        metrics = self.scored("test", decision)
        table = self._predictions.copy()
        chosen = decision.apply(table[[f"{_PROBABILITY}{name}" for name in self.class_names]].to_numpy())
        table["predicted_at_decision"] = np.array(self.class_names, dtype=object)[chosen]
        to_json(decision.to_dict(), self.files.decision)
        if self.description is not None:
            to_json(replace(self.description, decision=decision).to_dict(), self.path / FOLDER / DESCRIPTION)
        with written_whole(self.files.predictions) as beside:
            table.to_parquet(beside, index=False)
        to_json({**read_json(self.files.test_metrics), "at_decision": metrics["at_decision"]}, self.files.test_metrics)
        return metrics


def decide(console: Console, path: Path, options: DecisionOptions, *, save: bool) -> Decision:
    """Choose a rule on the validation part of a run and show what it does there; with `save`, on the test part too."""

    def show(heading: str, metrics: dict[str, Any]) -> None:
        console.print(heading, markup=False)
        console.print(recall_table(metrics["at_decision"]))
        console.print(averages_table(metrics))

    run = FinishedRun(path)
    decision = run.choose(options)
    where = f"the validation part of {path}, on which the rule was chosen: {decision.rule}"
    show(where, run.scored("val", decision))
    if not save:
        console.print("not saved: --save makes it the rule of the run, and shows the test part at it")
        return decision
    show(f"the test part of {path} at this rule", run.decide(decision))
    console.print(f"saved; write the report again by python -m matcard.report {path}", soft_wrap=True, markup=False)
    return decision


def show_test(console: Console, path: Path) -> None:
    """Print the figures of the test part that a run wrote when it was finished.

    Raises:
        InputError: no finished run.
    """
    file = path / "test_metrics.json"
    if not file.is_file():
        raise InputError(
            f"{path} has no {file.name}: name the directory of a finished run, or a labelled set by --data.source"
        )
    console.print(f"the test part of {path}, as it was measured once when the run was finished", markup=False)
    print_scores(console, read_json(file))
