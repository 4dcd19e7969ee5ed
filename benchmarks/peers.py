"""matcard beside other ways to train on crystals, from CIF files to epochs, in one run.

    python benchmarks/peers.py --data $MATCARD_TEST_DATA/mp_small_4000.parquet --growth docs/figures/growth.png

Each way reads the same CIF files in a process of its own, makes graphs, and trains one epoch and two more on two
classes that mean nothing: matcard; "plain", the original CGCNN's route and padded layout, written anew;
torch_geometric's `CGConv` in its loader; matgl's MEGNet by its own data set and loader, where matgl is installed.
Networks differ (widths, cut-offs), each is at its defaults; what is compared is what a user waits for. Seconds are CPU
time of the process; megabytes are its height beyond the libraries.

`--growth` draws how matcard's cost grows with crystals, atoms a crystal and neighbours. Both take about ten minutes on
two cores. Without `--data` the crystals are the embedded ones.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from pymatgen.core import Lattice, Structure
from timing import resident
from torch import nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as ListLoader
from torch_geometric.nn import CGConv, global_mean_pool

from matcard.crystals.crystals import Crystals
from matcard.crystals.read import read_crystals
from matcard.data.card import load_card
from matcard.data.sources import load_crystals
from matcard.graphs.graphs import GraphDataset, build_graphs
from matcard.graphs.neighbors import GraphOptions
from matcard.models import CGCNN, CGCNNOptions
from matcard.models.crystal import atom_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WAYS = ("matcard", "plain", "cgconv", "matgl")
RADIUS, NEIGHBORS, CENTRES = 8.0, 12, np.arange(0.0, 8.01, 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="table of crystals that matcard reads; without it the embedded ones")
    parser.add_argument("--crystals", type=int, default=1000, help="crystals, drawn at random")
    parser.add_argument("--batch", type=int, default=256, help="crystals a step")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--growth", type=Path, help="draw how matcard's cost grows, too, and write this figure")
    parser.add_argument("--most", type=int, default=100_000, help="crystals at most in that figure")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.one:
        print(json.dumps(measured(given.one, given.folder, given.batch)))
        return
    crystals = read_crystals(given.data) if given.data else load_crystals(load_card("perovskite_phases"))
    with tempfile.TemporaryDirectory() as name:
        write_cifs(crystals, given.crystals, Path(name))
        show([{"way": way, **run(way, given, name)} for way in WAYS])
    if given.growth:
        growth(given.growth, given.most)


def write_cifs(crystals: Crystals, number: int, folder: Path) -> None:
    """Write some crystals as CIF files with a table of labels."""
    sound = np.flatnonzero([fault is None for fault in crystals.faults])
    chosen = np.random.default_rng(0).permutation(sound)[:number]
    with (folder / "id_prop.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "label"])
        for k, i in enumerate(chosen.tolist()):
            crystals.structure(i).to(filename=str(folder / f"c{k}.cif"))
            rows.writerow([f"c{k}", k % 2])


def run(way: str, given: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Measure one way in a process of its own; without matgl its row says so."""
    if way == "matgl" and find_spec("matgl") is None:
        return {"note": "not installed"}
    words = ["--one", way, "--folder", folder, "--batch", str(given.batch), "--threads", str(given.threads)]
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    with tempfile.TemporaryDirectory() as scratch:  # matgl's data set leaves files where it is
        done = subprocess.run(command, capture_output=True, text=True, cwd=scratch)
    if done.returncode:
        return {"note": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measured(way: str, folder: Path, batch: int) -> dict[str, float]:
    """Give the seconds of each stage and the megabytes at the height."""
    ways: dict[str, Callable[..., tuple[Any, Callable[[], None]]]] = {
        "matcard": of_matcard,
        "plain": of_plain,
        "cgconv": of_cgconv,
        "matgl": of_matgl,
    }
    seconds: dict[str, float] = {}
    libraries = resident("VmRSS")
    epoch = ways[way](folder, batch, seconds)
    for name in ("first epoch", "later epochs", "later epochs"):
        before = time.process_time()
        epoch()
        spent = time.process_time() - before
        seconds[name] = min(spent, seconds.get(name, spent))
    return {**seconds, "megabytes": resident("VmHWM") - libraries}


class Timed:
    """Adds the CPU seconds of a block to a record."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = time.process_time() - self.began


def of_matcard(folder: Path, batch: int, seconds: dict[str, float]) -> Callable[[], None]:
    with Timed(seconds, "reading"):
        crystals = read_crystals(folder)
    with Timed(seconds, "graphs"):
        graphs = build_graphs(crystals, GraphOptions())
    dataset = GraphDataset(graphs, np.arange(len(graphs)) % 2)
    model = CGCNN(CGCNNOptions(), 2)
    model.fuse()
    loader = DataLoader(dataset, batch, shuffle=True, collate_fn=dataset.collate)
    return training(model, lambda b: model(b).logits, loader)


def structures(folder: Path) -> list[Structure]:
    return [Structure.from_file(path) for path in sorted(folder.glob("*.cif"))]


def of_plain(folder: Path, batch: int, seconds: dict[str, float]) -> Callable[[], None]:
    """Read by pymatgen, search with `get_all_neighbors`, pad to 12 neighbours, keep Gaussians in memory."""
    with Timed(seconds, "reading"):
        read = structures(folder)
    table = atom_features()
    with Timed(seconds, "graphs"):
        items = [padded(structure, table) for structure in read]
    model = Padded(table.shape[1])

    def collate(numbers: Sequence[int]) -> Any:
        atoms, gaussians, index, crystal, first = [], [], [], [], 0
        for place, k in enumerate(numbers):
            atoms.append(items[k][0])
            gaussians.append(items[k][1])
            index.append(items[k][2] + first)
            crystal.append(torch.full((len(items[k][0]),), place))
            first += len(items[k][0])
        return Data(
            x=torch.cat(atoms),
            gaussians=torch.cat(gaussians),
            index=torch.cat(index),
            crystal=torch.cat(crystal),
            y=torch.tensor(numbers) % 2,
        )

    loader = DataLoader(range(len(items)), batch, shuffle=True, collate_fn=collate)
    return training(model, model, loader)


def padded(structure: Structure, table: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    near = [sorted(found, key=lambda n: n.nn_distance)[:NEIGHBORS] for found in structure.get_all_neighbors(RADIUS)]
    distance = np.full((len(near), NEIGHBORS), RADIUS + 1.0)
    index = np.zeros((len(near), NEIGHBORS), dtype=np.int64)
    for i, found in enumerate(near):
        distance[i, : len(found)] = [n.nn_distance for n in found]
        index[i, : len(found)] = [n.index for n in found]
    gaussians = np.exp(-((distance[..., None] - CENTRES) ** 2) / 0.2**2)
    atoms = table[[site.specie.Z for site in structure]]
    return torch.tensor(atoms).float(), torch.tensor(gaussians).float(), torch.tensor(index)


class Padded(nn.Module):
    """CGCNN in the padded layout of the original (Xie and Grossman 2018)."""

    def __init__(self, features: int, width: int = 64, layers: int = 3, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.full = nn.ModuleList(nn.Linear(2 * width + len(CENTRES), 2 * width) for _ in range(layers))
        self.inner = nn.ModuleList(nn.BatchNorm1d(2 * width) for _ in range(layers))
        self.outer = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, 2)

    def forward(self, batch: Any) -> torch.Tensor:
        """Give logits."""
        atoms = self.embedding(batch.x)
        count, neighbors = batch.index.shape
        for full, inner, outer in zip(self.full, self.inner, self.outer, strict=True):
            centre = atoms[:, None].expand(count, neighbors, -1)
            gated = full(torch.cat([centre, atoms[batch.index], batch.gaussians], dim=2))
            gated = inner(gated.view(count * neighbors, -1)).view(count, neighbors, -1)
            gate, core = gated.chunk(2, dim=2)
            summed = (torch.sigmoid(gate) * nn.functional.softplus(core)).sum(1)
            atoms = nn.functional.softplus(atoms + outer(summed))
        pooled = global_mean_pool(atoms, batch.crystal)
        return self.out(nn.functional.softplus(self.hidden(nn.functional.softplus(pooled))))


def of_cgconv(folder: Path, batch: int, seconds: dict[str, float]) -> Callable[[], None]:
    """Read and search by pymatgen, train torch_geometric's `CGConv`."""
    with Timed(seconds, "reading"):
        read = structures(folder)
    table = torch.tensor(atom_features()).float()
    with Timed(seconds, "graphs"):
        items = [edges(structure, k % 2) for k, structure in enumerate(read)]
    model = Convolved(table)
    return training(model, model, ListLoader(items, batch, shuffle=True))


def edges(structure: Structure, label: int) -> Data:
    target, source, _, distance = structure.get_neighbor_list(RADIUS)
    order = np.lexsort((distance, target))
    rank = np.arange(len(order)) - np.searchsorted(target[order], target[order])
    kept = order[rank < NEIGHBORS]
    gaussians = np.exp(-((distance[kept, None] - CENTRES) ** 2) / 0.2**2)
    return Data(
        z=torch.tensor([site.specie.Z for site in structure]),
        edge_index=torch.tensor(np.stack([source[kept], target[kept]])),
        edge_attr=torch.tensor(gaussians).float(),
        y=torch.tensor([label]),
    )


class Convolved(nn.Module):
    """Three `CGConv` with batch norm, a mean and two layers."""

    def __init__(self, table: torch.Tensor, width: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.table = nn.Parameter(table, requires_grad=False)
        self.embedding = nn.Linear(table.shape[1], width)
        self.convolutions = nn.ModuleList(CGConv(width, len(CENTRES), batch_norm=True) for _ in range(3))
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, 2)

    def forward(self, batch: Any) -> torch.Tensor:
        """Give logits."""
        atoms = self.embedding(self.table[batch.z])
        for convolution in self.convolutions:
            atoms = convolution(atoms, batch.edge_index, batch.edge_attr)
        return self.out(nn.functional.softplus(self.hidden(global_mean_pool(atoms, batch.batch))))


def of_matgl(folder: Path, batch: int, seconds: dict[str, float]) -> Callable[[], None]:
    """Train matgl's MEGNet by its own data set and loader."""
    from matgl.ext.pymatgen import Structure2Graph, get_element_list
    from matgl.graph.data import MGLDataset, collate_fn_graph
    from matgl.models import MEGNet
    from matgl.utils.training import ModelLightningModule

    with Timed(seconds, "reading"):
        read = structures(folder)
    elements = get_element_list(read)
    with Timed(seconds, "graphs"):
        dataset = MGLDataset(
            structures=read,
            converter=Structure2Graph(elements, cutoff=4.0),
            labels={"label": [k % 2 for k in range(len(read))]},
            save_cache=False,
        )
    module = ModelLightningModule(MEGNet(element_types=elements, is_classification=False))
    loader = DataLoader(dataset, batch, shuffle=True, collate_fn=collate_fn_graph)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def epoch() -> None:
        for graph, lattice, state, labels in loader:
            optimizer.zero_grad()
            logits = module(g=graph, lat=lattice, state_attr=state)
            nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
            optimizer.step()

    return epoch


def training(model: nn.Module, logits: Callable[[Any], torch.Tensor], loader: Iterable[Any]) -> Callable[[], None]:
    """Give a function that trains one epoch."""
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=1e-3)

    def epoch() -> None:
        for batch in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(batch), batch.y).backward()
            optimizer.step()

    return epoch


