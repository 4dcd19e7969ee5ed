"""What several training processes share: the batch of all of them, with gradient, and objects.

The cardinality losses are no sums over samples, so the mean of the losses of several processes is not the
loss of their joint batch. Every process therefore gathers the rows of all of them and computes the same loss
of the whole. Each then holds the gradient with respect to its own rows. DDP *averages* gradients over W
processes where the chain rule asks for their *sum*, so the backward pass multiplies by W: what DDP leaves in
the parameters is the gradient of one process with the whole batch. Means over samples come out right as well
when processes hold unequal numbers of them. Every process has to take part in each step, if need be with an
empty batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int, Shaped
    from torch import Tensor


def world_size() -> int:
    """Give the number of processes that train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def gather_objects(own: list[Any]) -> list[Any]:
    """Join lists of anything over all processes, by rank; a process alone keeps its own."""
    if world_size() == 1:
        return own
    ranks: list[list[Any]] = [[]] * world_size()
    distributed.all_gather_object(ranks, own)
    return [item for rank in ranks for item in rank]


def gather_batch(
    logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], embeddings: Float[Tensor, "N F"] | None
) -> tuple[Float[Tensor, "M C"], Int[Tensor, " M"], Float[Tensor, "M F"] | None]:
    """Give the rows of all processes, M = sum of N, by rank; a process alone keeps its own."""
    if world_size() == 1:
        return logits, targets, embeddings
    counts = [torch.zeros(1, dtype=torch.long, device=logits.device) for _ in range(world_size())]
    distributed.all_gather(counts, torch.tensor([len(logits)], device=logits.device))
    sizes = list(map(int, counts))
    return (
        gather_rows(logits, sizes),
        gather_rows(targets, sizes),
        None if embeddings is None else gather_rows(embeddings, sizes),
    )


def gather_rows(rows: Shaped[Tensor, "N ..."], sizes: Sequence[int]) -> Shaped[Tensor, "M ..."]:
    """Concatenate the rows of all processes.

    Args:
        rows: this process's rows.
        sizes: the number of rows of each process.
    """
    gathered: Tensor = _GatherRows.apply(rows, sizes)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        rank = distributed.get_rank()
        ctx.start, ctx.size, ctx.world = sum(sizes[:rank]), sizes[rank], len(sizes)
        # Collectives want equal shapes: pad to the longest, and cut after.
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.start : ctx.start + ctx.size] * ctx.world, None
