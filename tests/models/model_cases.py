"""Random batches, and the original network in its own dense layout, which shares no code with the package."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import nn
from torch_geometric.data import Data

from matcard.models import CGCNNOptions, TransformerOptions

SMALL: dict[str, Any] = {"width": 6, "hidden": 10, "convolutions": 2, "dropout": 0.0}


def small(**options: Any) -> CGCNNOptions:
    return CGCNNOptions(**(SMALL | options))


def small_transformer(**options: Any) -> TransformerOptions:
    return TransformerOptions(**(SMALL | {"heads": 2} | options))


def crystal(
    num_atoms: int, num_neighbors: int, generator: torch.Generator, isolated: int = 0, shortest: float = 1.5
) -> Data:
    """A graph whose atoms have `num_neighbors` random neighbours each, the last `isolated` atoms none."""
    connected = num_atoms - isolated
    target = torch.arange(connected).repeat_interleave(num_neighbors)
    source = torch.randint(connected, (len(target),), generator=generator) if connected else target
    return Data(
        z=torch.randint(1, 95, (num_atoms,), generator=generator),
        edge_index=torch.stack([source, target]),
        distance=shortest + 5 * torch.rand(len(target), generator=generator),
        num_nodes=num_atoms,
    )


def join(crystals: list[Data]) -> Data:
    """One batch of graphs, by hand."""
    sizes = torch.tensor([graph.num_nodes for graph in crystals])
    ptr = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
    shifted = [graph.edge_index + first for graph, first in zip(crystals, ptr[:-1], strict=True)]
    return Data(
        z=torch.cat([graph.z for graph in crystals]),
        edge_index=torch.cat(shifted, dim=1),
        distance=torch.cat([graph.distance for graph in crystals]),
        batch=torch.arange(len(crystals)).repeat_interleave(sizes),
        ptr=ptr,
        num_graphs=len(crystals),
        num_nodes=int(sizes.sum()),
    )


def random_batch(num_crystals: int = 5, seed: int = 0, num_neighbors: int = 4, isolated: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(2 + isolated, 7 + isolated, (num_crystals,), generator=generator).tolist()
    return join([crystal(size, num_neighbors, generator, isolated) for size in sizes])


def randomize(model: nn.Module, seed: int = 0) -> None:
    """Give a model's batch norms weights and running statistics that are not the trivial ones."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for values, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                values.data = low + torch.rand(len(values), generator=generator)
            module.running_mean = torch.rand(len(module.bias), generator=generator) - 0.5


class OriginalLayer(nn.Module):
    """Convolution of the original project: every atom has the same number of neighbours."""

    def __init__(self, width: int, num_gaussians: int) -> None:
        super().__init__()
        self.fc_full = nn.Linear(2 * width + num_gaussians, 2 * width)
        self.bn1 = nn.BatchNorm1d(2 * width)
        self.bn2 = nn.BatchNorm1d(width)

    def forward(self, atoms, gaussians, neighbors):
        rows, columns = neighbors.shape
        here = atoms[:, None, :].expand(rows, columns, atoms.shape[1])
        joined = torch.cat([here, atoms[neighbors], gaussians], dim=-1)
        gated = self.fc_full(joined)
        gated = self.bn1(gated.reshape(rows * columns, -1)).reshape(rows, columns, -1)
        gate, core = gated.split(atoms.shape[1], dim=-1)
        total = self.bn2((gate.sigmoid() * nn.functional.softplus(core)).sum(dim=1))
        return nn.functional.softplus(atoms + total)


class OriginalNet(nn.Module):
    """The original project's network: (N, M) neighbour tables, a list of atom indices for each crystal."""

    def __init__(
        self,
        width: int = 64,
        convolutions: int = 3,
        hidden: int = 128,
        layers: int = 1,
        classification: bool = True,
        num_gaussians: int = 41,
    ) -> None:
        super().__init__()
        self.classification = classification
        self.embedding = nn.Linear(92, width)
        self.convs = nn.ModuleList([OriginalLayer(width, num_gaussians) for _ in range(convolutions)])
        self.conv_to_fc = nn.Linear(width, hidden)
        if layers > 1:
            self.fcs = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(layers - 1)])
        self.fc_out = nn.Linear(hidden, 2 if classification else 1)
        self.dropout = nn.Dropout()

    def embed(self, features, gaussians, neighbors, crystals):
        atoms = self.embedding(features)
        for layer in self.convs:
            atoms = layer(atoms, gaussians, neighbors)
        pooled = torch.stack([atoms[members].mean(dim=0) for members in crystals])
        hidden = nn.functional.softplus(self.conv_to_fc(nn.functional.softplus(pooled)))
        if self.classification:
            hidden = self.dropout(hidden)
        for layer in getattr(self, "fcs", []):
            hidden = nn.functional.softplus(layer(hidden))
        return hidden

    def forward(self, *inputs):
        out = self.fc_out(self.embed(*inputs))
        return out.log_softmax(dim=1) if self.classification else out


