"""Samples in a batch: tensors that go to a device together."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from typing import Self

    import torch


@dataclass(eq=False)
class Batch:
    """What a data set gives at once; a subclass says which tensors there are, None for those that are not."""

    def to(self, device: torch.device | str, **options: Any) -> Self:
        """Give the batch on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: value.to(device, **options) for name, value in values.items() if isinstance(value, Tensor)}
        )
