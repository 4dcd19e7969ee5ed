"""One structure as the decoders give it, before anything about it is checked."""

from matcard.crystals.crystals import Raw, StructureError

__all__ = ["Raw", "StructureError"]
