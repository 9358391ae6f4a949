"""Key slots as native engines keep them: one cache line a slot, and memory of keys that is wiped."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable

import numpy as np

from espsim.aead.batch import Slots
from espsim.aead.suites import SuiteKeys
from espsim.core.arrays import I64, U8
from espsim.jit.memory import LINE, zeros

# A slot's line, offsets in bytes; one int64 each.
KIND, IV, ICV, ESN, SALT, KEY, MAC, ROUTINE = 0, 8, 16, 24, 32, 40, 48, 56

HEADER = 8
"""Bytes of an ESP header."""
NONCE_SIZE = 12
"""Bytes of a nonce: salt 4, IV 8."""

# Values of KIND.
NOTHING, ELSEWHERE, GCM, CHACHA, GMAC, AUTHENC, CCM = range(7)

KINDS = {
    "rfc4106(gcm(aes))": GCM,
    "rfc7539esp(chacha20,poly1305)": CHACHA,
    "rfc4543(gcm(aes))": GMAC,
    "rfc4309(ccm(aes))": CCM,
}


class Secret:
    """Zeroed bytes that begin at a cache line, at the address `at`; zeroed again when they go."""

    def __init__(self, size: int) -> None:
        self.memory: U8 = zeros((size,), np.uint8)
        self.at = self.memory.ctypes.data
        weakref.finalize(self, self.memory.fill, 0)


def make_lines(slots: Slots, supports: Callable[[SuiteKeys], bool]) -> I64:
    """int64[slots, 8]: kind, lengths, ESN and salt filled in; the engine adds the keys."""
    lines: I64 = zeros((len(slots), LINE // 8), np.int64)
    kinds: dict[str, int] = {}
    for line, slot in zip(lines, slots, strict=True):
        if slot is None:
            continue
        keys = slot.keys
        kind = kinds.get(keys.suite.name)
        if kind is None:
            kind = kinds[keys.suite.name] = KINDS.get(keys.suite.cipher, AUTHENC) if supports(keys) else ELSEWHERE
        salt = int.from_bytes(keys.salt.ljust(4, b"\0"), sys.byteorder)
        line[:5] = kind, keys.suite.iv_length, keys.icv_length, slot.esn, salt
    return lines
