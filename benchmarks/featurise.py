"""How fast crystals become graphs and graphs become batches, beside the usual ways, in one run.

python benchmarks/featurise.py --data $MATCARD_TEST_DATA/mp_icsd20.parquet
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as ListLoader

from matcard.crystals.cif import read_cif
from matcard.crystals.read import read_crystals
from matcard.crystals.validate import checked
from matcard.graphs.graphs import GraphDataset, Graphs, build_graphs, open_graphs
from matcard.graphs.neighbors import Edges, GraphOptions, nearest
from matcard.models.crystal import atom_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matcard.crystals.crystals import Crystals

OPTIONS = GraphOptions()
BATCH = 256
FEATURES = atom_features()
CENTERS = np.arange(0, OPTIONS.radius + 0.2, 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="table of crystals that matcard reads")
    parser.add_argument("--crystals", type=int, default=2000, help="random sample that matcard's side is timed on")
    parser.add_argument("--rivals", type=int, default=300, help="part of it that the slower ways are timed on")
    parser.add_argument("--texts", action="store_true", help="time CIF text to crystals alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what pymatgen says of rounded CIFs
    start = time.process_time()
    table = read_crystals(args.data)
    reading = (time.process_time() - start) / len(table)
    rng = np.random.default_rng(0)
    sample = table.take(rng.choice(len(table), min(args.crystals, len(table)), replace=False))
    print(f"{len(table)} crystals, {len(sample)} of them taken: {sample.num_sites.mean():.1f} atoms each\n")
    few = sample.take(np.arange(min(args.rivals, len(sample))))
    if args.texts:
        report(texts(few))
        return
    report({"reading the table": reading} | texts(few) | parsing(few) | building(sample, few) | loading(sample))
    whole(args.data)


def report(seconds: dict[str, float]) -> None:
    """Print seconds a crystal as a table."""
    print("| what | ms a crystal (CPU) | crystals/s |\n|---|---|---|")
    for name, each in seconds.items():
        print(f"| {name} | {1e3 * each:.3f} | {1 / each:,.0f} |")


def best(
    run: Callable[[], Any], number: int, repeats: int = 5, clock: Callable[[], float] = time.process_time
) -> float:
    """Give the least seconds a crystal of some runs over `number` crystals, after one to warm up.

    They are CPU seconds, which another process on the machine disturbs less.
    """
    run()
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times) / number


def texts(few: Crystals) -> dict[str, float]:
    """Time from the text of a CIF to a crystal that was checked, beside pymatgen, without and with symmetry."""
    seconds = {}
    for kind, symprec in (("P1", None), ("with symmetry", 0.01)):
        cifs = [str(CifWriter(few.structure(i), symprec=symprec)) for i in range(len(few))]
        for cif in cifs:
            crystals, structure = checked(read_cif(cif)), Structure.from_str(cif, fmt="cif")
            same = crystals.sound.tolist() == [True] and len(crystals.numbers) == len(structure)
            if not (same and np.allclose(crystals.lattice[0], structure.lattice.matrix)):
                sys.exit(f"the crystals differ: {crystals.faults}\n{cif}")

        ours, theirs = f"CIF {kind} to a checked crystal", f"CIF {kind}, pymatgen `Structure.from_str`"
        seconds[theirs] = best(partial(every, cifs, by_pymatgen), len(cifs), 2)
        seconds[ours] = best(partial(every, cifs, read_cif, checked), len(cifs))
        print(f"CIF {kind}: {seconds[theirs] / seconds[ours]:.1f} times as fast as pymatgen")
    print()
    return seconds


def every(cifs: list[str], read: Callable[[str], Sequence[Any]], whole: Callable[[list[Any]], Any] = list) -> None:
    """Read some texts, and look at what they give as a whole."""
    whole([one for cif in cifs for one in read(cif)])


def by_pymatgen(cif: str) -> list[Structure]:
    """Read a text as most people do."""
    return [Structure.from_str(cif, fmt="cif")]


def parsing(few: Crystals) -> dict[str, float]:
    """Time a folder of CIFs, read anew and from the cache, beside pymatgen's reading of its files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cifs"
        folder.mkdir()
        for i in range(len(few)):
            few.structure(i).to(filename=str(folder / f"{i}.cif"), fmt="cif")
        os.environ["MATCARD_CACHE"] = f"{name}/kept"
        kept = read_crystals(folder)
        if not np.allclose(kept.take(np.argsort(kept.ids.astype(int))).lattice, few.lattice, atol=1e-4):
            sys.exit("the crystals differ")
        fresh = itertools.count()

        def anew() -> None:
            os.environ["MATCARD_CACHE"] = f"{name}/{next(fresh)}"
            read_crystals(folder)

        def kept_ones() -> None:
            os.environ["MATCARD_CACHE"] = f"{name}/kept"
            read_crystals(folder)

        def rival() -> None:
            for path in folder.iterdir():
                Structure.from_file(path)

        seconds = {
            "a folder of CIFs, matcard, cache written": best(anew, len(few), 3),
            "a folder of CIFs, matcard, from the cache": best(kept_ones, len(few)),
            "a folder of CIFs, pymatgen": best(rival, len(few), 2),
        }
    ours, _, theirs = seconds.values()
    print(f"a folder of CIFs: matcard is {theirs / ours:.1f} times as fast as pymatgen\n")
    return seconds


