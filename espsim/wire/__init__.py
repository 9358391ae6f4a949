"""One header, one file: bytes to values and back, each layout beside its code."""
