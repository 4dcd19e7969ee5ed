"""Work that several processes share, on this machine or on many: signals, marks of life, processes."""
