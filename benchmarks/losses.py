"""How exact, fast and large the cardinality losses are, beside the obvious code and cross-entropy, in one run.

python benchmarks/losses.py
python benchmarks/losses.py --sizes 32 128 512
python benchmarks/losses.py --device cuda
python benchmarks/losses.py --matrix-free 2000
"""

from __future__ import annotations

import argparse
import math
from itertools import product
from typing import TYPE_CHECKING, Any

import mpmath  # torch needs it too, so it is there
import torch
from timing import best, machine, peak, prepare, print_table
from torch.nn import functional

from matcard.invariants import magnitude, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512, 2048, 8192], help="batch sizes N")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 10, 100], help="numbers of classes C")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="time for each figure; five runs at least, or one beyond N = 4096"
    )
    parser.add_argument("--matrix-free", type=int, metavar="N", help="instead, conjugate gradients on N errors")
    args = parser.parse_args()
    prepare(args.threads)
    print(machine(args.device))
    if args.matrix_free:
        print_table(f"magnitude of {args.matrix_free} errors", *without_matrix(args.matrix_free, args.device))
        return
    print_table("relative error of the magnitude", *accuracy(args.device))
    print_table("forward and backward from logits", *timing(args.sizes, args.classes, args.device, args.seconds))


def plain_magnitude(points: Tensor) -> Tensor:
    """The obvious code: distances, exponential, jitter, LU solve, autograd. What a singular matrix gives is given."""
    zeta = torch.exp(-torch.cdist(points, points)) + 1e-9 * torch.eye(len(points), device=points.device)
    solution, _ = torch.linalg.solve_ex(zeta, torch.ones_like(zeta[:, :1]))
    return solution.sum()


def errors(logits: Tensor, targets: Tensor) -> Tensor:
    """Errors and the origin. Two classes have errors (a, -a), a line: one coordinate, as the losses have it."""
    found = functional.pad(functional.one_hot(targets, logits.shape[1]) - logits.softmax(1), (0, 0, 0, 1))
    return 2**0.5 * found[:, :1] if found.shape[1] == 2 else found


def draw(n: int, classes: int, device: str, sure: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits and targets; the larger `sure`, the better the logits know the targets."""
    generator = torch.Generator().manual_seed(n + classes)
    targets = torch.randint(classes, (n,), generator=generator)
    logits = torch.randn(n, classes, generator=generator) + sure * functional.one_hot(targets, classes)
    return logits.to(device), targets.to(device)


def accuracy(device: str) -> tuple[list[str], list[list[str]]]:
    """Compare with 40 digits for few points, with float64 from differences of coordinates for more."""
    rows = []
    for n, classes, sure, what in (
        (64, 2, 0, "two classes, untrained"),
        (64, 10, 0, "untrained"),
        (64, 10, 25, "trained: twins and near twins"),
        (512, 10, 0, "untrained"),
        (512, 100, 0, "untrained"),
    ):
        points = errors(*draw(n, classes, device, sure))
        exact = exact_magnitude(points.double()) if n <= 64 else careful_magnitude(points.double())
        values = {
            "ours": magnitude(points.double()),
            "LU solve in float32": plain_magnitude(points),
            "ours without a matrix": magnitude(points.double(), method="matrix_free"),
        }
        off = [abs(float(value) / float(exact) - 1) for value in values.values()]
        found = [f"{each:.0e}" if math.isfinite(each) else "singular" for each in off]
        rows.append([str(n), str(classes), what, "40 digits" if n <= 64 else "float64", *found])
    return ["N", "C", "errors", "reference", *values], rows


def exact_magnitude(points: Tensor) -> mpmath.mpf:
    """Magnitude with 40 digits; twins are merged, since they make the matrix singular."""
    rows = [[mpmath.mpf(value) for value in row] for row in points.unique(dim=0).tolist()]
    with mpmath.workdps(40):
        zeta = mpmath.matrix(len(rows))
        for i, x in enumerate(rows):
            for j, y in enumerate(rows):
                zeta[i, j] = mpmath.exp(-mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))))
        return mpmath.fsum(mpmath.lu_solve(zeta, mpmath.ones(len(rows), 1)))


def careful_magnitude(points: Tensor) -> Tensor:
    """Magnitude in the precision of the points, with distances from differences of coordinates."""
    zeta = torch.exp(-torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist"))
    return torch.linalg.solve(zeta, torch.ones_like(zeta[:, :1])).sum()


def timing(
    sizes: Sequence[int], classes: Sequence[int], device: str, seconds: float
) -> tuple[list[str], Iterator[list[str]]]:
    """Time value and gradient of each contender in turn, from the same logits."""
    contenders: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "magnitude": lambda logits, targets: magnitude(errors(logits, targets)),
        "spread": lambda logits, targets: spread(errors(logits, targets)),
        "float32 LU solve": lambda logits, targets: plain_magnitude(errors(logits, targets)),
        "cross-entropy": functional.cross_entropy,
    }

    def rows() -> Iterator[list[str]]:
        for c, n in product(classes, sizes):
            logits, targets = draw(n, c, device)
            runs = [gradient_of(loss, logits, targets) for loss in contenders.values()]
            times = best(runs, device, seconds, least=5 if n <= 4096 else 1)
            peaks = [f"{peak(run, device):,.1f}" for run in runs[:3]]
            ratio = f"{times[2] / times[0]:.2f}"
            yield [str(c), str(n), *(f"{1e3 * each:,.2f}" for each in times), ratio, " / ".join(peaks)]

    units = [f"{name}, ms" for name in contenders]
    return ["C", "N", *units, "solve / magnitude", "memory of these three, MB"], rows()


def without_matrix(n: int, device: str) -> tuple[list[str], list[list[str]]]:
    """Time value and gradient by conjugate gradients beside those by a factor, C = 10."""
    logits, targets = draw(n, 10, device)
    options: dict[str, dict[str, Any]] = {
        "factor": {"method": "dense"},
        "conjugate gradients to 1e-8": {"method": "matrix_free"},
        "conjugate gradients to 1e-4": {"method": "matrix_free", "tolerance": 1e-4},
    }
    losses = [lambda z, chosen=chosen: magnitude(errors(z, targets).double(), **chosen) for chosen in options.values()]
    times = best([gradient_of(loss, logits) for loss in losses], device, seconds=0, least=1)
    exact, *_ = values = [float(loss(logits)) for loss in losses]
    rows = zip(options, times, values, strict=True)
    return ["way", "s", "relative error"], [[way, f"{s:.2f}", f"{abs(v / exact - 1):.0e}"] for way, s, v in rows]


def gradient_of(loss: Callable[..., Tensor], logits: Tensor, *rest: Tensor) -> Callable[[], object]:
    def run() -> object:
        leaf = logits.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf, *rest), leaf)

    return run


if __name__ == "__main__":
    main()
