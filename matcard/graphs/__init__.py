"""Graphs: crystals -> the neighbours of their atoms, and batches of them."""
