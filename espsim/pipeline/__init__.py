"""What runs of many packets share: their counts (stats.py). The batch path's order of stages will stand here."""
