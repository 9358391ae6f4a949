"""The order of the batch path's stages in and out, captures through them, workers, and the counts of a run."""
