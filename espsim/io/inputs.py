"""Files that commands read: see `espsim.core.inputs`, which models and scenarios use too."""

from espsim.core.inputs import STANDARD, open_input, read_pieces, read_start, read_whole, unreadable

__all__ = ["STANDARD", "open_input", "read_pieces", "read_start", "read_whole", "unreadable"]
