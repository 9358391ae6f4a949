"""Captures through the batch path in bounded memory: pieces, workers, counts of a run."""
