"""Crystals for the tests of graphs, and the neighbours of their atoms found the slow way."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np

from matcard.crystals.crystals import Crystals, offsets_from_counts
from matcard.graphs.graphs import Graphs, build_graphs
from matcard.graphs.neighbors import TIE_TOLERANCE, GraphOptions

FCC = (3.6 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), [29], [[0, 0, 0]])
ROCK_SALT = (
    5.64 * np.eye(3),
    [11] * 4 + [17] * 4,
    [
        [0, 0, 0],
        [0, 0.5, 0.5],
        [0.5, 0, 0.5],
        [0.5, 0.5, 0],
        [0.5, 0, 0],
        [0, 0.5, 0],
        [0, 0, 0.5],
        [0.5] * 3,
    ],
)
LONELY = (30 * np.eye(3), [2], [[0.1, 0.2, 0.3]])
PAIR_IN_BOX = (30 * np.eye(3), [1, 1], [[0, 0, 0], [0, 0, 0.03]])
SKEWED = (
    [[3.1, 0, 0], [1.4, 3.9, 0], [-0.8, 1.7, 5.2]],
    [8, 22, 22],
    [[0.1, 0.2, 0.3], [0.6, 0.5, 0.1], [0.4, 0.9, 0.8]],
)


def crystals_of(*cases) -> Crystals:
    """Put (lattice, numbers, frac_coords) cases into one table."""
    counts = [len(numbers) for _, numbers, _ in cases]
    return Crystals(
        ids=np.array([f"case-{i}" for i in range(len(cases))], dtype=object),
        lattice=np.array([lattice for lattice, _, _ in cases], dtype=float).reshape(-1, 3, 3),
        offsets=offsets_from_counts(np.array(counts, dtype=int)),
        numbers=np.array([z for _, numbers, _ in cases for z in numbers], dtype=np.uint8),
        frac_coords=np.array([x for _, _, frac in cases for x in frac], dtype=float).reshape(-1, 3),
    )


def random_crystals(num: int, seed: int = 0, most: int = 6) -> Crystals:
    """Give crystals with cells of all shapes and a few random sites each."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(num):
        lattice = np.diag(rng.uniform(3, 6, 3)) + rng.uniform(-0.8, 0.8, (3, 3))
        sites = rng.integers(1, most + 1)
        cases.append((lattice, rng.integers(1, 90, sites), rng.uniform(-0.5, 1.5, (sites, 3))))
    return crystals_of(*cases)


def edges_of(graphs: Graphs, index: int = 0) -> list[tuple]:
    """Give a crystal's edges as (target, source, image, distance), in the order they have."""
    e = slice(*graphs.edge_offsets[index : index + 2])
    rows = zip(graphs.target[e], graphs.source[e], graphs.image[e], graphs.distance[e], strict=True)
    return [(int(t), int(s), tuple(map(int, image)), float(d)) for t, s, image, d in rows]


def graph(case, **options) -> Graphs:
    """Build the graph of one case."""
    return build_graphs(crystals_of(case), GraphOptions(**options))


def lattice_sum(case, options: GraphOptions) -> list[tuple]:
    """Find the edges of one case by plain loops over sites and cells."""
    lattice, _, frac = (np.asarray(part, dtype=float) for part in case)
    heights = [abs(np.linalg.det(lattice)) / np.linalg.norm(np.cross(lattice[i - 2], lattice[i - 1])) for i in range(3)]
    reach = np.ptp(frac, axis=0) if len(frac) else np.zeros(3)
    cells = [range(-n, n + 1) for n in (math.ceil(options.radius / h + s) for h, s in zip(heights, reach, strict=True))]
    edges = []
    for target, center in enumerate(frac):
        around = []
        for source, site in enumerate(frac):
            for image in itertools.product(*cells):
                distance = math.dist((site + image) @ lattice, center @ lattice)
                if distance <= options.radius and not (source == target and image == (0, 0, 0)):
                    around.append((target, source, image, distance))
        around.sort(key=lambda edge: edge[3])
        edges += tied(around, options)
    return edges


def tied(around: list[tuple], options: GraphOptions) -> list[tuple]:
    """Choose among the sorted neighbours of one atom."""
    k = options.neighbors
    if len(around) <= k:
        return around
    kth = around[k - 1][3]
    if options.ties == "strict":
        return around[:k]
    closed = [edge for edge in around if edge[3] <= kth + TIE_TOLERANCE]
    if options.ties == "keep" or len(closed) == k:
        return closed
    return [edge for edge in around if edge[3] < kth - TIE_TOLERANCE]


def neighbourhoods(graphs: Graphs, index: int = 0) -> Counter:
    """Count the atoms of a crystal by element and sorted (element, distance) of their neighbours."""
    numbers = graphs.numbers[slice(*graphs.node_offsets[index : index + 2])]
    around: list[list] = [[] for _ in numbers]
    for target, source, _, distance in edges_of(graphs, index):
        around[target].append((round(distance, 3), int(numbers[source])))
    return Counter((int(z), tuple(sorted(found))) for z, found in zip(numbers, around, strict=True))
