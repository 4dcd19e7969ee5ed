"""What all models share: an encoder that can be frozen, a linear head, and on arrays what standardises them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import TypeVar

from matcard.errors import InputError
from matcard.options import Named, NamedOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    import numpy as np
    from jaxtyping import Float
    from torch import Tensor


class Output(NamedTuple):
    """Logits of N samples over C classes, the embedding (F numbers a sample) that feeds the heads, and V values.

    Values are predictions of numbers, standardised; None where the model predicts none.
    """

    logits: Float[Tensor, "N C"]
    embedding: Float[Tensor, "N F"]
    values: Float[Tensor, "N V"] | None = None


HEAD = "fc_out"
"""Attribute of every model that holds its head."""
VALUE_HEAD = "value_head"
"""Attribute that holds the head for numbers, where there is one; all else is the encoder."""


@dataclass(frozen=True)
class ModelOptions(NamedOptions):
    """What every model takes.

    Raises:
        InputError: when a value is out of range, or `freeze` is set with nothing to start from.
    """

    kind: ClassVar[str] = "model"
    takes: ClassVar[tuple[str, ...]] = ()
    """Kinds of data (`DataOptions.kind`) that the model fits."""

    init_from: str | None = None
    """Weights to start from: a checkpoint of the original CGCNN project, a .ckpt or .safetensors file of this
    one, or a run directory (its best epoch)."""
    freeze: bool = False
    """Keep the encoder as `init_from` gives it, batch statistics included, and train a new head only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze and self.init_from is None:
            raise InputError("--model.freeze keeps an encoder as it was trained: say which with --model.init_from FILE")

    @property
    def sees_graphs(self) -> bool:
        """Whether the model is given the graphs of crystals, and not their descriptors alone."""
        return "crystals" in self.takes

    def _check_heads(self, width: int, heads: int) -> None:
        if width % heads:
            raise InputError(f"--model.width {width} is not a multiple of --model.heads {heads}")


M = TypeVar("M", bound=ModelOptions, default=Any)


