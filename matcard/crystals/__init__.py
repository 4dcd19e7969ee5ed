"""Crystals: a source of any kind -> arrays, each row with its structure or what is wrong."""
