"""Shows results: on a terminal, as pages, drawings and manual pages. Computes nothing."""