class Classifier(nn.Module, ABC, Named[M], what="model"):
    """A network that encodes a batch and classifies the embedding by a linear head, and predicts numbers by another.

    `class CGCNN(CrystalModel[CGCNNOptions])` defines a model by the name that `CGCNNOptions` has: from there on the
    command line knows it. It is made of its options, the number of classes and what it must know of the data; it sets
    `fc_out`, the head, and defines `encode`.
    """

    fc_out: nn.Linear
    constants: ClassVar[frozenset[str]] = frozenset()
    """Entries of the state that are not learned, so that a file of weights may lack them."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self.dropout: nn.Module = nn.Identity()
        self.value_head: nn.Linear | None = None

    @abstractmethod
    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding that feeds the head."""

    def classify(self, embedding: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of an embedding, after the model's dropout if it has one."""
        return self.fc_out(self.dropout(embedding))  # type: ignore[no-any-return]

    def forward(self, batch: Any) -> Output:
        """Give logits (N, C), embedding (N, F) and, where numbers are predicted, values (N, V) of a batch."""
        embedding = self.encode(batch)
        values = None if self.value_head is None else self.value_head(embedding)
        return Output(self.classify(embedding), embedding, values)

    def fuse(self) -> bool:
        """Take a compiled route on CPUs; False where the model has none or what compiles it is not installed."""
        return False

    def freeze(self) -> None:
        """Leave only the heads to be trained: weights and batch statistics of the encoder stay, without dropout."""
        self.frozen = True
        for name, weight in self.named_parameters():
            weight.requires_grad_(in_head(name))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for name, child in self.named_children():
                child.train(mode and name in (HEAD, VALUE_HEAD))
        return self


def check_model(options: ModelOptions, kind: str, descriptors: str = "none") -> None:
    """Refuse a model that does not take the kind of data.

    Args:
        options: of the model.
        kind: of the data.
        descriptors: of crystals, as `DataOptions.descriptors`.

    Raises:
        InputError: with the models that do.
    """
    if descriptors != "none" and kind != "crystals":
        raise InputError(f"--data.descriptors {descriptors} are numbers of crystals; for {_plural(kind)} leave it out")
    if kind == "crystals" and options.name == "mlp":
        if descriptors == "none":
            raise InputError("--model.name mlp takes crystals by numbers: say which with --data.descriptors, as chgnet")
        return
    if kind not in options.takes:
        fit = " or ".join(name for name in Classifier.names() if kind in Classifier.find(name).options_class.takes)
        raise InputError(
            f"--model.name {options.name} takes {', '.join(map(_plural, options.takes))}; for {_plural(kind)} use "
            f"{fit or 'a model with it in its `takes`: there is none yet'}"
        )


def _plural(kind: str) -> str:
    return "table rows" if kind == "table" else kind


def in_head(name: str) -> bool:
    """Say whether a weight belongs to a head."""
    return name.startswith((f"{HEAD}.", f"{VALUE_HEAD}."))


class ArrayModel(Classifier[M]):
    """A network whose batch has `x` (N, F) of rows or (N, channels, height, width) of images, not standardised.

    Mean and deviation are held as buffers, so that a checkpoint carries those of the data it was trained on, and
    weights to start from bring theirs.

    Args:
        input_shape: shape of a sample.
        mean: what is subtracted from a sample, of a shape that broadcasts to its; nothing where not given.
        std: what it is divided by.
    """

    constants: ClassVar[frozenset[str]] = frozenset({"mean", "std"})
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        mean: Float[np.ndarray, ...] | None = None,
        std: Float[np.ndarray, ...] | None = None,
    ) -> None:
        super().__init__()
        shape = (input_shape[0], *(1 for _ in input_shape[1:]))
        for name, given, otherwise in (("mean", mean, torch.zeros(shape)), ("std", std, torch.ones(shape))):
            value = otherwise if given is None else torch.as_tensor(given, dtype=torch.float32).reshape(shape).clone()
            self.register_buffer(name, value)

    def standardised(self, batch: Any) -> Float[Tensor, "N ..."]:
        """Give the samples of a batch with mean 0 and deviation 1, as far as the training part tells."""
        x: Tensor = batch.x
        return (x - self.mean) / self.std


def uses_batch(norm: _BatchNorm, count: int) -> bool:
    """Say whether `count` rows are normalised by their own statistics.

    One row has no variance, so it is normalised by the running statistics, as in evaluation. A `SyncBatchNorm`
    counts the rows of all processes and is left to decide.
    """
    return norm.training and (count > 1 or isinstance(norm, nn.SyncBatchNorm))


def batch_norm(norm: _BatchNorm, rows: Float[Tensor, "R F"]) -> Float[Tensor, "R F"]:
    """Apply a batch norm to rows, even to one or none in training."""
    if uses_batch(norm, len(rows)):
        return norm(rows)  # type: ignore[no-any-return]
    mean, variance = running_statistics(norm)
    return nn.functional.batch_norm(rows, mean, variance, norm.weight, norm.bias, eps=norm.eps)


@contextmanager
def evaluated_norms(model: nn.Module) -> Iterator[None]:
    """Let batch norms take the running statistics, and leave these as they are, while all else trains."""
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def running_statistics(norm: _BatchNorm) -> tuple[Float[Tensor, " F"], Float[Tensor, " F"]]:
    """Give running mean and variance."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def update_running(norm: _BatchNorm, mean: Float[Tensor, " F"], variance: Float[Tensor, " F"], count: int) -> None:
    """Move running statistics as batch norm does after a batch of `count` rows with this (biased) variance."""
    running_mean, running_variance = running_statistics(norm)
    assert norm.momentum is not None
    running_mean.lerp_(mean.to(running_mean.dtype), norm.momentum)
    running_variance.lerp_((variance * (count / (count - 1))).to(running_variance.dtype), norm.momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
