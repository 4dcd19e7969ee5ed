"""What the best configuration and the defaults are worth over seeds: both on validation, the best on test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.evaluation.tables import format_score
from matcard.study.results.comparison import comparison_table, differing_options, shown_metrics
from matcard.study.results.gain import bootstrap, over_seeds
from matcard.study.trial.evaluation import mean_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from matcard.study.results.gain import Gain
    from matcard.study.trial.evaluation import PartScores
    from matcard.training.options import Config

SIDES = ("defaults", "best")


@dataclass(frozen=True)
class Retrained:
    """Scores of the same k seeds of both configurations.

    Attributes:
        seeds: the k seeds.
        configs: side -> configuration.
        validation: side -> scores of its validation part, one a seed.
        test: scores of the best on the test part, one a seed.
    """

    seeds: Sequence[int]
    configs: Mapping[str, Config]
    validation: Mapping[str, Sequence[PartScores]]
    test: Sequence[PartScores]

    @cached_property
    def values(self) -> dict[str, list[dict[str, float]]]:
        """Side -> metrics on validation, one mapping a seed."""
        return {side: [scores.metrics() for scores in self.validation[side]] for side in SIDES}

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Side -> mean of each metric over seeds."""
        return {side: mean_metrics(self.values[side]) for side in SIDES}

    @cached_property
    def gains(self) -> dict[str, Gain]:
        """Metric -> what the best gains on the defaults, by the corrected resampled t-test."""
        shares = [len(scores.targets) / scores.train_counts.sum() for scores in self.validation["best"]]
        best, defaults = (self.values[side] for side in ("best", "defaults"))
        return {
            name: over_seeds([one[name] for one in best], [one[name] for one in defaults], float(np.mean(shares)))
            for name in best[0]
        }

    @cached_property
    def tested(self) -> dict[str, Gain]:
        """Metric -> mean over seeds on test, bootstrapped over its samples."""
        return bootstrap(self.test)

    @cached_property
    def tested_by_seed(self) -> list[dict[str, float]]:
        """Metrics on test, one mapping a seed."""
        return [scores.metrics() for scores in self.test]

    def to_dict(self) -> dict[str, Any]:
        """Give all numbers, for a file."""
        return {
            "seeds": list(self.seeds),
            "validation": {
                name: {**{side: self.means[side][name] for side in SIDES}, "gain": gain._asdict()}
                for name, gain in self.gains.items()
            },
            "test": {
                name: {**estimate._asdict(), "seeds": [one[name] for one in self.tested_by_seed]}
                for name, estimate in self.tested.items()
            },
        }


def show_retrained(retrained: Retrained, metrics: Sequence[str], console: Console) -> None:
    """Print both configurations on validation, the verdict, and the best on test."""
    seeds = len(retrained.seeds)
    console.print(
        comparison_table(
            f"At full length, on validation: mean over {seeds} seeds",
            differing_options(retrained.configs["defaults"], retrained.configs["best"]),
            retrained.means["defaults"],
            retrained.means["best"],
            retrained.gains,
            metrics,
        )
    )
    console.print("intervals: corrected resampled t-test over seeds")
    for name in metrics:
        console.print(verdict(name, retrained.gains[name]), soft_wrap=True)
    console.print(tested_table(retrained, metrics))
    samples = len(retrained.test[0].targets)
    console.print(f"intervals: bootstrap over the {samples} test samples, the same for all seeds")


def tested_table(retrained: Retrained, metrics: Sequence[str]) -> Table:
    """Make the table of the best on test."""
    title = f"The best, on test: mean over {len(retrained.seeds)} seeds"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("")
    for header in ("mean", "95 % interval", "lowest and highest seed"):
        table.add_column(header, justify="right", no_wrap=True)
    for name in shown_metrics(metrics):
        value, low, high = retrained.tested[name]
        seeds = [one[name] for one in retrained.tested_by_seed]
        interval, span = (f"{format_score(a)} to {format_score(b)}" for a, b in ((low, high), (min(seeds), max(seeds))))
        style = "bold" if name in metrics else None
        table.add_row(metric_label(name), format_score(value), interval, span, style=style)
    return table


def verdict(metric: str, gain: Gain) -> str:
    """Say which of the two configurations the validation parts of several seeds speak for."""
    label, ahead = metric_label(metric), gain.value if higher_is_better(metric) else -gain.value
    if ahead < 0:
        return (
            f"validation {label}: the defaults are ahead over these seeds, so the best trial was a lucky one: keep the "
            "defaults, or search with --seeds 3, which takes out luck"
        )
    if ahead == 0 or not gain.low * gain.high > 0:
        why = "there is no interval" if np.isnan([gain.low, gain.high]).any() else "the interval has 0"
        return f"validation {label}: the best is not behind the defaults; a difference is not shown ({why})"
    return f"validation {label}: the best is ahead of the defaults by more than the seeds' scatter"
