"""Benchmarks run one after the other, in this process: `-n 2` of pyproject.toml is for tests."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before xdist reads them."""
    config.option.numprocesses, config.option.dist = 0, "no"
