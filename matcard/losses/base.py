"""What every loss is: called as `loss(logits, targets, embeddings=None)`, it gives a scalar."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import nn

from matcard.errors import InputError, MatcardWarning
from matcard.losses.gather import gather_batch
from matcard.losses.options import LossOptions
from matcard.losses.registry import make_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    Terms = dict[str, Tensor | float]

O = TypeVar("O", bound=LossOptions)  # noqa: E741
HALF = (torch.float16, torch.bfloat16)


class Loss(nn.Module, ABC, Generic[O]):
    """A drop-in for `nn.CrossEntropyLoss` that may also read the embeddings.

    In training, where several processes run, each computes the loss of the batch of all of them, and the
    gradients that DDP averages are those of one process with the whole batch (see `matcard.losses.gather`).
    For the same reason gradients accumulated over small batches are *not* those of the large one: magnitude
    and spread are no sums over samples, so two halves of a batch know nothing of each other's twins. Use
    larger batches or more devices in place of accumulation.

    Args:
        options: options of the loss; those of its class by default.
        class_counts: training samples of each of the C classes.
        seed: seeds whatever is drawn, together with the epoch.
        **changes: fields of the options that differ from `options`.

    Attributes:
        needs_embeddings: whether `embeddings` have to be given.
        trains_head: whether the logits take part; where they do not, only the embeddings tell the class.
        terms: of the last batch, by name, without gradient; `jitter` is a count.
    """

    name: ClassVar[str]
    needs_embeddings: bool = False
    trains_head: bool = True
    class_counts: Tensor | None

    def __init__(
        self,
        options: O | None = None,
        *,
        class_counts: Sequence[int] | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> None:
        super().__init__()
        checked = make_options(options if options is not None else self.name, **changes)
        if checked.name != self.name:
            raise InputError(f"{type(self).__name__} takes options of {self.name!r}, found those of {checked.name!r}")
        self.options = cast("O", checked)
        if class_counts is None and checked.needs_counts:
            raise InputError(f"loss {self.name!r} needs class_counts, the training samples of each class")
        counts = None if class_counts is None else checked_counts(class_counts, warn=checked.needs_counts)
        self.register_buffer("class_counts", counts)
        self.terms: Terms = {}

    def forward(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None = None,
    ) -> Float[Tensor, ""]:
        """Give the loss of a batch; half precision is computed and given in float32.

        Raises:
            InputError: shapes or types that do not fit, embeddings missing, or targets that are no class numbers
                (on the CPU: on other devices their values are not looked at, since that would make the CPU wait).
        """
        self._check(logits, targets, embeddings)
        if not self.needs_embeddings:
            embeddings = None
        if self.training:
            logits, targets, embeddings = gather_batch(logits, targets, embeddings)
        with torch.autocast(logits.device.type, enabled=False):
            logits = at_least_float32(logits)
            embeddings = None if embeddings is None else at_least_float32(embeddings)
            if len(logits) == 0:
                self.terms = {}
                return logits.sum() if embeddings is None else logits.sum() + embeddings.sum()
            loss, terms = self.compute(logits, targets.long(), embeddings)
        self.terms = {n: term.detach() if isinstance(term, torch.Tensor) else float(term) for n, term in terms.items()}
        return loss

    @abstractmethod
    def compute(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None,
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss of a batch that is checked, whole and not empty, and its terms by name."""

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Be told that training epoch `epoch` (from 0) of `epochs` begins."""

    def logged(self) -> dict[str, float]:
        """Give the terms of the last batch."""
        return {name: float(term) for name, term in self.terms.items()}

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Class counts do not fit half precision: `half()` and `to(torch.bfloat16)` leave theirs alone.
        counts = self.class_counts
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if counts is not None and self.class_counts is not None and self.class_counts.dtype in HALF:
            self.class_counts = counts.to(self.class_counts.device)
        return self

    def _check(self, logits: Tensor, targets: Tensor, embeddings: Tensor | None) -> None:
        name, samples = self.name, len(logits)
        if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
            raise InputError(
                f"loss {name!r}: logits have shape {tuple(logits.shape)} and type {logits.dtype}, "
                "expected (N, C) with C >= 2 of a floating-point type"
            )
        if targets.is_floating_point() or targets.shape != (samples,):
            raise InputError(
                f"loss {name!r}: targets have shape {tuple(targets.shape)} and type {targets.dtype}, "
                f"expected ({samples},) class numbers of an integer type"
            )
        if samples and targets.device.type == "cpu":
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= logits.shape[1]:
                raise InputError(
                    f"loss {name!r}: targets go from {low} to {high}, expected class numbers from 0 to "
                    f"{logits.shape[1] - 1}, since the logits have {logits.shape[1]} classes; no target is ignored: "
                    "leave out samples without a label"
                )
        if self.class_counts is not None and len(self.class_counts) != logits.shape[1]:
            raise InputError(
                f"loss {name!r} was built with class_counts of {len(self.class_counts)} classes, "
                f"and the logits have {logits.shape[1]}"
            )
        if not self.needs_embeddings:
            return
        if embeddings is None:
            raise InputError(f"loss {name!r} in this space needs embeddings: loss(logits, targets, embeddings)")
        if embeddings.ndim != 2 or len(embeddings) != samples or not embeddings.is_floating_point():
            raise InputError(
                f"loss {name!r}: embeddings have shape {tuple(embeddings.shape)} and type {embeddings.dtype}, "
                f"expected ({samples}, F) of a floating-point type"
            )


class SampleLoss(Loss[O]):
    """A loss that is a mean over samples, so that it can be reweighted and take part in other losses."""

    @abstractmethod
    def per_sample(self, logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Give the loss of each sample, before any mean."""

    def sample_weights(self, targets: Int[Tensor, " N"]) -> Float[Tensor, " N"] | None:
        """Give the weights of the mean; None where it is plain."""
        return None

    def average(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        weights: Float[Tensor, " N"] | None = None,
    ) -> Float[Tensor, ""]:
        """Give the mean over samples, by the loss's own weights times `weights`."""
        losses, own = self.per_sample(logits, targets), self.sample_weights(targets)
        given = [factor for factor in (own, weights) if factor is not None]
        if not given:
            return losses.mean()
        product = torch.stack(given).prod(dim=0)
        # Weights that are all 0 give 0, not 0 / 0.
        return (product * losses).sum() / product.sum().clamp_min(torch.finfo(product.dtype).tiny)

    def compute(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None,
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the mean over samples."""
        loss = self.average(logits, targets)
        return loss, {"base": loss}

    def counts(self) -> Float[Tensor, " C"]:
        """Give the class counts that the loss works with."""
        if self.class_counts is None:
            raise InputError(f"loss {self.name!r} needs class_counts, the training samples of each class")
        return self.class_counts

    def set_counts(self, counts: Float[Tensor, " C"]) -> None:
        """Replace the class counts, by effective numbers for example."""
        self.counts().copy_(counts)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Give half precision as float32, anything else as it is."""
    return tensor.float() if tensor.dtype in HALF else tensor


def checked_counts(class_counts: Sequence[int], *, warn: bool) -> Float[Tensor, " C"]:
    """Give class counts as a tensor; those of 0 become 1, with a warning if asked for.

    Raises:
        InputError: no sequence of two numbers or more, or one of them is negative or not finite.
    """
    expected = f"class_counts is {class_counts!r}: expected a list of two numbers or more, none of them below 0"
    try:
        counts = torch.tensor([float(count) for count in class_counts])
    except (TypeError, ValueError) as error:
        raise InputError(expected) from error
    usable = len(counts) >= 2 and bool((torch.isfinite(counts) & (counts >= 0)).all())
    if isinstance(class_counts, Mapping) or not usable:
        raise InputError(expected)
    if warn and bool((counts == 0).any()):
        empty = [index for index, count in enumerate(class_counts) if count == 0]
        warnings.warn(
            f"classes {empty} have no training samples; they are counted as 1 so that everything stays finite. "
            "Leave these classes out, or split so that each is in the training part",
            MatcardWarning,
            stacklevel=4,
        )
    return counts.clamp_min(1)
