"""Crystals per second of CGCNN in training, with each cardinality loss on its graph embeddings and with cross-entropy.

python benchmarks/losses_in_training.py
python benchmarks/losses_in_training.py --device cuda
python benchmarks/losses_in_training.py --device cuda --store CACHE/KEY

A step is forward, loss, backward and AdamW, in bf16 on a GPU and in float32 on a CPU, on a batch that lies on the
device. The losses take turns, each with a network of its own from the same weights; a step is the least of all turns.
The loss alone is timed too, forward and backward from the network's outputs, since its share can be less than the noise
of a step. Crystals are drawn at random at the sizes of `mp_icsd20`, or come from a store that matcard has built. torch
and torch_geometric are all that is needed.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timing import best, machine, peak, prepare, print_table
from torch_geometric.data import Data

from matcard.cache import map_arrays
from matcard.graphs.graphs import Graphs
from matcard.losses import build_loss
from matcard.models import CGCNN, CGCNNOptions, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.losses import Loss

ATOMS, NEIGHBOURS, RADIUS = 10, 13, 8.0
JOINT = {"lambda_base": 1.0, "lambda_invariant": 0.1}
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "error replace": ("error", {}),
    "error add": ("error", {"combine": "add", "lambda_invariant": 0.1}),
    **{
        f"triplet {combine}": ("triplet", {**JOINT, "combine": combine})
        for combine in ("add", "divide", "multiply", "ratio")
    },
    "per class": ("per_class", {**JOINT, "unit_norm": True}),
    "triplet add, median scale": ("triplet", {**JOINT, "combine": "add", "scale": "median"}),
    "reweight": ("reweight", {"scale": 3.0}),
    "effective number": ("effective_number", {"base": "logit_adjustment"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("bf16", "float32"), help="bf16 on a GPU, float32 on a CPU if not given")
    parser.add_argument("--store", type=Path, help="folder of graphs that matcard has built")
    parser.add_argument("--batch", type=int, default=256, help="crystals a batch")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU")
    given = parser.parse_args()
    prepare(given.threads)
    precision = given.precision or ("bf16" if given.device == "cuda" else "float32")
    batch = drawn(given.batch) if given.store is None else stored(given.store, given.batch)
    batch = batch.to(given.device)
    targets = imbalanced(given.batch, given.classes).to(given.device)
    torch.manual_seed(0)
    model = CGCNN(CGCNNOptions(atom_features="learned"), given.classes).to(given.device)
    # Common classes first: each has half the samples of the one before it.
    counts = [1000 // 2**label + 1 for label in range(given.classes)]
    losses = {"cross-entropy": build_loss("ce")}
    for mode, (name, options) in MODES.items():
        for invariant in ("magnitude", "spread"):
            if given.classes > 2 or mode != "error replace":
                losses[f"{invariant}, {mode}"] = build_loss(name, invariant=invariant, class_counts=counts, **options)
    steps = [
        training_step(deepcopy(model), loss.to(given.device), batch, targets, given.device, precision)
        for loss in losses.values()
    ]
    with torch.no_grad():
        output = model(batch)
    alone = [loss_alone(loss, output, targets) for loss in losses.values()]
    seconds = best([*steps, *alone], given.device, 0, least=given.turns)
    whole, part = seconds[: len(steps)], seconds[len(steps) :]
    columns = ["loss", "step, ms", "crystals/s", "loss alone, ms", "its share of a step", "peak memory, MB"]
    memory = [peak(step, given.device) for step in steps]
    rows = [
        [
            name,
            f"{1e3 * step:.2f}",
            f"{given.batch / step:,.0f}",
            f"{1e3 * loss:.2f}",
            f"{loss / whole[0]:.1%}",
            f"{m:,.0f}",
        ]
        for name, step, loss, m in zip(losses, whole, part, memory, strict=True)
    ]
    print(f"{machine(given.device)}, {precision}")
    edges = batch.edge_index.shape[1]
    title = f"CGCNN, batches of {given.batch} crystals, {len(batch.z)} atoms, {edges} edges; {given.classes} classes"
    print_table(title, columns, rows)


def training_step(
    model: CGCNN, loss: Loss[Any], batch: Data, targets: torch.Tensor, device: str, precision: str
) -> Callable[[], None]:
    """Give a function that trains by one step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            output = model(batch)
            value = loss(output.logits, targets, output.embedding)
        value.backward()
        optimizer.step()

    return step


def loss_alone(loss: Loss[Any], output: Output, targets: torch.Tensor) -> Callable[[], None]:
    """Give a function that takes the loss of given outputs, and its gradient."""
    logits, embedding = (part.detach().float().requires_grad_() for part in output)

    def run() -> None:
        loss(logits, targets, embedding).backward()

    return run


def drawn(crystals: int) -> Data:
    """Draw graphs of about `ATOMS` atoms, each with edges from `NEIGHBOURS` atoms of its crystal."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(ATOMS // 2, ATOMS * 3 // 2 + 1, (crystals,), generator=generator)
    ptr = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
    crystal = torch.arange(crystals).repeat_interleave(sizes)
    atoms = len(crystal)
    target = torch.arange(atoms).repeat_interleave(NEIGHBOURS)
    nth = torch.randint(2**31, (len(target),), generator=generator) % sizes[crystal[target]]
    # Neighbours fill a ball: the cube of the distance is uniform.
    distance = RADIUS * (0.03 + 0.97 * torch.rand(len(target), generator=generator)) ** (1 / 3)
    return Data(
        z=torch.randint(1, 95, (atoms,), generator=generator),
        edge_index=torch.stack([ptr[crystal[target]] + nth, target]),
        distance=distance,
        batch=crystal,
        ptr=ptr,
        num_graphs=crystals,
        num_nodes=atoms,
    )


def stored(folder: Path, crystals: int) -> Data:
    """Draw a batch from a store."""
    graphs = Graphs(**map_arrays(folder), folder=folder)
    order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(0))
    return graphs.batch(order[:crystals].tolist())


def imbalanced(samples: int, classes: int) -> torch.Tensor:
    """Draw targets, each class with half the samples of the one before it."""
    shares = 0.5 ** torch.arange(classes, dtype=torch.float64)
    return shares.multinomial(samples, replacement=True, generator=torch.Generator().manual_seed(0))


if __name__ == "__main__":
    main()
