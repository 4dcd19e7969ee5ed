"""How long CHGNet's numbers of crystals take, beside CHGNet's own converter and forward pass, in one run.

python benchmarks/descriptors.py --data $MATCARD_TEST_DATA/mp_small_4000.parquet
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from chgnet.model.model import CHGNet

from matcard.crystals.read import read_crystals
from matcard.descriptors.chgnet import CHGNetNumbers

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="table of crystals that matcard reads")
    parser.add_argument("--crystals", type=int, default=500, help="random sample that is timed")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is taken")
    options = parser.parse_args()
    torch.set_num_threads(1)
    crystals = read_crystals(options.data)
    sound = np.flatnonzero(crystals.sound)
    crystals = crystals.take(np.random.default_rng(0).choice(sound, min(options.crystals, len(sound)), replace=False))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = CHGNet.load(use_device=device, verbose=False)
    model.graph_converter.set_isolated_atom_response("ignore")
    CHGNetNumbers().compute(crystals.take(range(8)))
    ours, theirs = [], []
    for _ in range(options.repeats):  # in turn, so that what else the machine does slows both
        start = time.perf_counter()
        CHGNetNumbers().compute(crystals)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        by_the_package(model, crystals, device)
        theirs.append(time.perf_counter() - start)
    atoms = crystals.num_sites.mean()
    print(f"{len(crystals)} crystals of {atoms:.1f} atoms on average, {device}, one thread, best of {options.repeats}:")
    for name, times in (("CHGNet's own converter and forward pass", theirs), ("matcard", ours)):
        print(f"  {name}: {1e3 * min(times) / len(crystals):.2f} ms a crystal")
    print(f"  matcard takes {min(ours) / min(theirs):.2f} times as long")


@torch.no_grad()
def by_the_package(model: CHGNet, crystals: Crystals, device: str) -> None:
    """Convert and pass forward in batches of 16, the package's own size."""
    graphs = [model.graph_converter(crystals.structure(i)) for i in range(len(crystals))]
    for first in range(0, len(graphs), 16):
        model([graph.to(device) for graph in graphs[first : first + 16]], task="e")


if __name__ == "__main__":
    main()
