"""A network made of its options and of what is known of the data; beside descriptors of crystals a joint one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from matcard.batch import CLIP
from matcard.errors import InputError
from matcard.models.base import Classifier

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from matcard.batch import Standard
    from matcard.models.base import ModelOptions


class DescriptorEncoder(nn.Module):
    """Two linear layers with ReLU and dropout on standardised descriptors, clipped at 5.

    Mean and deviation are held as buffers, so that a model file carries those of the data it was trained on.

    Args:
        standard: mean (D,) and deviation (D,), above 0, of the training part.
        width: of both layers, H.
        dropout: share of the numbers that are dropped after each layer in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, standard: Standard, *, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(standard.mean, dtype=torch.float32).clone())
        self.register_buffer("deviation", torch.as_tensor(standard.deviation, dtype=torch.float32).clone())
        self.layers = nn.Sequential(
            nn.Linear(len(self.mean), width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, descriptors: Float[Tensor, "N D"]) -> Float[Tensor, "N H"]:
        """Give H numbers a sample."""
        return self.layers(((descriptors - self.mean) / self.deviation).clamp(-CLIP, CLIP))  # type: ignore[no-any-return]


class JointModel(Classifier):
    """The embedding of a graph network beside encoded descriptors, then one joint hidden layer, which losses see.

    A batch has what the graph network needs, and `descriptors` (N, D), not standardised.

    Args:
        graph: makes an embedding of F numbers of a batch; its own head is not used. None for descriptors alone.
        standard: mean and deviation of the descriptors in the training part.
        num_classes: C.
        width: of the descriptors' layers and of the joint one, so of the embedding.
        dropout: of the descriptors' layers, and before the head.
    """

    constants: ClassVar[frozenset[str]] = frozenset({"descriptors.mean", "descriptors.deviation"})

    def __init__(
        self,
        graph: Classifier | None,
        standard: Standard,
        num_classes: int,
        *,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.graph = graph
        features = 0
        if graph is not None:
            features = graph.fc_out.in_features
            del graph.fc_out
        self.descriptors = DescriptorEncoder(standard, width=width, dropout=dropout)
        self.joint = nn.Linear(features + width, width)
        self.dropout = nn.Dropout(dropout)
        self.fc_out = nn.Linear(width, num_classes)

    def encode(self, batch: Any) -> Float[Tensor, "N H"]:
        """Give the embedding of each sample."""
        encoded = [] if self.graph is None else [self.graph.encode(batch)]
        encoded.append(self.descriptors(batch.descriptors))
        return self.joint(torch.cat(encoded, dim=1)).relu()  # type: ignore[no-any-return]


def build_model(
    options: ModelOptions,
    *,
    num_classes: int,
    num_values: int = 0,
    descriptors: Standard | None = None,
    **data: Any,
) -> Classifier:
    """Make a model with new weights; its encoder is frozen if `options.freeze` says so.

    `options.init_from` is not read here, so that a finished run's model can be made without that file: a new run
    calls `matcard.models.load_weights` next.

    Args:
        options: of the model.
        num_classes: C, at least 2.
        num_values: V, the numbers to be predicted beside the classes.
        descriptors: mean and deviation of the D descriptors that a batch of crystals has; None where it has none.
        **data: what else the model must know of its data (`TrainingSet.model_arguments`): `input_shape`, `mean` and
            `std` of arrays; nothing of crystals.

    Raises:
        InputError: no such model, or fewer than two classes.
    """
    if num_classes < 2:
        raise InputError(f"a classifier needs at least 2 classes, not {num_classes}")
    made: Any = Classifier.find(options.name)
    model: Classifier
    if descriptors is None:
        model = made(options, num_classes, **data)
    else:
        known: Any = options  # networks on crystals and `mlp` have both widths
        graph = made(options, num_classes, **data) if known.sees_graphs else None
        sizes = {"width": known.hidden, "dropout": known.dropout}
        model = JointModel(graph, descriptors, num_classes, **sizes)
    if num_values:
        model.value_head = nn.Linear(model.fc_out.in_features, num_values)
    if options.freeze:
        model.freeze()
    return model
