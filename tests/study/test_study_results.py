"""What a study leaves: gains with their intervals, the table of trials, the contour, the data of trials."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from scipy.stats import t as student

from matcard.data.options import DataOptions, SplitOptions
from matcard.study.figures import contour_figure, write_figures
from matcard.study.gains import bootstrap, over_seeds, verdict
from matcard.study.objective import PartScores, mean_metrics
from matcard.study.settings import StudyDir
from matcard.study.space import Parameter, Space
from matcard.study.trials import DEFAULTS, FAILURE, METRICS, ranked, trial_table
from matcard.training.config import parse_config
from matcard.work.trainings import Division, SharedData

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from matcard.data.splits import Split

SCALE = Parameter("loss.scale", FloatDistribution(0.1, 10, log=True))
LAMBDA = Parameter("loss.lambda_invariant", FloatDistribution(0.01, 1, log=True))


def scores(seed: int, skill: float, ids: str = "s") -> PartScores:
    """Probabilities of 60 samples of two classes, the surer the greater the skill."""
    rng = np.random.default_rng(seed)
    targets = np.repeat([0, 1], [40, 20])
    first = 1 / (1 + np.exp(-(rng.normal(size=60) + np.where(targets == 0, skill, -skill))))
    names = np.array([f"{ids}{k}" for k in range(60)])
    return PartScores(names, targets, np.stack([first, 1 - first], axis=1), np.array([80, 40]), np.array(["a", "b"]))


def test_the_gain_of_one_over_itself_is_nothing() -> None:
    gain = bootstrap([scores(0, 1.0)], [scores(0, 1.0)], resamples=20)
    assert gain["macro_f1"] == {"value": 0, "low": 0, "high": 0}


def test_a_gain_is_the_difference_and_lies_in_its_interval() -> None:
    better, worse = [scores(k, 2.0) for k in range(2)], [scores(k, 0.3) for k in range(2)]
    gain = bootstrap(better, worse, resamples=60)
    means = [mean_metrics([one.metrics() for one in side]) for side in (better, worse)]
    for name in ("macro_f1", "log_loss", "average_precision"):
        assert gain[name]["value"] == pytest.approx(means[0][name] - means[1][name])
    f1 = gain["macro_f1"]
    assert 0 < f1["low"] < f1["value"] < f1["high"]
    back = bootstrap(worse, better, resamples=60)["macro_f1"]
    assert back == pytest.approx({"value": -f1["value"], "low": -f1["high"], "high": -f1["low"]})


def test_the_bootstrap_is_the_slow_one() -> None:
    """Recall of class b, resampled inside the classes, is a binomial share: its interval is known."""
    one = scores(1, 0.5)
    interval = bootstrap([one], resamples=200)["balanced_accuracy"]
    right = (one.probabilities.argmax(axis=1) == one.targets).astype(float)
    shares = [right[one.targets == label] for label in (0, 1)]
    error = 0.5 * np.sqrt(sum(share.var() / len(share) for share in shares))
    assert interval["value"] == pytest.approx(np.mean([share.mean() for share in shares]))
    assert (interval["high"] - interval["low"]) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)


def test_the_gain_of_two_on_different_samples_has_no_interval() -> None:
    gain = bootstrap([scores(0, 1.0)], [scores(0, 1.0, ids="other")], resamples=2)["macro_f1"]
    assert gain == pytest.approx({"value": 0, "low": np.nan, "high": np.nan}, nan_ok=True)


def test_the_corrected_resampled_t_test_by_hand() -> None:
    """Nadeau and Bengio 2003: five seeds, a validation part of half the training part's size."""
    first, second = [scores(k, 1.2) for k in range(5)], [scores(k + 5, 0.8) for k in range(5)]
    differences = [a.metrics()["mcc"] - b.metrics()["mcc"] for a, b in zip(first, second, strict=True)]
    mean = sum(differences) / 5
    variance = sum((d - mean) ** 2 for d in differences) / 4
    half = student.ppf(0.975, 4) * ((1 / 5 + 60 / 120) * variance) ** 0.5
    gain = over_seeds(first, second)["mcc"]
    assert gain == pytest.approx({"value": mean, "low": mean - half, "high": mean + half})
    naive = student.ppf(0.975, 4) * (variance / 5) ** 0.5
    assert half > naive, "the seeds share their samples, so the interval is wider"


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_same_gain_with_every_seed_has_no_interval(seeds: int) -> None:
    """No variance, so nothing to judge the gain by."""
    better, worse = scores(0, 2.0), scores(0, 0.3)
    gain = over_seeds([better] * seeds, [worse] * seeds)["macro_f1"]
    assert gain["value"] == pytest.approx(better.metrics()["macro_f1"] - worse.metrics()["macro_f1"])
    assert np.isnan([gain["low"], gain["high"]]).all()
    assert verdict("macro_f1", gain).endswith("a difference is not shown (there is no interval)")