def show(rows: list[dict[str, Any]]) -> None:
    """Print a row a way, as Markdown."""

    def written(value: float) -> str:
        return "" if pd.isna(value) else f"{value:.2f}" if value < 100 else f"{value:.0f}"

    columns = ["reading", "graphs", "first epoch", "later epochs", "megabytes"]
    told = ["note"] if any("note" in row for row in rows) else []
    table = pd.DataFrame(rows).reindex(columns=["way", *columns, *told])
    table[columns] = table[columns].map(written)
    print("| " + " | ".join(table.columns) + " |\n" + "|---" * len(table.columns) + "|")
    for row in table.fillna("").itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


def growth(path: Path, most: int) -> None:
    """Draw CPU milliseconds a crystal of graphs and of an epoch against crystals, atoms and neighbours."""
    atoms = (5, 10, 20, 50, 100, 200)
    plans = {
        "crystals": [(n, n, 10, 12) for n in (1000, 3000, 10_000, 30_000, 100_000) if n <= most],
        "atoms a crystal": [(a, min(most, 20_000 // a), a, 12) for a in atoms],
        "neighbours": [(k, min(most, 1000), 10, k) for k in (2, 4, 8, 12, 16, 32)],
    }
    figure, axes = plt.subplots(1, len(plans), figsize=(10, 3.2), sharey=True, layout="constrained")
    for axis, (name, points) in zip(axes, plans.items(), strict=True):
        costs = np.array([cost(*point[1:]) for point in points])
        for column, label in enumerate(("graphs", "an epoch")):
            axis.plot([point[0] for point in points], costs[:, column], "o-", label=label)
        axis.set(xlabel=name, xscale="log", yscale="log")
        axis.minorticks_off()
        axis.set_xticks([point[0] for point in points], [f"{point[0]:,}" for point in points])
        axis.yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("CPU ms a crystal")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(path)


def cost(crystals: int, atoms: int, neighbors: int) -> tuple[float, float]:
    """Give the milliseconds a crystal that graphs and an epoch of batches of 256 take, on random crystals."""
    rng = np.random.default_rng(0)
    side = (12.0 * atoms) ** (1 / 3)  # 12 cubic angstrom an atom
    sites = crystals * atoms
    made = Crystals(
        np.array([f"c{k}" for k in range(crystals)], dtype=object),
        np.tile(Lattice.cubic(side).matrix, (crystals, 1, 1)),
        np.arange(0, sites + 1, atoms),
        rng.integers(3, 84, sites).astype(np.uint8),
        rng.random((sites, 3)),
    )
    before = time.process_time()
    graphs = build_graphs(made, GraphOptions(neighbors=neighbors))
    built = time.process_time()
    dataset = GraphDataset(graphs, np.arange(crystals) % 2)
    model = CGCNN(CGCNNOptions(), 2)
    model.fuse()
    epoch = training(model, lambda b: model(b).logits, DataLoader(dataset, 256, collate_fn=dataset.collate))
    epoch() if crystals <= 3000 else None  # what is compiled or read at first
    started = time.process_time()
    epoch()
    per = 1e3 / crystals
    print(f"{crystals} crystals of {atoms} atoms, {neighbors} neighbours", flush=True)
    return (built - before) * per, (time.process_time() - started) * per


if __name__ == "__main__":
    main()
