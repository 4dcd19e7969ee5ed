"""How fast crystals become graphs and graphs become batches, beside the usual ways, in one run.

python benchmarks/featurise.py --data $MATCARD_TEST_DATA/mp_icsd20.parquet
python benchmarks/featurise.py --data $MATCARD_TEST_DATA/mp_icsd20.parquet --synthetic 1000000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch_geometric.loader import DataLoader as ListLoader

from matcard.crystals import Crystals, GraphOptions, Graphs, build_graphs, open_store, read_crystals
from matcard.crystals.atom_features import atom_features
from matcard.crystals.batches import GraphDataset, SeededSampler
from matcard.crystals.neighbors import Edges, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPTIONS = GraphOptions()
BATCH = 256
FEATURES = atom_features()
CENTERS = np.arange(0, OPTIONS.radius + 0.2, 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="table of crystals that matcard reads")
    parser.add_argument("--crystals", type=int, default=2000, help="random sample that matcard's side is timed on")
    parser.add_argument("--rivals", type=int, default=300, help="part of it that the slower ways are timed on")
    parser.add_argument("--synthetic", type=int, default=0, help="instead, strain the sample to so many crystals")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what pymatgen says of rounded CIFs
    start = time.perf_counter()
    table = read_crystals(args.data).crystals
    reading = (time.perf_counter() - start) / len(table)
    rng = np.random.default_rng(0)
    sample = table.take(rng.choice(len(table), min(args.crystals, len(table)), replace=False))
    print(f"{len(table)} crystals, {len(sample)} of them taken: {sample.num_sites.mean():.1f} atoms each\n")
    if args.synthetic:
        scale(sample, args.synthetic)
    else:
        report({"reading the table": reading} | building(sample, args.rivals) | loading(sample))


def report(seconds: dict[str, float]) -> None:
    """Print seconds a crystal as a table."""
    print("| what | ms a crystal | crystals/s |\n|---|---|---|")
    for name, each in seconds.items():
        print(f"| {name} | {1e3 * each:.3f} | {1 / each:,.0f} |")


def best(run: Callable[[], Any], number: int, repeats: int = 5) -> float:
    """Give the least seconds a crystal of some runs over `number` crystals, after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) / number


def building(sample: Crystals, rivals: int) -> dict[str, float]:
    """Time graph building; the rivals search the same neighbours, which is checked."""
    from ase.neighborlist import neighbor_list

    few = sample.take(np.arange(min(rivals, len(sample))))
    structures = [few.structure(i) for i in range(len(few))]
    atoms = [few.atoms(i) for i in range(len(few))]
    cifs = [structure.to(fmt="cif") for structure in structures]
    seconds = {
        f"matcard, parsed structures to graphs, {jobs} core{'s' * (jobs > 1)}": best(
            lambda jobs=jobs: build_graphs(sample, OPTIONS, jobs=jobs), len(sample)
        )
        for jobs in (1, 2)
    }
    found: dict[str, list[Any]] = {}

    def run(name: str, search: Callable[[Any], Any], items: Sequence[Any]) -> None:
        def once() -> None:
            found[name] = [search(item) for item in items]

        seconds[name] = best(once, len(items), repeats=1)

    run("pymatgen `get_neighbor_list`, search alone", lambda s: s.get_neighbor_list(OPTIONS.radius), structures)
    run("pymatgen `get_all_neighbors`, search alone", lambda s: s.get_all_neighbors(OPTIONS.radius), structures)
    run("ASE `neighbor_list`, search alone", lambda a: neighbor_list("ijSd", a, OPTIONS.radius), atoms)
    run("original CGCNN's route: CIF, `get_all_neighbors`, Gaussians", original_route, cifs)
    ours = build_graphs(few, OPTIONS)
    for index, (listed, every, of_ase) in enumerate(zip(*list(found.values())[:3], strict=True)):
        objects = [(i, n.index, n.image, n.nn_distance) for i, around in enumerate(every) for n in around]
        expected = edges_of(ours, index)
        for lists in (listed, zip(*objects, strict=True), of_ase):
            if chosen(*lists, num_atoms=int(few.num_sites[index])) != expected:
                sys.exit(f"crystal {few.ids[index]}: the edge lists differ")
    print(f"The edges of {len(few)} crystals are the same in all ways.\n")
    return seconds


