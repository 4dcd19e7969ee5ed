"""How fast CGCNN trains beside the plain way of writing it, in one run.

    python benchmarks/step.py
    python benchmarks/step.py --data $MATCARD_TEST_DATA/mp_icsd20.parquet --markdown

A step is forward, cross-entropy, backward and Adam, at the widths 64/3/128, on the same batches and from the same
weights. The plain way concatenates [v_i, v_j, g_ij] for one wide linear layer, with index_select and index_add. It is
timed twice: with Gaussians as the formula gives them, whose subnormal numbers slow a CPU's products, and with matcard's
Gaussians, which have none. The last table adds data loading: torch_geometric's loader over a list of `Data` for the
plain way. Every turn goes through all ways; a step is the mean over batches of the least of all turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as ListLoader

from matcard.crystals.read import read_crystals
from matcard.data.card import load_card
from matcard.data.sources import load_crystals
from matcard.graphs.graphs import GraphDataset, build_graphs
from matcard.graphs.neighbors import GraphOptions
from matcard.models import CGCNN, CGCNNOptions, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TOLERANCE = 1e-5
OPTIONS = CGCNNOptions(dropout=0.0)


class Way(NamedTuple):
    """A way to train: how it is called, the network, and where its batches come from."""

    name: str
    model: nn.Module
    batches: Callable[[], Iterable[Any]]


class Plain(nn.Module):
    """CGCNN as it is usually written, on the weights of a `CGCNN`."""

    def __init__(self, model: CGCNN, *, clean: bool) -> None:
        super().__init__()
        self.model = model
        self.clean = clean

    def forward(self, batch: Any) -> Output:
        """Give logits and embedding."""
        model = self.model
        atoms = model.embedding(batch.z)
        source, target = batch.edge_index
        gaussians = self.gaussians(batch.distance)
        for conv in model.convs:
            ends = [atoms.index_select(0, target), atoms.index_select(0, source)]
            inner = conv.bn1(conv.fc_full(torch.cat([*ends, gaussians], dim=1)))
            gate, core = inner.chunk(2, dim=1)
            message = torch.sigmoid(gate) * nn.functional.softplus(core)
            total = torch.zeros_like(atoms).index_add(0, target, message)
            atoms = nn.functional.softplus(atoms + conv.bn2(total))
        counts = batch.ptr.diff()[:, None]
        pooled = atoms.new_zeros(len(counts), atoms.shape[1]).index_add(0, batch.batch, atoms) / counts
        hidden = nn.functional.softplus(model.conv_to_fc(nn.functional.softplus(pooled)))
        return Output(model.fc_out(hidden), hidden)

    def gaussians(self, distance: torch.Tensor) -> torch.Tensor:
        """Expand distances."""
        basis = self.model.basis
        if self.clean:
            return basis(distance)
        return torch.exp(-((distance[:, None] - basis.centres) ** 2) / basis.var**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="table of crystals that matcard reads; perovskite_phases where not given")
    parser.add_argument("--crystals", type=int, default=256, help="random sample that is trained on")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256], help="batch sizes")
    parser.add_argument("--turns", type=int, default=20, help="turns through all ways")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--wall", action="store_true", help="wall time in place of CPU time; needs an idle machine")
    parser.add_argument("--markdown", action="store_true", help="print tables for README.md")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dataset = sample(given.data, given.crystals)
    clock = time.perf_counter if given.wall else time.process_time
    for size in given.batch:
        ready = list(loader(dataset, size))
        atoms, edges = (sum(len(getattr(batch, name)) for batch in ready) for name in ("z", "distance"))
        print(f"{len(dataset)} crystals, {atoms / len(dataset):.1f} atoms and {edges / len(dataset):.0f} edges each\n")
        ours = CGCNN(OPTIONS, 2)
        blocks = deepcopy(ours)
        if not ours.fuse():
            sys.exit("numba is not installed: pip install numba")
        rivals = [Plain(deepcopy(ours), clean=clean) for clean in (True, False)]
        compare(ours, rivals[0], ready[0])
        items = [data(dataset, index) for index in range(len(dataset))]
        steps = [
            Way("matcard", ours, lambda ready=ready: ready),
            Way("matcard without numba", blocks, lambda ready=ready: ready),
            Way("plain, matcard's Gaussians", rivals[0], lambda ready=ready: ready),
            Way("plain", rivals[1], lambda ready=ready: ready),
        ]
        with_loading = [
            Way("matcard, with loading", ours, lambda size=size: loader(dataset, size)),
            Way(
                "plain, matcard's Gaussians, with loading",
                rivals[0],
                lambda items=items, size=size: ListLoader(items, size, shuffle=True, drop_last=True),
            ),
            Way(
                "plain, with loading",
                rivals[1],
                lambda items=items, size=size: ListLoader(items, size, shuffle=True, drop_last=True),
            ),
        ]
        seconds = measure([*steps, *with_loading], given.turns, clock)
        show(seconds, size, given.markdown)


def sample(source: str | None, number: int) -> GraphDataset:
    """Draw crystals and make their graphs, with labels that mean nothing."""
    crystals = load_crystals(load_card("perovskite_phases")) if source is None else read_crystals(source)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(np.flatnonzero(crystals.sound))[:number])
    graphs = build_graphs(crystals.take(chosen), GraphOptions())
    return GraphDataset(graphs, rng.integers(2, size=len(graphs)))


def loader(dataset: GraphDataset, size: int) -> DataLoader[Any]:
    """Give matcard's batches, in random order."""
    return DataLoader(dataset, size, shuffle=True, drop_last=True, collate_fn=dataset.collate)


