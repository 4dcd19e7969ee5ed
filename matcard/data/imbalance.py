"""Imbalance by design: classes of the training part made rare, in the ways of the long-tail literature."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError, MatcardWarning

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from matcard.data.options import ImbalanceOptions
    from matcard.data.splits import Split

_ROUNDING = 1e-9  # 5000 * 100 ** -1 is not quite 50


def make_imbalanced(split: Split, codes: Int[np.ndarray, " N"], options: ImbalanceOptions, *, seed: int) -> Split:
    """Cut samples out of the training part until its classes have the wanted proportions, and it the wanted size.

    What is kept, of a class and of all, is the beginning of one random order, whatever the proportions and the size.

    Args:
        split: three parts of N samples.
        codes: (N,) class of each.
        options: which proportions.
        seed: of the run.

    Raises:
        InputError: a class without a training sample.
    """
    if options.kind == "none" and options.samples is None:
        return split
    order = np.random.default_rng(seed).permutation(split.train)
    kept = order if options.kind == "none" else _in_proportion(order, codes, options)
    return split.without("train", np.setdiff1d(order, kept[: options.samples]))


def _in_proportion(
    order: Int[np.ndarray, " n"], codes: Int[np.ndarray, " N"], options: ImbalanceOptions
) -> Int[np.ndarray, " m"]:
    """Give those of the samples, in their order, that leave the classes in the wanted proportions."""
    have = np.bincount(codes[order], minlength=int(codes.max()) + 1)
    if not have.all():
        raise InputError(
            f"--data.imbalance.kind {options.kind}: class number {int(have.argmin())} has no training sample to keep; "
            "join classes, or take another --data.split"
        )
    shares = profile(options, len(have))
    # The largest part with these shares that there is, with one sample of each class at least.
    keep = np.maximum(1, np.floor((have / shares).min() * shares + _ROUNDING)).astype(np.int64)
    if keep.max() * shares.min() < 1 - _ROUNDING:
        warnings.warn(
            f"--data.imbalance.factor {options.factor:g} is more than the training part holds: its classes keep "
            f"{keep.max()} to {keep.min()} samples",
            MatcardWarning,
            stacklevel=3,
        )
    cut = [order[codes[order] == label][count:] for label, count in enumerate(keep.tolist())]
    return order[~np.isin(order, np.concatenate(cut))]


def profile(options: ImbalanceOptions, classes: int) -> Float[np.ndarray, " C"]:
    """Give the size of each class as a share of the commonest one's, from 1 down to 1 / factor.

    With the classes c = 0 .. C - 1 in the order of their names or numbers: `exp` factor^(-c / (C - 1)) (Cui et al.,
    CVPR 2019; Cao et al., NeurIPS 2019), `step` 1 for the first half and 1 / factor for the second, which is the
    smaller one where C is odd (Buda et al., Neural Networks 106, 2018), `ratio` 1 for the first and 1 / factor for all
    others.
    """
    place = np.arange(classes)
    if options.kind == "exp":
        return np.asarray(options.factor ** (-place / (classes - 1)))
    common = (classes + 1) // 2 if options.kind == "step" else 1
    return np.where(place < common, 1.0, 1.0 / options.factor)
