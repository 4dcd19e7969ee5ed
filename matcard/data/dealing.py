"""Groups of samples dealt out to parts so that each part has its share of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int64, Shaped


def deal(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    shares: Float[np.ndarray, " parts"],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " N"]:
    """Give each sample a part, the same for all samples of a group.

    The groups of the rarest class come first, the large ones among them first, equals in random order. Each
    goes where it raises least the chi-square distance between the parts' class counts and the wanted ones:
    g of a class's n samples, put where there are a of a wanted w, raise it by (g/n) ((2a + g)/w - 2), and the
    last term is the same for all parts. Parts that lack a class take precedence once no more groups of that
    class are left than such parts.

    Args:
        codes: (N,) class of each sample.
        groups: (N,) group of each sample; any values that can be compared.
        shares: what each part shall have of every class; they sum to 1.
        rng: breaks ties.

    Raises:
        InputError: fewer groups than parts.
    """
    _, member = np.unique(groups, return_inverse=True)
    contents, totals = _contents(codes, member)
    if len(contents) < len(shares):
        raise InputError(
            f"{len(contents)} groups cannot be divided into {len(shares)} parts; choose a finer "
            "--data.split.kind, or fewer folds"
        )
    parts = range(len(shares))
    wanted = (shares[:, None] * totals).tolist()
    have = [[0] * len(totals) for _ in parts]
    waiting = np.bincount([c for group in contents for c, _ in group]).tolist()
    lacking = [set(parts) for _ in totals]
    preference = rng.permutation(len(shares)).tolist()
    rarest = np.array([group[0][0] for group in contents])
    order = np.lexsort((rng.random(len(contents)), -np.bincount(member), rarest))
    part = np.empty(len(contents), dtype=np.int64)
    for g in order.tolist():
        candidates = set(parts)
        for c, _ in contents[g]:
            if waiting[c] <= len(lacking[c]):
                candidates = candidates & lacking[c] or candidates
        _, _, best = min(
            (sum(n / totals[c] * (2 * have[k][c] + n) / wanted[k][c] for c, n in contents[g]), place, k)
            for k, place in enumerate(preference)
            if k in candidates
        )
        part[g] = best
        for c, n in contents[g]:
            have[best][c] += n
            waiting[c] -= 1
            lacking[c].discard(best)
    return part[member]


def _contents(
    codes: Int[np.ndarray, " N"], member: Int[np.ndarray, " N"]
) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """List (class, samples) of each group, and the samples of each class.

    Classes are numbered from the one of the fewest groups on; the last is one that every sample is in, so
    that the sizes of the parts are balanced as the classes are, and no part stays empty.
    """
    _, codes = np.unique(codes, return_inverse=True)
    classes = len(np.unique(codes))
    of_groups = np.bincount(np.unique(member * classes + codes) % classes)
    place = np.argsort(np.lexsort((np.bincount(codes), of_groups)))
    codes = np.concatenate([place[codes], np.full(len(codes), classes)])
    pairs, samples = np.unique(np.tile(member, 2) * (classes + 1) + codes, return_counts=True)
    contents: list[list[tuple[int, int]]] = [[] for _ in np.unique(member)]
    for pair, count in zip(pairs.tolist(), samples.tolist(), strict=True):
        contents[pair // (classes + 1)].append((pair % (classes + 1), count))
    return contents, np.bincount(codes).tolist()
