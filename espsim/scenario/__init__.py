"""A question as a file: its SAs, its traffic, its expected answers (schema.py), and what runs it (runner.py)."""
