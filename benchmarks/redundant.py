"""Which of many ways to treat training data that repeat themselves is ahead, on families of crystals made for it.

python benchmarks/redundant.py --data $MATCARD_TEST_DATA/mp_small_4000.parquet --seeds 30
python benchmarks/redundant.py --table

A twentieth of the crystals of each class have a family each, of walks and series (`families.py`), made before the data
are divided: a family stays in one part. The test part holds its parents alone; of the validation part there are
two, which differ in the choice of setting and threshold alone: one that repeats itself as the user's would, and one of
parents. Every method trains the network of configs/descriptors.yaml, a quarter as wide and value head off, on CHGNet's
numbers, for as many optimiser steps as 30 epochs of the crystals without their families take in batches of 128, in a
bare loop: networks, losses, draws, decisions and metrics are matcard's; that a training takes three seconds in place of
twenty pays for its seeds. Boosting has Magpie features, too. Every method has four trials: of its scale, threshold or
strength, of the learning rate where it has none; those by the magnitude are left out beyond 10,000 samples. Each trial
stands in the file of results, so that another choice can be made without training again; what is there is not done
again.

It stands beside `matcard.compare` since families drawn by seed, validation of two kinds and equal steps on training
parts of different sizes are nothing that users need.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from families import TOLERANCES, distances, make_pool, numbers_of, pool_dir, repeats_of_pool
from redundant_tables import BOUND, CELL, draw, tables
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from matcard.batch import Standard, directions
from matcard.crystals.crystals import reduced_formulas
from matcard.data.draws import EpochSampler, by_class, by_probability, draw_probabilities, one_of_each, unit
from matcard.data.options import DataOptions, SplitOptions
from matcard.data.read import read_labelled
from matcard.data.splits import split_samples
from matcard.evaluation.choice import best_score
from matcard.evaluation.metrics import classification_metrics
from matcard.files import locked, written_whole
from matcard.invariants import DENSE_LIMIT, near_copies
from matcard.losses import build_loss, make_options
from matcard.models import build_model
from matcard.training.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from families import Pool
    from jaxtyping import Bool, Float32, Float64, Int64, Shaped
    from torch import Tensor

    from matcard.data.samples import Samples
    from matcard.losses import LossOptions
    from matcard.training.options import Config

TASKS: dict[str, dict[str, Any]] = {"gap >= 3 eV": {"threshold": 3.0}, "gap of 1 to 2 eV": {"window": (1.0, 2.0)}}
FAMILIES = 0.05
"""Share of the crystals of each class that have a family in a seed."""
POOL = 0.1
"""Share of the crystals that have a family in the pool."""
RECIPE = {
    "model.hidden": 128,
    "trainer.batch_size": 128,
    "trainer.max_epochs": 30,
    "optimizer.lr": 4e-3,
    "value.weight": 0,
}  # fmt: skip
RATES, SCALES = (1e-3, 2e-3, 4e-3, 8e-3), (3.0, 10.0, 30.0, 100.0)
LOSSES: dict[str, Callable[[float], LossOptions]] = {
    "logit adjustment": lambda tau: make_options("logit_adjustment", tau=tau),
    "class-balanced": lambda beta: make_options("class_balanced", beta=beta),
    "spread reweighting": lambda scale: make_options("reweight", invariant="spread", scale=scale),
    "spread reweighting, adjusted": lambda scale: make_options(
        "reweight", invariant="spread", scale=scale, base=make_options("logit_adjustment", tau=0.5)
    ),
}
WEIGHTS = ("spread", "magnitude", "density", "formula")
"""What may weigh the samples of boosting, at scale 30."""
METHODS: dict[str, tuple[str, tuple[Any, ...]]] = {
    BOUND: ("learning rate", RATES),
    "plain": ("learning rate", RATES),
    "spread": ("scale", SCALES),
    "magnitude": ("scale", SCALES),
    "density": ("scale", SCALES),
    "neighbors": ("scale", SCALES),
    "k-means": ("clusters a sample", (0.03, 0.1, 0.2, 0.4)),
    "formula": ("learning rate", RATES),
    "class-aware": ("learning rate", RATES),
    "square-root": ("learning rate", RATES),
    "drop near copies": ("radius", (0.03, 0.1, 0.2, 0.3)),
    "drop equal formulas": ("learning rate", RATES),
    "drop matching structures": ("tolerance", TOLERANCES),
    "logit adjustment": ("tau", (0.25, 0.5, 1.0, 1.5)),
    "class-balanced": ("beta", (0.9, 0.99, 0.999, 0.9999)),
    "spread reweighting": ("scale", (1.0, 3.0, 10.0, 30.0)),
    "spread reweighting, adjusted": ("scale", (1.0, 3.0, 10.0, 30.0)),
    "boosting": ("learning rate", (0.03, 0.06, 0.1, 0.2)),
    "boosting, weighted": ("weights", WEIGHTS),
}
"""Method -> what its four trials set, and to what. Without families: what would be had if nothing repeated itself."""


@dataclass(eq=False)
class Cell:
    """The data of a task and a seed: N rows, the real crystals first and the pool behind them.

    Attributes:
        real: number of real crystals.
        chgnet: CHGNet's numbers.
        magpie: features of the composition.
        codes: classes, a member's being its parent's.
        formulas: reduced ones.
        train: positions of the training part.
        val: of the validation part, by its kind.
        test: of the test part.
        matching: of the pool, what StructureMatcher would drop.
    """

    real: int
    chgnet: Float32[np.ndarray, "N 384"]
    magpie: Float32[np.ndarray, "N 132"]
    codes: Int64[np.ndarray, " N"]
    formulas: Shaped[np.ndarray, " N"]
    train: Int64[np.ndarray, " n"]
    val: dict[str, Int64[np.ndarray, " v"]]
    test: Int64[np.ndarray, " t"]
    matching: Callable[[], Bool[np.ndarray, "P 4"]]

    @cached_property
    def points(self) -> Float64[Tensor, "n F"]:
        """The training part as points for distances."""
        return directions(self.chgnet[self.train], one_of_each(self.formulas[self.train], len(self.train)))

    @cached_property
    def length(self) -> float:
        """The unit of distances, as a training of matcard takes it."""
        return unit(self.points, self.formulas[self.train])

    @property
    def originals(self) -> Int64[np.ndarray, " r"]:
        """The real crystals of the training part."""
        return self.train[self.train < self.real]


def make_cell(
    samples: Samples, chgnet: Float32[np.ndarray, "M 384"], magpie: Float32[np.ndarray, "M 132"], pool: Pool, seed: int,
    matching: Callable[[], Bool[np.ndarray, "P 4"]],
) -> Cell:  # fmt: skip
    """Divide the real crystals by formula, draw families of each class, and put them where their parents are."""
    real, rng = len(samples), np.random.default_rng([2, seed])
    split = split_samples(samples, SplitOptions(), seed=seed)
    drawn = []
    for label in np.unique(samples.codes):
        parents = np.unique(pool.parent[samples.codes[pool.parent] == label])
        number = max(1, round(FAMILIES * np.count_nonzero(samples.codes == label)))
        drawn.append(rng.choice(parents, min(number, len(parents)), replace=False))
    members = np.flatnonzero(np.isin(pool.parent, np.concatenate(drawn)))

    def repeated(part: Int64[np.ndarray, " a"]) -> Int64[np.ndarray, " b"]:
        return np.concatenate([part, real + members[np.isin(pool.parent[members], part)]])

    return Cell(
        real,
        np.concatenate([chgnet, pool.chgnet]),
        np.concatenate([magpie, pool.magpie]),
        np.concatenate([samples.codes, samples.codes[pool.parent]]),
        np.concatenate([reduced_formulas(samples.inputs).astype(str), pool.formulas]),
        repeated(split.train),
        {"repeated": repeated(split.val), "clean": split.val},
        split.test,
        matching,
    )


def draws_of(method: str, setting: float, cell: Cell) -> Float64[np.ndarray, " n"]:
    """Give the probability with which a method draws each row of the training part."""
    if method == "k-means":
        clusters = max(2, round(setting * len(cell.train)))
        found = KMeans(clusters, init="random", n_init=1, max_iter=20, random_state=0).fit_predict(cell.points.numpy())
        weights = 1 / np.bincount(found)[found]
        return weights / weights.sum()
    formulas = cell.formulas[cell.train]
    return draw_probabilities(method, points=cell.points, formulas=formulas, scale=setting, length=cell.length)


def kept_by(method: str, setting: float, cell: Cell) -> Int64[np.ndarray, " m"]:
    """Give the rows of the training part that a method leaves in it, the first of those alike within a class."""
    classes = cell.codes[cell.train]
    if method == BOUND:
        return cell.originals
    if method == "drop near copies":
        return cell.train[near_copies(cell.points, setting * cell.length, groups=torch.from_numpy(classes)).numpy() < 0]
    if method == "drop equal formulas":
        repeats = pd.DataFrame({"formula": cell.formulas[cell.train], "class": classes}).duplicated()
        return cell.train[~repeats.to_numpy()]
    if method == "drop matching structures":
        repeats = np.zeros(len(cell.codes), bool)
        repeats[cell.real :] = cell.matching()[:, TOLERANCES.index(setting)]
        return cell.train[~repeats[cell.train]]
    return cell.train


def train(method: str, setting: float, cell: Cell, config: Config, seed: int) -> Callable[[Any], Any]:
    """Train a network as a method says; gives what maps CHGNet's numbers to probabilities."""
    what, _ = METHODS[method]
    rows = kept_by(method, setting, cell)
    classes = cell.codes[rows]
    counts = np.bincount(classes, minlength=2)
    if method in ("spread", "magnitude", "density", "neighbors", "k-means", "formula"):
        draw = partial(by_probability, draws_of(method, setting, cell))
    else:
        kind = method if method in ("class-aware", "square-root") else "shuffle"
        draw = partial(by_class, classes, kind)
    sampler = EpochSampler(len(classes), draw, seed=seed)
    options = LOSSES[method](setting) if method in LOSSES else make_options("cross_entropy")
    torch.manual_seed(seed)
    loss = build_loss(options, class_counts=counts.tolist(), seed=seed)
    network = build_model(config.model, num_classes=2, descriptors=Standard.of(cell.chgnet[rows]))
    size = config.trainer.batch_size
    steps = config.trainer.max_epochs * math.ceil(len(cell.originals) / size)
    rate = setting if what == "learning rate" else config.optimizer.lr
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=config.optimizer.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, cycle_momentum=False)
    x, y = torch.from_numpy(cell.chgnet[rows]), torch.from_numpy(classes)
    for _, picked in zip(range(steps), batches(sampler, size), strict=False):
        output = network(SimpleNamespace(descriptors=x[picked]))
        optimizer.zero_grad()
        loss(output.logits, y[picked], output.embedding).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.trainer.gradient_clip)
        optimizer.step()
        schedule.step()
    network.eval()

    def probabilities(rows: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, "k 2"]:
        with torch.inference_mode():
            logits = network(SimpleNamespace(descriptors=torch.from_numpy(cell.chgnet[rows]))).logits
        return logits.double().softmax(1).numpy()

    return probabilities


