"""Engines that load as a test tells them to."""

from __future__ import annotations

import pytest

from espsim.aead import engines
from espsim.aead.cryptography_batch import CryptographyBatch


def _forget():
    for known in (engines.find, engines._fastest, engines._say):
        known.cache_clear()


@pytest.fixture
def only(monkeypatch):
    """Make engines load as told: name to engine, or to the error that loading gives; others are `cryptography`."""

    def tell(**answers):
        def make(name):
            answer = answers.get(name.replace("-", "_"), CryptographyBatch())
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(engines, "_make", make)
        _forget()

    yield tell
    monkeypatch.undo()
    _forget()
