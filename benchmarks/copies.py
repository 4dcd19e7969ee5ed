"""What copies in the training part cost, and how much of it each sampler gives back, on CHGNet's numbers alone.

python benchmarks/copies.py --data $MATCARD_TEST_DATA/mp_small_4000.parquet --seeds 30 --first-seed 1000

Some of the common class's training crystals (gap < 3 eV) are copied, strained and rattled, featurised anew (once, for
a pool that seeds draw from); the test part is clean. Every arm trains for as many optimiser steps. Numbers are cached
by the content of each crystal.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from matcard.batch import Standard, directions
from matcard.cache import cache_dir
from matcard.crystals.crystals import reduced_formulas
from matcard.crystals.read import from_objects
from matcard.data.draws import draw_probabilities, one_of_each, unit
from matcard.data.options import DataOptions
from matcard.data.read import read_labelled
from matcard.data.splits import split_samples
from matcard.descriptors.describe import describe, find_descriptors
from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.statistics import corrected_t_test
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals
    from matcard.data.samples import Samples

SAMPLERS = ("spread", "density", "formula")
ARMS = ("shuffle/clean", "shuffle/copies", "spread/clean", *(f"{name}/copies" for name in SAMPLERS))
METRICS = ("average_precision", "macro_f1")


def copies_of(crystals: Crystals, number: int, rng: np.random.Generator) -> Crystals:
    """Give so many copies of each crystal in turn, under a strain of up to 1 %, atoms moved by .02 A (deviation)."""
    made = []
    for k in range(len(crystals)):
        atoms = crystals.atoms(k)
        for _ in range(number):
            copy = atoms.copy()
            strain = rng.uniform(-0.01, 0.01, (3, 3))
            copy.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            copy.positions += rng.normal(scale=0.02, size=copy.positions.shape)
            made.append(copy)
    return from_objects(made)


def numbers_of(crystals: Crystals) -> np.ndarray:
    with crystal_progress(Console(stderr=True), "computing CHGNet's numbers") as progress:
        found = describe(find_descriptors("chgnet"), crystals, cache_dir() / "descriptors", progress=progress)
    assert all(reason is None for reason in found.reasons), next(filter(None, found.reasons))
    return found.values


def fit(
    x: torch.Tensor, y: torch.Tensor, draws: np.ndarray | None, steps: int, batch: int, seed: int
) -> torch.nn.Sequential:
    """Train two hidden layers of 256 for some steps; without draws each epoch takes every sample once."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    drop = partial(torch.nn.Dropout, 0.3)
    hidden = [
        torch.nn.Linear(x.shape[1], 256),
        torch.nn.ReLU(),
        drop(),
        torch.nn.Linear(256, 256),
        torch.nn.ReLU(),
        drop(),
    ]
    network = torch.nn.Sequential(*hidden, torch.nn.Linear(256, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    order = np.empty(0, np.int64)
    for _ in range(steps):
        if len(order) < batch:
            more = rng.permutation(len(x)) if draws is None else rng.choice(len(x), len(x), p=draws)
            order = np.concatenate([order, more])
        rows, order = torch.from_numpy(order[:batch]), order[batch:]
        optimizer.zero_grad()
        cross_entropy(network(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def pool_of(samples: Samples, options: argparse.Namespace) -> dict[int, np.ndarray]:
    """Copy some crystals of the common class for all seeds to draw from; gives each one's copies as numbers (K, F)."""
    rng = np.random.default_rng(options.first_seed)
    parents = rng.choice(np.flatnonzero(samples.codes == 0), options.pool, replace=False)
    numbers = numbers_of(copies_of(samples.inputs.take(parents), options.copies, rng))
    return dict(zip(parents.tolist(), np.split(numbers, len(parents)), strict=True))


def run(
    samples: Samples,
    numbers: np.ndarray,
    pool: dict[int, np.ndarray],
    seed: int,
    options: argparse.Namespace,
) -> tuple[dict[str, dict[str, float]], float]:
    """Train every arm of a seed; gives the scores of the test part and how large it is beside the training part."""
    split = split_samples(samples, DataOptions().split, seed=seed)
    rng = np.random.default_rng(seed)
    y, formulas = samples.codes, reduced_formulas(samples.inputs)
    train = split.train
    number = max(1, round(options.share * np.count_nonzero(y[train] == 0)))
    chosen = rng.choice([row for row in train if row in pool], number, replace=False)
    of = np.repeat(chosen, options.copies)
    parts = {
        "clean": (numbers[train], y[train], formulas[train]),
        "copies": (
            np.concatenate([numbers[train], *(pool[row] for row in chosen)]),
            np.concatenate([y[train], y[of]]),
            np.concatenate([formulas[train], formulas[of]]),
        ),
    }
    scores = {}
    for arm in ARMS:
        sampler, data = arm.split("/")
        x, targets, families = parts[data]
        draws = None
        if sampler != "shuffle":
            points = directions(x, one_of_each(families, len(x)))
            draws = draw_probabilities(
                sampler, points=points, formulas=families, scale=options.scale, length=unit(points, families)
            )
        standard = Standard.of(x)
        tensor = torch.from_numpy(standard(x)).float()
        network = fit(tensor, torch.from_numpy(targets), draws, options.steps, options.batch, seed)
        with torch.no_grad():
            logits = network(torch.from_numpy(standard(numbers[split.test])).float())
        found = classification_metrics(
            y[split.test],
            logits.double().softmax(1).numpy(),
            class_names=samples.class_names,
            train_counts=np.bincount(targets, minlength=2),
        )
        scores[arm] = {name: float(found[name]) for name in METRICS}
    return scores, len(split.test) / len(train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="table of crystals with a column gap")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument(
        "--share", type=float, default=0.05, help="share of the common class's training crystals copied"
    )
    parser.add_argument("--copies", type=int, default=100, help="copies of each")
    parser.add_argument("--pool", type=int, default=600, help="crystals that are copied for all seeds to draw from")
    parser.add_argument("--scale", type=float, default=30.0, help="of the samplers")
    parser.add_argument("--steps", type=int, default=1760, help="optimiser steps of every arm: 40 clean epochs")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = read_labelled(DataOptions(source=options.data, target="gap", threshold=3.0, kind="crystals"))
    samples = samples.take(samples.used)
    numbers, pool = numbers_of(samples.inputs), pool_of(samples, options)
    found = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        scores, ratio = run(samples, numbers, pool, seed, options)
        found.append(scores)
        print(seed, {arm: round(of["average_precision"], 4) for arm, of in scores.items()}, flush=True)
    for metric in METRICS:
        values = {arm: np.array([scores[arm][metric] for scores in found]) for arm in ARMS}
        print(f"\n{metric}: mean {', '.join(f'{arm} {of.mean():.4f}' for arm, of in values.items())}")

        def say(what: str, a: np.ndarray, b: np.ndarray, ratio: float = ratio) -> None:
            wide, seeds = (corrected_t_test(a, b, of) for of in (ratio, 0.0))
            print(
                f"  {what}: {wide.mean:+.4f} [{wide.low:+.4f}, {wide.high:+.4f}], "
                f"over seeds alone [{seeds.low:+.4f}, {seeds.high:+.4f}]"
            )

        clean, plain = values["shuffle/clean"], values["shuffle/copies"]
        say("what copies cost (shuffle/clean - shuffle/copies)", clean, plain)
        say("what the sampler costs without copies (shuffle/clean - spread/clean)", clean, values["spread/clean"])
        for sampler in SAMPLERS:
            drawn = values[f"{sampler}/copies"]
            say(f"what {sampler} gives back ({sampler}/copies - shuffle/copies)", drawn, plain)
            say(f"what is left with {sampler} (shuffle/clean - {sampler}/copies)", clean, drawn)
            print(f"  share left with {sampler}: {(clean - drawn).mean() / (clean - plain).mean():.2f}")
            # A cost near 0 makes a ratio of single seeds meaningless.
            say(f"left with {sampler} - cost / 4", clean - drawn, (clean - plain) / 4)


if __name__ == "__main__":
    main()