def trial(number: int, values: list[float] | None, *, state: str = "COMPLETE", **more: object) -> FrozenTrial:
    made = create_trial(
        state=TrialState[state],
        values=values,
        params={"x": 0.1 * number},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs=dict(more),
    )
    made.number = number
    return made


def test_the_table_has_a_row_for_each_trial_that_ended(tmp_path: Path) -> None:
    trials = [
        trial(0, [0.5], **{DEFAULTS: True, METRICS: {"mcc": 0.4}}),
        trial(1, None, state="FAIL", **{FAILURE: "out of memory"}),
        trial(2, None, state="RUNNING"),
        trial(3, None, state="WAITING"),
        trial(4, [0.7], state="PRUNED"),
    ]
    table = trial_table(trials, ["macro_f1"])
    assert table["number"].tolist() == [0, 1, 4]
    assert table["state"].tolist() == ["complete", "fail", "pruned"]
    assert table["defaults"].tolist() == [True, False, False]
    assert table["failure"].tolist() == [None, "out of memory", None]
    assert table["macro_f1"].tolist() == pytest.approx([0.5, np.nan, np.nan], nan_ok=True), "a pruned one has no value"
    assert table["val_mcc"].tolist() == pytest.approx([0.4, np.nan, np.nan], nan_ok=True)
    table.to_parquet(tmp_path / "trials.parquet")
    assert list(trial_table([], ["macro_f1"]).columns)[-1] == "macro_f1", "no trial, but the columns"


def test_choices_of_several_types_fit_one_column(tmp_path: Path) -> None:
    mixed = [trial(0, [0.5]), trial(1, [0.6])]
    for one, value in zip(mixed, (None, "balanced"), strict=True):
        one.params = {"trainer.sampler": value}
    mixed.append(trial(2, [0.7]))
    mixed[2].params = {"trainer.sampler": 3}
    trial_table(mixed, ["macro_f1"]).to_parquet(tmp_path / "trials.parquet")
    read = pd.read_parquet(tmp_path / "trials.parquet")
    assert read["trainer.sampler"].tolist()[1:] == ["balanced", "3"]


def study_of(directions: list[str], *values: list[float] | None) -> optuna.Study:
    study = optuna.create_study(directions=directions)
    for number, one in enumerate(values):
        study.add_trial(trial(number, one, state="COMPLETE" if one else "FAIL"))
    return study


def test_the_best_is_the_highest_or_the_lowest_as_the_metric_wants() -> None:
    for metric, direction, best in (("macro_f1", "maximize", [1]), ("log_loss", "minimize", [0])):
        study = study_of([direction], [0.5], [0.7], [0.6], None)
        assert [one.number for one in ranked(study, [metric])] == best
    assert ranked(study_of(["maximize"], None), ["macro_f1"]) == []


def test_the_recommended_of_a_front_is_nearest_to_the_best_of_each() -> None:
    study = study_of(["maximize"] * 2, [0.9, 0.1], [0.85, 0.8], [0.1, 0.9], [0.8, 0.7])
    front = [one.number for one in ranked(study, ["macro_f1", "mcc"])]
    assert front[0] == 1
    assert set(front) == {0, 1, 2}


def landscape(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, y = 10 ** rng.uniform(-1, 1, count), 10 ** rng.uniform(-2, 0, count)
    forms = np.where(np.arange(count) % 2, "error add", "embedding add")
    value = 0.8 - 0.1 * np.log10(x) ** 2 - 0.05 * (np.log10(y) + 1) ** 2
    return pd.DataFrame({"number": range(count), "macro_f1": value, SCALE.name: x, LAMBDA.name: y, "form": forms})


def test_the_contour_follows_the_trials_and_rings_the_best() -> None:
    table = landscape(40)
    figure = contour_figure(table, "macro_f1", SCALE, LAMBDA)
    axes = figure.axes[0]
    (ring,) = axes.lines
    best = table.loc[table["macro_f1"].idxmax()]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best[SCALE.name], best[LAMBDA.name])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(axes.collections) == 2, "surface and trials"


