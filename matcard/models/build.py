"""A network made of its options and of what is known of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.errors import InputError
from matcard.models.base import Classifier
from matcard.models.crystal import CrystalModelOptions
from matcard.models.joint import JointModel

if TYPE_CHECKING:
    from matcard.data.draws import Standard
    from matcard.models.base import ModelOptions


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
    calls `matcard.models.initialize` next.

    Args:
        options: of the model.
        num_classes: C, at least 2.
        num_values: V, the numbers to be predicted beside the classes.
        descriptors: mean and deviation of the D descriptors that a batch of crystals has; None where it has none.
        **data: what else the model must know of its data (`TrainingSet.model_arguments`): `input_shape`, `mean` and
            `std` of arrays; nothing, or `atom_table`, of crystals.

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
        graph = made(options, num_classes, **data) if isinstance(options, CrystalModelOptions) else None
        sizes = {"width": known.hidden, "dropout": known.dropout}
        model = JointModel(graph, descriptors.mean, descriptors.deviation, num_classes, **sizes)
    if num_values:
        model.add_values(num_values)
    if options.freeze:
        model.freeze()
    return model
