"""What all models share, an encoder that can be frozen and a linear head; and how one is made of its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from typing_extensions import TypeVar

from matcard.errors import InputError
from matcard.models.output import Output
from matcard.options import Named, NamedOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from jaxtyping import Float
    from torch import Tensor

HEAD = "fc_out"
"""Attribute of every model that holds its head; all else is the encoder."""


DEFAULTS = {"crystals": "cgcnn", "compositions": "mlp", "images": "resnet", "table": "mlp"}
"""Kind of data -> the model that is taken where none is named."""


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

    def _check_heads(self, width: int, heads: int) -> None:
        if width % heads:
            raise InputError(f"--model.width {width} is not a multiple of --model.heads {heads}")


M = TypeVar("M", bound=ModelOptions, default=Any)


class Classifier(nn.Module, ABC, Named[M], what="model"):
    """A network that encodes a batch and classifies the embedding by a linear head.

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

    @abstractmethod
    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding that feeds the head."""

    def classify(self, embedding: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of an embedding."""
        return self.fc_out(embedding)  # type: ignore[no-any-return]

    def forward(self, batch: Any) -> Output:
        """Give logits (N, C) and embedding (N, F) of a batch."""
        embedding = self.encode(batch)
        return Output(self.classify(embedding), embedding)

    def fuse(self) -> bool:
        """Take a compiled route on CPUs; False where the model has none or what compiles it is not installed."""
        return False

    def freeze(self) -> None:
        """Leave only the head to be trained: weights and batch statistics of the encoder stay, without dropout."""
        self.frozen = True
        for name, weight in self.named_parameters():
            weight.requires_grad_(in_head(name))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for name, child in self.named_children():
                child.train(mode and name == HEAD)
        return self

    @staticmethod
    def widths(state: Mapping[str, Tensor]) -> dict[str, object]:
        """Give the options that weights of this kind of model were made with, as far as their shapes tell."""
        return {}


def check_model(options: ModelOptions, kind: str) -> None:
    """Refuse a model that does not take the kind of data.

    Raises:
        InputError: with the models that do.
    """
    if kind not in options.takes:
        fit = " or ".join(name for name in Classifier.names() if kind in Classifier.find(name).options_class.takes)
        raise InputError(
            f"--model.name {options.name} takes {', '.join(map(_plural, options.takes))}; for {_plural(kind)} use {fit}"
        )


def build_model(options: ModelOptions, *, num_classes: int, **data: Any) -> Classifier:
    """Make a model with new weights; its encoder is frozen if `options.freeze` says so.

    `options.init_from` is not read here, so that a finished run's model can be made without that file: a new run
    calls `matcard.models.initialize` next.

    Args:
        options: of the model.
        num_classes: C, at least 2.
        **data: what else the model must know of its data (`LabelledData.model_arguments`): `input_shape`, `mean` and
            `std` of arrays; nothing, or `atom_table`, of crystals.

    Raises:
        InputError: no such model, or fewer than two classes.
    """
    if num_classes < 2:
        raise InputError(f"a classifier needs at least 2 classes, not {num_classes}")
    made: Any = Classifier.find(options.name)
    model: Classifier = made(options, num_classes, **data)
    if options.freeze:
        model.freeze()
    return model


def _plural(kind: str) -> str:
    return "table rows" if kind == "table" else kind


def in_head(name: str) -> bool:
    """Say whether a weight belongs to the head."""
    return name.startswith(f"{HEAD}.")