def test_each_alternative_has_a_panel_of_its_own() -> None:
    figure = contour_figure(landscape(40), "macro_f1", SCALE, LAMBDA, by="form")
    assert [axes.get_title(loc) for axes in figure.axes[:2] for loc in ("left", "center") if axes.get_title(loc)] == [
        "embedding add",
        "error add",
    ]


@pytest.mark.parametrize("table", [landscape(4), landscape(12).assign(**{LAMBDA.name: 0.1})])
def test_too_few_trials_or_those_on_a_line_have_no_surface(table: pd.DataFrame) -> None:
    axes = contour_figure(table, "macro_f1", SCALE, LAMBDA).axes[0]
    assert len(axes.collections) == 1, "the trials alone"


def test_parameters_of_failed_trials_alone_make_no_contour(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    ranges = {p.name: FloatDistribution(0.01, 10, log=True) for p in (SCALE, LAMBDA)}
    study.add_trial(create_trial(value=0.5, params={SCALE.name: 1.0}, distributions={SCALE.name: ranges[SCALE.name]}))
    study.add_trial(create_trial(state=TrialState.FAIL, params=dict.fromkeys(ranges, 0.1), distributions=ranges))
    write_figures(
        StudyDir(tmp_path), study, trial_table(study.trials, ["macro_f1"]), ["macro_f1"], Space((SCALE, LAMBDA))
    )
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {"history", "slices"}


@pytest.fixture
def divide(tmp_path: Path) -> Callable[[Division], Split]:
    """Divide 120 samples, of which groups of three stay together."""
    rows = {"x": np.arange(120) % 7, "group": np.repeat(np.arange(40), 3), "kind": np.repeat(np.arange(40) % 2, 3)}
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    options = DataOptions(
        source=f"{tmp_path}/rows.csv", kind="table", target="kind", split=SplitOptions(kind="column", column="group")
    )
    data = SharedData()
    return lambda how: data.divided(options, how).split


def test_a_seed_divides_the_rest_anew_and_keeps_the_test_part(divide: Callable[[Division], Split]) -> None:
    divisions = [divide(Division(3, again=seed)) for seed in range(3)]
    rest = sorted([*divisions[0].train, *divisions[0].val])
    for one in divisions:
        assert np.array_equal(one.test, divisions[0].test)
        assert sorted([*one.train, *one.val]) == rest
        assert not set(one.train // 3) & set(one.val // 3), "groups stay together"
        assert len(one.val) == pytest.approx(len(rest) * 0.15 / 0.85, abs=3)
    assert len({tuple(one.val) for one in divisions}) == 3


def test_folds_of_the_rest_are_each_validated_once(divide: Callable[[Division], Split]) -> None:
    whole = divide(Division(0))
    folds = [divide(Division(0, again=fold, folds=4)) for fold in range(4)]
    assert sorted(np.concatenate([one.val for one in folds])) == sorted([*whole.train, *whole.val])
    for one in folds:
        assert np.array_equal(one.test, whole.test)
        assert sorted([*one.train, *one.val]) == sorted([*whole.train, *whole.val])
        assert not set(one.train // 3) & set(one.val // 3)


def test_data_are_read_once_and_not_pickled(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": np.arange(90.0) ** 1.5, "kind": ["a", "b", "c"] * 30})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    words = [f"--data.source={tmp_path}/rows.csv", "--data.target=kind", "--model.name=mlp"]
    config = parse_config(words, prog="", description="")
    options, data = config.data, SharedData()
    assert data.samples(options) is data.samples(options)
    assert data.divided(options, Division(0)) is data.divided(options, Division(0))
    other = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 1000
    assert other.samples(options) is data.samples(options), "read once in a process"
    assert SharedData().samples(options) is not data.samples(options), "another command reads anew"
    whole, again = (other.divided(options, Division(0, again=k)).split for k in (0, 1))
    assert np.array_equal(whole.test, again.test)
    assert not np.array_equal(whole.val, again.val)
