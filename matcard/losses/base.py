"""What every loss is, and how one is found by its name: a subclass of `Loss` is known from its definition on."""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

import torch
from torch import nn
from typing_extensions import TypeVar

from matcard.errors import InputError, MatcardWarning, nearest_names
from matcard.options import Named, NamedOptions
from matcard.ranks import gather_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

# Shapes of what losses take and give.
Logits: TypeAlias = 'Float[Tensor, "N C"]'
Targets: TypeAlias = 'Int[Tensor, " N"]'
Embeddings: TypeAlias = 'Float[Tensor, "N F"]'
PerSample: TypeAlias = 'Float[Tensor, " N"]'
ClassCounts: TypeAlias = 'Float[Tensor, " C"]'
Scalar: TypeAlias = 'Float[Tensor, ""]'
Terms: TypeAlias = "dict[str, Tensor | float]"
Value: TypeAlias = "tuple[Scalar, Terms]"
"""A loss, and what it is made of, by name."""


@dataclass(frozen=True)
class LossOptions(NamedOptions):
    """Options of a loss."""

    kind: ClassVar[str] = "loss"


O = TypeVar("O", bound=LossOptions, default=Any)  # noqa: E741
HALF = (torch.float16, torch.bfloat16)
REWEIGHT = "--loss.name reweight --loss.invariant spread --loss.scale 3"
"""What is advised where a loss collapses: weights with which no task collapsed."""


class Part(nn.Module):
    """What is told of epochs: a loss, and the parts that it is given."""

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Be told that training epoch `epoch` (from 0) of `epochs` begins."""
        for part in self.children():
            if isinstance(part, Part):
                part.on_epoch(epoch, epochs)


class Loss(Part, ABC, Named[O], what="loss"):
    """A drop-in for `nn.CrossEntropyLoss` that may also read the embeddings.

    `class Focal(SampleLoss[FocalOptions])` defines a loss by the name that `FocalOptions` has: from there on the
    command line, `python -m matcard.losses` and the tests of all losses know it.

    In training, where several processes run, each computes the loss of the batch of all of them, and the
    gradients that DDP averages are those of one process with the whole batch (see `matcard.ranks`).
    For the same reason gradients accumulated over small batches are *not* those of the large one: magnitude
    and spread are no sums over samples, so two halves of a batch know nothing of each other's twins. Use
    larger batches or more devices in place of accumulation.

    Args:
        options: options of the loss; those of its class by default.
        class_counts: training samples of each of the C classes.
        seed: seeds whatever is drawn, together with the epoch.
        **changes: fields of the options that differ from `options`.

    Attributes:
        formula: what is computed, as in the publication.
        reference: the publication.
        needs_counts: whether `class_counts` have to be given.
        needs_embeddings: whether `embeddings` have to be given.
        trains_head: whether the logits take part; where they do not, only the embeddings tell the class.
        terms: of the last batch, by name, without gradient; `jitter` is a count.
    """

    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    needs_counts: bool = False
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
        own = self.options_class
        self.options = cast("O", make_options(own.name if options is None else options, **changes))
        if not isinstance(self.options, own):
            raise InputError(f"{type(self).__name__} takes options of {own.name!r}, found those of {options!r:.80}")
        counts = None if class_counts is None else checked_counts(class_counts, warn=self.needs_counts)
        self.register_buffer("class_counts", counts)
        self.seed = seed
        self.epoch, self.epochs = 0, 1
        self.terms: Terms = {}

    def forward(self, logits: Logits, targets: Targets, embeddings: Embeddings | None = None) -> Scalar:
        """Give the loss of a batch; half precision is computed and given in float32.

        Raises:
            InputError: shapes or types that do not fit, embeddings or class counts missing, or targets that are no
                class numbers (on the CPU: elsewhere their values are not looked at, since the CPU would have to wait).
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
    def compute(self, logits: Logits, targets: Targets, embeddings: Any) -> Value:
        """Give the loss of a batch that is checked, whole and not empty, and its terms by name.

        `embeddings` are (N, F) where the loss needs them, and None elsewhere.
        """

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Be told that training epoch `epoch` (from 0) of `epochs` begins."""
        self.epoch, self.epochs = epoch, epochs
        super().on_epoch(epoch, epochs)

    def logged(self) -> dict[str, float]:
        """Give the terms of the last batch."""
        return {name: float(term) for name, term in self.terms.items()}

    def require_counts(self) -> None:
        """Refuse to go on without class counts where they are needed; a loss given as a base may be made without."""
        if self.needs_counts and self.class_counts is None:
            raise InputError(f"loss {self.options.name!r} needs class_counts, the training samples of each class")

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        return f"{self.options.name} let one class win: lower optimizer.lr, or train longer"

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Class counts do not fit half precision: `half()` and `to(torch.bfloat16)` leave theirs alone.
        counts = self.class_counts
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if counts is not None and self.class_counts is not None and self.class_counts.dtype in HALF:
            self.class_counts = counts.to(self.class_counts.device)
        return self

    def _check(self, logits: Tensor, targets: Tensor, embeddings: Tensor | None) -> None:
        loss, samples = f"loss {self.options.name!r}", len(logits)
        self.require_counts()
        if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
            raise InputError(
                f"{loss}: logits have shape {tuple(logits.shape)} and type {logits.dtype}, "
                "expected (N, C) with C >= 2 of a floating-point type"
            )
        if targets.is_floating_point() or targets.shape != (samples,):
            raise InputError(
                f"{loss}: targets have shape {tuple(targets.shape)} and type {targets.dtype}, "
                f"expected ({samples},) class numbers of an integer type"
            )
        if samples and targets.device.type == "cpu":
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= logits.shape[1]:
                raise InputError(
                    f"{loss}: targets go from {low} to {high}, expected class numbers from 0 to "
                    f"{logits.shape[1] - 1}, since the logits have {logits.shape[1]} classes; no target is ignored: "
                    "leave out samples without a label"
                )
        if self.class_counts is not None and len(self.class_counts) != logits.shape[1]:
            raise InputError(
                f"{loss} was built with class_counts of {len(self.class_counts)} classes, "
                f"and the logits have {logits.shape[1]}"
            )
        if not self.needs_embeddings:
            return
        if embeddings is None:
            raise InputError(f"{loss} needs embeddings: loss(logits, targets, embeddings)")
        if embeddings.ndim != 2 or len(embeddings) != samples or not embeddings.is_floating_point():
            raise InputError(
                f"{loss}: embeddings have shape {tuple(embeddings.shape)} and type {embeddings.dtype}, "
                f"expected ({samples}, F) of a floating-point type"
            )


class SampleLoss(Loss[O]):
    """A loss that is a mean over samples, so that it can be reweighted and take part in other losses."""

    what = "loss of single samples"

    @abstractmethod
    def per_sample(self, logits: Logits, targets: Targets) -> PerSample:
        """Give the loss of each sample, before any mean."""

    def sample_weights(self, targets: Targets) -> PerSample | None:
        """Give the weights of the mean; None where it is plain."""
        return None

    def average(self, logits: Logits, targets: Targets, weights: PerSample | None = None) -> Scalar:
        """Give the mean over samples, by the loss's own weights times `weights`."""
        losses, own = self.per_sample(logits, targets), self.sample_weights(targets)
        given = [factor for factor in (own, weights) if factor is not None]
        if not given:
            return losses.mean()
        product = torch.stack(given).prod(dim=0)
        # Weights that are all 0 give 0, not 0 / 0.
        return (product * losses).sum() / product.sum().clamp_min(torch.finfo(product.dtype).tiny)

    def compute(self, logits: Logits, targets: Targets, embeddings: None) -> Value:
        """Give the mean over samples."""
        loss = self.average(logits, targets)
        return loss, {"base": loss}

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        return f"{self.options.name} lets the common class win: try logit_adjustment, class_balanced, or {REWEIGHT}"