def data(dataset: GraphDataset, index: int) -> Data:
    """Give one crystal as torch_geometric's loader takes it."""
    one = dataset[index]
    return Data(z=one.z, edge_index=one.edge_index, distance=one.distance, num_nodes=len(one.z), y=one.y)


def compare(ours: CGCNN, plain: Plain, batch: Any) -> None:
    """Stop if matcard's logits, or in float64 its gradients, are not those of the plain way in float64."""
    logits, gradients = [], []
    for model in (deepcopy(ours).double(), deepcopy(plain).double()):
        logits.append(model(batch).logits)
        nn.functional.cross_entropy(logits[-1], batch.y).backward()
        gradients.append([weight.grad for weight in model.parameters()])
    of_gradient = max((a - b).abs().max() for a, b in zip(*gradients, strict=True))
    of_ours, of_plain = ((model(batch).logits - logits[1]).detach().abs().max() for model in (ours, plain))
    print(
        f"largest difference from the plain way in float64: {of_ours:.0e} of matcard's logits, {of_plain:.0e} of the "
        f"plain way's own in float32; {of_gradient:.0e} of matcard's gradients in float64\n"
    )
    if max(of_ours, of_gradient) > TOLERANCE:
        sys.exit("the two ways differ")


def measure(ways: list[Way], turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """Give the seconds of a step each way: of each batch the least of all turns, and the mean of these."""
    optimizers = [torch.optim.Adam(way.model.parameters(), lr=1e-3) for way in ways]
    seconds: dict[str, list[list[float]]] = {way.name: [] for way in ways}
    for _ in range(turns):
        for way, optimizer in zip(ways, optimizers, strict=True):
            ends = [clock()]
            for batch in way.batches():
                optimizer.zero_grad()
                nn.functional.cross_entropy(way.model(batch).logits, batch.y).backward()
                optimizer.step()
                ends.append(clock())
            seconds[way.name].append(np.diff(ends).tolist())
    return {name: float(np.min(times, axis=0).mean()) for name, times in seconds.items()}


def show(seconds: dict[str, float], size: int, markdown: bool) -> None:
    """Print one line a way, with how many times faster matcard is."""
    if markdown:
        print("| batch | what | ms a step | crystals/s | matcard is faster by |\n|---|---|---|---|---|")
    for name, taken in seconds.items():
        ours = seconds["matcard, with loading" if name.endswith("with loading") else "matcard"]
        cells = [str(size), name, f"{1e3 * taken:.0f}", f"{size / taken:,.0f}", f"{taken / ours:.2f}"]
        print(f"| {' | '.join(cells)} |" if markdown else "  ".join(cell.ljust(12) for cell in cells))
    print()


if __name__ == "__main__":
    main()
