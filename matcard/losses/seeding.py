"""Draws that depend on a seed, an epoch and a step alone, so that a resumed run repeats them."""

from __future__ import annotations

import hashlib

import torch


def seeded(*numbers: int) -> torch.Generator:
    """Give a generator on the CPU for this combination of numbers, unrelated to that of any other."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