def whole(data: str) -> None:
    """Time a table from file to graphs, in new processes: with an empty cache, then from the cache."""
    code = """
import sys, time
from pathlib import Path
from matcard.crystals.read import read_crystals
from matcard.graphs.graphs import open_graphs
from matcard.graphs.neighbors import GraphOptions
import pandas, pyarrow.parquet, torch
start = time.perf_counter()
source, folder = sys.argv[1], Path(sys.argv[2])
crystals = read_crystals(source)
parsed = time.perf_counter()
open_graphs(crystals, GraphOptions(), folder, jobs=2)
print(f"{len(crystals)} crystals: opened in {parsed - start:.2f} s, graphs in {time.perf_counter() - parsed:.2f} s")
"""
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty", "full"):
            start = time.perf_counter()
            environment = {**os.environ, "MATCARD_CACHE": folder}
            subprocess.run([sys.executable, "-c", code, data, folder], check=True, env=environment)
            print(f"with the cache {cache}, imports included: {time.perf_counter() - start:.2f} s", flush=True)


def building(sample: Crystals, few: Crystals) -> dict[str, float]:
    """Time graph building; the rivals search the same neighbours, which is checked."""
    from ase.neighborlist import neighbor_list

    structures = [few.structure(i) for i in range(len(few))]
    atoms = [few.atoms(i) for i in range(len(few))]
    cifs = [structure.to(fmt="cif") for structure in structures]
    seconds = {
        "matcard, parsed structures to graphs, 1 core": best(lambda: build_graphs(sample, OPTIONS), len(sample)),
        "matcard, parsed structures to graphs, 2 cores (wall time)": best(
            lambda: build_graphs(sample, OPTIONS, jobs=2), len(sample), clock=time.perf_counter
        ),
    }
    found: dict[str, list[Any]] = {}

    def run(name: str, search: Callable[[Any], Any], items: Sequence[Any]) -> None:
        def once() -> None:
            found[name] = [search(item) for item in items]

        seconds[name] = best(once, len(items), repeats=2)

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
    edges, *_ = nearest(every, num_atoms, OPTIONS)
    return set(map(tuple, np.column_stack([edges.target, edges.source, edges.image]).astype(int).tolist()))


def edges_of(graphs: Graphs, index: int) -> set[tuple[int, ...]]:
    """Give the edges of one crystal."""
    part = slice(*graphs.edge_offsets[index : index + 2])
    return set(map(tuple, np.column_stack([graphs.target[part], graphs.source[part], graphs.image[part]]).tolist()))


def one_graph(dataset: GraphDataset, index: int) -> Data:
    """Give one crystal as torch_geometric's loader takes it."""
    one = dataset[index]
    return Data(
        z=one.z, edge_index=one.edge_index, distance=one.distance, num_nodes=len(one.z), y=one.y, crystal=one.index
    )


def loading(sample: Crystals) -> dict[str, float]:
    """Time an epoch of batches, from memory-mapped arrays and from a list of `Data`."""
    with tempfile.TemporaryDirectory() as folder:
        graphs = open_graphs(sample, OPTIONS, Path(folder))
        dataset = GraphDataset(graphs, torch.zeros(len(graphs)))
        sampler = np.random.default_rng(0).permutation(len(dataset)).tolist()
        ours = DataLoader(dataset, BATCH, sampler=sampler, collate_fn=dataset.collate)
        items = [one_graph(dataset, i) for i in range(len(graphs))]
        theirs = ListLoader(items, BATCH, sampler=sampler)
        for a, b in zip(ours, theirs, strict=True):
            same = (
                torch.equal(getattr(a, name), b[name]) for name in ("z", "edge_index", "distance", "batch", "ptr", "y")
            )
            if not (all(same) and torch.equal(a.index, b.crystal)):
                sys.exit("the batches differ")
        print("The batches are the same in both ways.\n")
        reopen = best(lambda: open_graphs(sample, OPTIONS, Path(folder)), len(sample))
        return {
            "matcard, opening the store of these crystals": reopen,
            f"matcard, loader, batches of {BATCH}": best(lambda: list(ours), len(graphs)),
            f"torch_geometric loader over a list of `Data`, batches of {BATCH}": best(
                lambda: list(theirs), len(graphs)
            ),
        }


if __name__ == "__main__":
    main()
