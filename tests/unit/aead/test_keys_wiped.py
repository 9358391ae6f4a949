"""Key schedules, keyed hash states, salts and scratch memory are zero before they are freed."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from espsim.aead.batch import SlotKeys
from espsim.aead.known_answers import PacketRows
from espsim.aead.native.slots import KEY, Secret
from espsim.aead.suites import Algorithm, resolve
from espsim.core.numbers import DONE
from tests.support import usable

KEYS = [
    (Algorithm("aead", "rfc4106(gcm(aes))", b"\xa5" * 20, 128),),
    (Algorithm("aead", "rfc7539esp(chacha20,poly1305)", b"\xa5" * 36, 128),),
    (Algorithm("aead", "rfc4543(gcm(aes))", b"\xa5" * 36, 128),),
    (Algorithm("enc", "cbc(aes)", b"\xa5" * 32), Algorithm("auth-trunc", "hmac(sha1)", b"\xa5" * 20, 96)),
    (Algorithm("enc", "cbc(aes)", b"\xa5" * 16), Algorithm("auth-trunc", "hmac(sha512)", b"\xa5" * 200, 256)),
    (Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth-trunc", "hmac(sha384)", b"\xa5" * 48, 192)),
]


def memory_of(rows):
    """All memory of ours from which kernels read keys, or in which they leave parts of them, by name."""
    secrets = [owned for owned in rows._owner if isinstance(owned, Secret)]
    return {"lines": rows._lines, "work": rows._work} | {f"secret{n}": s.memory for n, s in enumerate(secrets)}


def used(engine, way):
    """A sealer or an opener that has worked on every slot."""
    slots = [SlotKeys(resolve(keys), esn=True) for keys in KEYS]
    packets = [(n, n, bytes(8 + slot.keys.suite.iv_length + 64 + slot.keys.icv_length)) for n, slot in enumerate(slots)]
    batch, sealer = PacketRows.of(packets), engine.sealer(slots)
    sealer.seal(*batch.columns())
    rows = sealer
    if way == "open":
        rows = engine.opener(slots)
        rows.open(*batch.columns())
    assert (batch.result == DONE).all()
    return rows


@pytest.mark.parametrize("way", ["seal", "open"])
@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_nothing_of_the_keys_is_left_in_memory_that_is_given_back(name, way):
    rows = used(usable(name), way)
    memory = memory_of(rows)
    assert len(memory) == 3
    assert all(array.any() for array in memory.values())
    del rows
    gc.collect()
    assert {name: int(np.count_nonzero(array)) for name, array in memory.items()} == dict.fromkeys(memory, 0)


def test_two_keyed_states_a_mac_lie_in_the_memory_that_is_wiped():
    """So that the test above looks at the right memory: every slot with an HMAC points into it."""
    from espsim.aead.native.slots import MAC

    rows = used(usable("libcrypto"), "open")
    (secret,) = (owned for owned in rows._owner if isinstance(owned, Secret))
    places = [int(place) for place in rows._lines[:, MAC // 8] if place]
    assert len(places) == 3
    assert all(secret.at <= place < secret.at + len(secret.memory) - 448 for place in places)


@pytest.mark.parametrize("way", ["seal", "open"])
def test_every_context_of_libcrypto_is_freed(monkeypatch, way):
    """A provider's freectx wipes what it frees, as EVP_CIPHER_CTX_free has it do (EVP_CIPHER_CTX_reset(3))."""
    from espsim.aead.native import libcrypto

    freed: list[int] = []
    real = libcrypto._free

    def noted(made):
        freed.extend(context for _, context in made)
        real(made)

    monkeypatch.setattr(libcrypto, "_free", noted)
    rows = used(usable("libcrypto"), way)
    made = [int(context) for context in rows._lines[:, KEY // 8] if context]
    assert len(made) == 5
    del rows
    gc.collect()
    assert set(made) <= set(freed)


def test_padded_keys_do_not_stay_behind(monkeypatch):
    """HMAC's key, padded, is in memory of ours for as long as the hash reads it."""
    engine, kept, zeros = usable("libcrypto"), [], np.zeros

    def noted(*args, **options):
        kept.append(zeros(*args, **options))
        return kept[-1]

    monkeypatch.setattr(np, "zeros", noted)
    rows = engine.sealer([SlotKeys(resolve(KEYS[3]))])
    monkeypatch.undo()
    padded = [array for array in kept if array.shape == (64,)]
    assert len(padded) == 1
    assert not padded[0].any()
    assert rows is not None