def batches(sampler: EpochSampler, size: int) -> Iterator[Int64[Tensor, " B"]]:
    """Give batches of an epoch after another without end; the last of an epoch, if short, is left out."""
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        order = torch.from_numpy(np.fromiter(sampler, np.int64))
        yield from order[: max(1, len(order) // size) * size].split(size)
        epoch += 1


def boost(method: str, setting: Any, cell: Cell, seed: int) -> Callable[[Any], Any]:
    """Fit trees to CHGNet's numbers and Magpie features; gives what maps rows to probabilities."""
    x = np.concatenate([cell.chgnet, cell.magpie], axis=1)
    rate, weights = (setting, None) if method == "boosting" else (0.1, draws_of(setting, 30.0, cell) * len(cell.train))
    trees = HistGradientBoostingClassifier(learning_rate=rate, random_state=seed)
    # The trees' own bins take six times as long as the trees where samples have weights (scikit-learn 1.9).
    bins = KBinsDiscretizer(255, encode="ordinal", quantile_method="averaged_inverted_cdf", subsample=None)
    binned = make_pipeline(bins, trees)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Bins whose width are too small")  # a column with few values
        warnings.filterwarnings("ignore", "Feature .* is constant")
        binned.fit(x[cell.train], cell.codes[cell.train], histgradientboostingclassifier__sample_weight=weights)
    return lambda rows: binned.predict_proba(x[rows])


def trial(method: str, setting: Any, cell: Cell, config: Config, seed: int) -> list[dict[str, Any]]:
    """Train a method at a setting; gives a row for each kind of validation."""
    start = time.perf_counter()
    boosted = method.startswith("boosting")
    found = boost(method, setting, cell, seed) if boosted else train(method, setting, cell, config, seed)
    names, counts = ("0", "1"), np.bincount(cell.codes[cell.train], minlength=2)
    guessed = {part: found(rows) for part, rows in (*cell.val.items(), ("test", cell.test))}

    def scores(part: str, predicted: Int64[np.ndarray, " k"] | None = None) -> dict[str, Any]:
        codes = cell.codes[cell.val.get(part, cell.test)]
        return classification_metrics(codes, guessed[part], class_names=names, train_counts=counts, predicted=predicted)

    at_argmax, rows = scores("test"), []
    for kind, part in cell.val.items():
        decision = best_score(cell.codes[part], guessed[kind], names)
        decided = scores("test", decision.apply(guessed["test"]))
        row = {
            "sets": METHODS[method][0],
            "setting": str(setting),
            "validation": kind,
            "val_average_precision": scores(kind)["average_precision"],
        }
        row |= {name: at_argmax[name] for name in ("average_precision", "log_loss", "macro_f1", "minority_recall")}
        row |= {f"{name}_decision": decided[name] for name in ("macro_f1", "minority_recall")}
        rows.append(row | {"test_to_train": len(cell.test) / len(cell.originals)})
    seconds = time.perf_counter() - start
    return [{**row, "seconds": seconds} for row in rows]


def run(options: argparse.Namespace, config: Config) -> None:
    """Train what is not in the file of results; a method's trials are written together.

    Several processes can share the file, if their tasks, members or seeds are different.
    """
    wanted = list(product(options.tasks, options.members, range(options.seed, options.seed + options.seeds)))
    table = read(options.results)
    done = set() if table.empty else set(table[CELL].itertuples(index=False, name=None))
    left = [cell for cell in wanted if any((*cell, method) not in done for method in options.methods)]
    todo = sum((*cell, method) not in done for cell in left for method in options.methods)
    print(f"{todo} methods, four trials each, to do, {len(wanted) * len(options.methods) - todo} done", flush=True)
    seconds, finished = 0.0, 0
    for task, members, seed in left:
        samples = read_labelled(DataOptions(source=options.data, target="gap", kind="crystals", **TASKS[task]))
        samples = samples.take(samples.used)
        crystals = samples.inputs
        pool = make_pool(crystals, members, POOL)
        chgnet, magpie = numbers_of(crystals, "chgnet"), numbers_of(crystals, "magpie")
        if not finished:
            for what, quantiles in distances(pool, chgnet).items():
                print(f"{what}, in units: {', '.join(f'{q:.3f}' for q in quantiles)} (5, 50, 95 %)", flush=True)

        def matching(crystals: Any = crystals, members: int = members) -> Bool[np.ndarray, "P 4"]:
            return repeats_of_pool(crystals, members, POOL)

        cell = make_cell(samples, chgnet, magpie, pool, seed, matching)
        for method in options.methods:
            key = (task, members, seed, method)
            if key in done:
                continue
            start = time.perf_counter()
            few = len(cell.train) <= DENSE_LIMIT
            settings = [setting for setting in METHODS[method][1] if few or "magnitude" not in (method, setting)]
            if not settings:
                todo -= 1
                print(f"{task}, {members} members, seed {seed}, {method}: too many samples, left out", flush=True)
                continue
            rows = [row for setting in settings for row in trial(method, setting, cell, config, seed)]
            seconds += time.perf_counter() - start
            made = pd.DataFrame([dict(zip(CELL, key, strict=True)) | row for row in rows])
            with locked(pool_dir() / options.results.name, "writes results"), written_whole(options.results) as path:
                table = read(options.results)
                (made if table.empty else pd.concat([table, made])).to_parquet(path, index=False)
            finished += 1
            ahead = timedelta(seconds=round(seconds / finished * (todo - finished)))
            print(f"{task}, {members} members, seed {seed}, {method}: {finished} of {todo}, {ahead} left", flush=True)


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=CELL)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="table of crystals with a column gap")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--members", type=int, nargs="+", default=[30], help="of each family")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1000, help="the first")
    parser.add_argument("--results", type=Path, default=here / "results" / "crystals-redundant.parquet")
    parser.add_argument("--table", action="store_true", help="print the tables of what there is, and train nothing")
    parser.add_argument("--figure", type=Path, help="SVG to draw those of --members into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.table:
        recipe = [word for name, value in RECIPE.items() for word in (f"--{name}", str(value))]
        words = ["--config", "descriptors", "--data.kind", "crystals", *recipe]
        run(options, parse_config(words, prog="redundant", description=""))
    table = read(options.results)
    print(tables(table))
    if options.figure:
        draw(table[table["members"].isin(options.members)], options.figure)


if __name__ == "__main__":
    main()