class CountedLoss(SampleLoss[O]):
    """A loss of single samples that works with the class counts."""

    what = "loss that uses class counts"
    needs_counts = True
    class_counts: Tensor

    def collapse_advice(self) -> str:
        """Say what to change when an epoch predicts one class only."""
        return f"{self.options.name} knows the class counts already: lower optimizer.lr, or train longer"


def make_options(name_or_options: str | LossOptions, **options: Any) -> LossOptions:
    """Give the checked options of a loss from its name, or change some of those given.

    Raises:
        InputError: unknown name, unknown option, or a value out of range.
    """
    if not isinstance(name_or_options, (str, LossOptions)):
        raise InputError(
            f"found {name_or_options!r} in place of a loss: give its name or options, and others by keyword"
        )
    name = name_or_options if isinstance(name_or_options, str) else name_or_options.name
    made = Loss.find(name).options_class
    known = [field.name for field in dataclasses.fields(made) if field.name != "name"]
    for option in options:
        if option not in known:
            raise InputError(f"unknown option of loss {name!r} {option!r}; {nearest_names(option, known)}")
    return made(**options) if isinstance(name_or_options, str) else dataclasses.replace(name_or_options, **options)


def build_loss(
    name_or_options: str | LossOptions,
    *,
    class_counts: Sequence[int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Loss[Any]:
    """Make a loss from its name and options, or from an options object.

    Args:
        name_or_options: a name of `Loss.names()`, or an options object.
        class_counts: training samples of each of the C classes, in the order of the logits.
        seed: seeds the mining of triplets and the reservoirs of embeddings, together with the epoch.
        **options: fields of the options class, such as `scale=3.0`.

    Raises:
        InputError: unknown name or option, a value out of range, or counts missing where they are needed.

    Examples:
        >>> build_loss("focal", gamma=1.5).options.gamma
        1.5
    """
    checked = make_options(name_or_options, **options)
    loss = Loss.find(checked.name)(checked, class_counts=class_counts, seed=seed)
    loss.require_counts()
    return loss


def at_least_float32(tensor: Tensor) -> Tensor:
    """Give half precision as float32, anything else as it is."""
    return tensor.float() if tensor.dtype in HALF else tensor


def checked_counts(class_counts: Sequence[int], *, warn: bool) -> ClassCounts:
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
