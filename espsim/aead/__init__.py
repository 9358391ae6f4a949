"""Algorithms by name (suites.py) and the engines that run them (engine.py, one file an engine)."""
