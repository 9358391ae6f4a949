"""What runs of many packets share: their counts (stats.py), and the order of the batch path's stages (inbound.py)."""
