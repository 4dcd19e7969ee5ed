"""Groups of samples dealt out to parts so that each part has its share of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int64, Shaped

    Contents = list[tuple[int, int]]

_ROUNDS = 3  # the first deals, the others put right what later groups have made worse


def deal(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    shares: Float[np.ndarray, " parts"],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " N"]:
    """Give each sample a part, the same for all samples of a group.

    The groups of the rarest class come first, the large ones among them first, equals in random order. Each
    goes where it raises least the chi-square distance between the parts' class counts and the wanted ones.
    Then each is taken up in turn and dealt again.

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
            f"{len(contents)} groups cannot be divided into {len(shares)} parts; choose finer groups "
            "(--data.split.kind), or fewer folds"
        )
    table = _Table(contents, totals, shares, rng.permutation(len(shares)).tolist())
    rarest = np.array([content[0][0] for content in contents])
    order = np.lexsort((rng.random(len(contents)), -np.bincount(member), rarest)).tolist()
    part = [table.put(contents[g]) for g in order]
    for _ in range(1, _ROUNDS):
        for i, g in enumerate(order):
            table.take(contents[g], part[i])
            part[i] = table.put(contents[g])
    return np.array(part)[np.argsort(order)][member]


class _Table:
    """What lies where, while groups are dealt."""

    def __init__(
        self,
        contents: list[Contents],
        totals: list[int],
        shares: Float[np.ndarray, " parts"],
        preference: list[int],
    ) -> None:
        self.totals = totals
        self.wanted = np.multiply.outer(shares, totals).tolist()
        self.have = [[0] * len(totals) for _ in shares]
        self.preference = preference
        # Groups of each class that are not dealt yet, and the parts without the class.
        self.waiting = np.bincount([c for content in contents for c, _ in content]).tolist()
        self.lacking = [set(range(len(shares))) for _ in totals]

    def put(self, content: Contents) -> int:
        """Put a group where it is best, and say where.

        Of a class's n samples, g put where there are a of a wanted w raise the distance by
        (g/n) ((2a + g)/w - 2); the last term is the same for all parts. Parts that lack a class take
        precedence once no more groups of that class are left than such parts.
        """
        candidates = set(self.preference)
        for c, _ in content:
            if self.waiting[c] <= len(self.lacking[c]):
                candidates = candidates & self.lacking[c] or candidates
        costs = [
            (sum(n / self.totals[c] * (2 * self.have[k][c] + n) / self.wanted[k][c] for c, n in content), k)
            for k in self.preference
            if k in candidates
        ]
        best = min(costs, key=lambda cost: cost[0])[1]
        for c, n in content:
            self.have[best][c] += n
            self.waiting[c] -= 1
            self.lacking[c].discard(best)
        return best

    def take(self, content: Contents, part: int) -> None:
        """Take a group up again."""
        for c, n in content:
            self.have[part][c] -= n
            self.waiting[c] += 1
            if not self.have[part][c]:
                self.lacking[c].add(part)


def _contents(codes: Int[np.ndarray, " N"], member: Int[np.ndarray, " N"]) -> tuple[list[Contents], list[int]]:
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
    contents: list[Contents] = [[] for _ in np.unique(member)]
    for pair, count in zip(pairs.tolist(), samples.tolist(), strict=True):
        contents[pair // (classes + 1)].append((pair % (classes + 1), count))
    return contents, np.bincount(codes).tolist()