def original_route(cif: str) -> tuple[torch.Tensor, ...]:
    """Do for one crystal what the original does at its first use: parse, search, sort, pad, expand."""
    from pymatgen.core import Structure

    structure = Structure.from_str(cif, fmt="cif")
    k = OPTIONS.neighbors
    lengths, sources = np.full((len(structure), k), OPTIONS.radius + 1), np.zeros((len(structure), k), int)
    for atom, around in enumerate(structure.get_all_neighbors(OPTIONS.radius, include_index=True)):
        for place, neighbor in enumerate(sorted(around, key=lambda n: n.nn_distance)[:k]):
            lengths[atom, place], sources[atom, place] = neighbor.nn_distance, neighbor.index
    gaussians = np.exp(-(((lengths[..., None] - CENTERS) / 0.2) ** 2))
    features = np.vstack([FEATURES[site.specie.number] for site in structure])
    return torch.tensor(features), torch.tensor(gaussians), torch.tensor(sources)


def chosen(target: Any, source: Any, image: Any, distance: Any, *, num_atoms: int) -> set[tuple[int, ...]]:
    """Give those of a rival's neighbours that the options choose, as edges."""
    every = Edges(np.array(target), np.array(source), np.array(image), np.array(distance))
    edges = nearest(every, num_atoms, OPTIONS).edges
    return set(map(tuple, np.column_stack([edges.target, edges.source, edges.image]).astype(int).tolist()))


def edges_of(graphs: Graphs, index: int) -> set[tuple[int, ...]]:
    """Give the edges of one crystal."""
    part = slice(*graphs.edge_offsets[index : index + 2])
    return set(map(tuple, np.column_stack([graphs.target[part], graphs.source[part], graphs.image[part]]).tolist()))


def loading(sample: Crystals) -> dict[str, float]:
    """Time an epoch of batches, from memory-mapped arrays and from a list of `Data`."""
    with tempfile.TemporaryDirectory() as folder:
        graphs = open_store(sample, OPTIONS, Path(folder))
        dataset = GraphDataset(graphs, torch.zeros(len(graphs)))
        sampler = SeededSampler(len(dataset), seed=0)
        ours = DataLoader(dataset, BATCH, sampler=sampler, collate_fn=dataset.collate)
        items = [graphs[i] for i in range(len(graphs))]
        for index, data in enumerate(items):
            del data.image
            data.y, data.crystal = torch.zeros(1), torch.tensor([index])
        theirs = ListLoader(items, BATCH, sampler=sampler)
        for a, b in zip(ours, theirs, strict=True):
            same = (torch.equal(a[name], b[name]) for name in ("z", "edge_index", "distance", "batch", "ptr", "y"))
            if not (all(same) and torch.equal(a.index, b.crystal)):
                sys.exit("the batches differ")
        print("The batches are the same in both ways.\n")
        reopen = best(lambda: open_store(sample, OPTIONS, Path(folder)), len(sample))
        return {
            "matcard, opening the store of these crystals": reopen,
            f"matcard, loader, batches of {BATCH}": best(lambda: list(ours), len(graphs)),
            f"torch_geometric loader over a list of `Data`, batches of {BATCH}": best(
                lambda: list(theirs), len(graphs)
            ),
        }


def scale(sample: Crystals, number: int) -> None:
    """Build and read a store of many crystals, made by straining the sample; say what it takes."""
    rng = np.random.default_rng(1)
    crystals = sample.take(np.arange(number) % len(sample))
    strain = np.eye(3) + rng.uniform(-0.02, 0.02, (number, 3, 3))
    crystals = Crystals(crystals.ids, crystals.lattice @ strain, *(getattr(crystals, n) for n in SITES))
    with tempfile.TemporaryDirectory() as folder:
        print(f"{number} crystals in memory: {memory('RssAnon'):,.0f} MB")
        start = time.perf_counter()
        graphs = open_store(crystals, OPTIONS, Path(folder), progress=show)
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in graphs.folder.iterdir())
        print(f"\nbuilt on one core in {seconds:.0f} s, {1e3 * seconds / number:.3f} ms a crystal")
        print(f"{size / 1e6:,.0f} MB on disk; most memory ever {peak():,.0f} MB")
        start = time.perf_counter()
        open_store(crystals, OPTIONS, Path(folder))
        print(f"found again in {time.perf_counter() - start:.2f} s, with the key computed")
        del crystals
        dataset = GraphDataset(graphs)
        before = memory("RssAnon")
        batches = DataLoader(dataset, BATCH, sampler=SeededSampler(number, seed=0), collate_fn=dataset.collate)
        start, most = time.perf_counter(), before
        for _ in batches:
            most = max(most, memory("RssAnon"))
        seconds = time.perf_counter() - start
        print(f"an epoch in random order: {number / seconds:,.0f} crystals/s, {most - before:,.0f} MB more memory")


SITES = ("offsets", "numbers", "frac_coords")


def show(done: int, total: int) -> None:
    """Show how far the build is."""
    print(f"\r{done} of {total}", end="", flush=True)


def memory(kind: str) -> float:
    """Give megabytes of this process: `RssAnon` leaves out pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) / 1e3


def peak() -> float:
    """Give the most megabytes that this process had, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
