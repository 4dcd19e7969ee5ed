"""What a million crystals take: parsing into the cache, graphs into the store, batches out of it.

python benchmarks/scale.py --data $MATCARD_TEST_DATA/mp_icsd20.parquet --crystals 1000000 --folder /scratch

The crystals are those of the table, each under a random strain of up to 2 %, written to a parquet file first.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

from matcard.crystals.read import read_crystals
from matcard.graphs.graphs import GraphDataset, open_graphs
from matcard.graphs.neighbors import GraphOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.crystals.crystals import Crystals

OPTIONS = GraphOptions()
BATCH = 256
ROWS = 20_000
SYMBOLS = np.array(chemical_symbols, dtype=object)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="table of crystals that matcard reads")
    parser.add_argument("--crystals", type=int, default=1_000_000, help="how many to make of them")
    parser.add_argument("--folder", help="where to write; a temporary folder where not given")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        # Each step in a process of its own, so that the memory of one is not that of another.
        for step in (write, parse, build, load):
            process = multiprocessing.get_context("spawn").Process(target=step, args=(folder, args))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{step.__name__} failed")


def cached(folder: Path) -> None:
    """Name the cache of this process."""
    os.environ["MATCARD_CACHE"] = str(folder)


def write(folder: Path, args: argparse.Namespace) -> None:
    """Write the source."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cached(folder / "first")
    table = read_crystals(args.data)
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, args.crystals, ROWS):
        some = strained(table, np.arange(start, min(start + ROWS, args.crystals)), rng)
        rows = pa.table(
            {
                "material_id": [f"{some.ids[k]}-{start + k}" for k in range(len(some))],
                "gap": rng.uniform(0, 5, len(some)),
                "lattice": list(some.lattice.reshape(-1, 9)),
                "species": np.split(SYMBOLS[some.numbers], some.offsets[1:-1]),
                "frac_coords": [sites.ravel() for sites in np.split(some.frac_coords, some.offsets[1:-1])],
            }
        )
        writer = writer or pq.ParquetWriter(folder / "source.parquet", rows.schema)
        writer.write_table(rows)
    if writer is not None:
        writer.close()
    print(f"{args.crystals:,} crystals, {megabytes(folder / 'source.parquet'):,.0f} MB of parquet")


def strained(table: Crystals, numbers: np.ndarray, rng: np.random.Generator) -> Crystals:
    """Take crystals, again and again from the first, each under a strain of its own."""
    some = table.take(numbers % len(table))
    strain = np.eye(3) + rng.uniform(-0.02, 0.02, (len(some), 3, 3))
    return dataclasses.replace(some, lattice=some.lattice @ strain)


def parse(folder: Path, args: argparse.Namespace) -> None:
    """Parse the source into the cache, and open it again."""
    cached(folder / "first")
    read_crystals(args.data)  # what libraries take is not counted
    cached(folder)

    def step(progress: Callable[[int, int | None], None]) -> None:
        read_crystals(folder / "source.parquet", jobs=args.jobs, progress=progress)

    measured("parsing", step)
    start, before = time.perf_counter(), memory("RssAnon")
    crystals = read_crystals(folder / "source.parquet")
    print(
        f"opened again in {time.perf_counter() - start:.1f} s, {memory('RssAnon') - before:,.0f} MB of ids and columns"
    )
    print(f"{megabytes(folder / 'crystals'):,.0f} MB on disk, {(~crystals.sound).sum()} rows left out")


def build(folder: Path, args: argparse.Namespace) -> None:
    """Build the graphs of the parsed crystals, and find them again."""
    cached(folder)
    crystals = read_crystals(folder / "source.parquet")

    def step(progress: Callable[[int, int | None], None]) -> None:
        open_graphs(crystals, OPTIONS, folder / "graphs", jobs=args.jobs, progress=progress)

    measured("graphs", step)
    start = time.perf_counter()
    open_graphs(crystals, OPTIONS, folder / "graphs")
    print(f"found again in {time.perf_counter() - start:.1f} s, with the key computed")
    print(f"{megabytes(folder / 'graphs'):,.0f} MB on disk")


def measured(what: str, step: Callable[[Callable[[int, int | None], None]], None]) -> None:
    """Carry out a step and print what it took."""
    most = before = memory("RssAnon")
    last = 0

    def watch(done: int, total: int | None) -> None:
        nonlocal most, last
        most, last = max(most, memory("RssAnon")), done

    wall, cpu = time.perf_counter(), time.process_time()
    step(watch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{what}: {wall:.0f} s, {cpu:.0f} s of CPU in this process ({last / wall:,.0f} crystals/s), "
        f"{most - before:,.0f} MB of memory beyond {before:,.0f} MB"
    )


def load(folder: Path, args: argparse.Namespace) -> None:
    """Go through the store in random order with a worker, as training does, and look at the worker's memory."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    cached(folder)
    crystals = read_crystals(folder / "source.parquet")
    dataset = GraphDataset(open_graphs(crystals, OPTIONS, folder / "graphs"), torch.zeros(len(crystals)))
    loader = DataLoader(
        dataset, BATCH, shuffle=True, collate_fn=dataset.collate, num_workers=1, multiprocessing_context="spawn"
    )
    batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    first = {name: memory(name, worker.pid) for name in ("RssAnon", "RssFile")}
    most, seen, start = dict(first), BATCH, time.perf_counter()
    for number, batch in enumerate(batches):
        seen += len(batch.y)
        if number % 50 == 0:
            most = {name: max(most[name], memory(name, worker.pid)) for name in most}
    rate = (seen - BATCH) / (time.perf_counter() - start)
    print(
        f"an epoch in random order through one worker: {rate:,.0f} crystals/s; the worker's own memory grew by "
        f"{most['RssAnon'] - first['RssAnon']:,.0f} MB from {first['RssAnon']:,.0f} MB, of mapped files it had up to "
        f"{most['RssFile']:,.0f} MB in sight, which the system takes back at will"
    )


def memory(kind: str, pid: int | str | None = "self") -> float:
    """Give megabytes of a process: RssAnon its own, RssFile pages of mapped files."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split(f"{kind}:")[1].split()[0]) / 1e3


def megabytes(path: Path) -> float:
    """Give the size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
