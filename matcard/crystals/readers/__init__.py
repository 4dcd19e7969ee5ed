"""Readers: every format that crystals come in, to one validated table (`matcard.crystals.read_crystals`)."""