def original_inputs(graphs: list[Data], features: np.ndarray, neighbors: int = 12, radius: float = 8.0) -> Any:
    """What the original's data set gives for crystals: padded neighbour tables and Gaussians.

    An atom with fewer neighbours is filled up with atom 0 of its crystal at radius + 1.
    """
    tables, gaussians, members, numbers, first = [], [], [], [], 0
    centres = np.arange(0, radius + 0.2, 0.2)
    for graph in graphs:
        for atom in range(graph.num_nodes):
            edges = [e for e in range(graph.edge_index.shape[1]) if graph.edge_index[1, e] == atom]
            found = [(float(graph.distance[e]), int(graph.edge_index[0, e])) for e in edges]
            found += [(radius + 1.0, 0)] * (neighbors - len(found))
            tables.append([first + index for _, index in found])
            distances = np.array([distance for distance, _ in found])
            gaussians.append(np.exp(-((distances[:, None] - centres) ** 2) / 0.2**2))
        numbers += graph.z.tolist()
        members.append(torch.arange(first, first + graph.num_nodes))
        first += graph.num_nodes
    return (
        torch.from_numpy(features[numbers]),
        torch.tensor(np.array(gaussians), dtype=torch.float32),
        torch.tensor(tables),
        members,
    )


def padded(graph: Data, neighbors: int = 12, radius: float = 8.0) -> Data:
    """The same padding as edges of a graph."""
    source, target = graph.edge_index.tolist()
    distance = graph.distance.tolist()
    for atom in range(graph.num_nodes):
        for _ in range(neighbors - target.count(atom)):
            source, target, distance = [*source, 0], [*target, atom], [*distance, radius + 1.0]
    return Data(
        z=graph.z,
        edge_index=torch.tensor([source, target]),
        distance=torch.tensor(distance),
        num_nodes=graph.num_nodes,
    )


def original_file(net: OriginalNet, **extra: Any) -> dict[str, Any]:
    """The content of a checkpoint as the original project saves it."""
    args = argparse.Namespace(task="classification" if net.classification else "regression", n_conv=len(net.convs))
    return {
        "epoch": 30,
        "state_dict": net.state_dict(),
        "best_mae_error": np.float64(0.125),
        "optimizer": torch.optim.SGD(net.parameters(), 0.01, momentum=0.9).state_dict(),
        "normalizer": {"mean": torch.tensor(-1.5), "std": torch.tensor(0.75)},
        "args": vars(args),
    } | extra


def gradients(model: nn.Module, batch: Data) -> dict[str, torch.Tensor]:
    """Gradients of a function of logits and embedding that treats no output alike."""
    model.zero_grad()
    logits, embedding, _ = model(batch)
    weights = torch.linspace(-1, 1, logits.numel() + embedding.numel(), dtype=logits.dtype)
    (torch.cat([logits.flatten(), embedding.flatten()]).square() * weights).sum().backward()
    return {name.removeprefix("model."): weight.grad for name, weight in model.named_parameters()}


def slow_sum(terms: torch.Tensor, weight: torch.Tensor, basis: torch.Tensor, edges: Any) -> torch.Tensor:
    width = terms.shape[1] // 2
    out = torch.zeros(edges.num_atoms, width, dtype=terms.dtype)
    for e, (i, j) in enumerate(zip(edges.target.tolist(), edges.source.tolist(), strict=True)):
        inner = terms[2 * i] + terms[2 * j + 1] + weight @ basis[e]
        out[i] += torch.sigmoid(inner[:width]) * torch.nn.functional.softplus(-inner[width:])
    return out
