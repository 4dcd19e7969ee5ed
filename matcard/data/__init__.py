"""Data sets: cards and their files, what is read and how it is divided, the embedded perovskites."""
