"""The `ipsec-mb` engine: Intel's multi-buffer library (x86-64), called from compiled kernels.

AES-GCM, AES-GMAC and ChaCha20-Poly1305, also with implicit IVs; other engines do the other suites.
The newest version that is there and known is used. A library that is not in the system's path is found by
LD_LIBRARY_PATH. The dynamic linker reads that at the start, so set it before espsim starts.
The library's public API is a table of function pointers, struct IMB_MGR, that macros of its header reach into. Where a
function lies in the table depends on the version: LAYOUTS has those that are known. Before anything is called, the
linker must know each pointer by the name that belongs there, and a key set-up must stay within its memory.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from typing import NamedTuple

import numpy as np

from espsim.aead.batch import Slots
from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.native import ipsec_mb_rows as places
from espsim.aead.native.engine import NativeEngine, NativeRows
from espsim.aead.native.slots import KEY, ROUTINE, Secret, make_lines
from espsim.aead.suites import SuiteKeys
from espsim.core.arrays import I64
from espsim.jit.memory import zeros

LIBRARIES = ("libIPSec_MB.so.2", "libIPSec_MB.so.1")
"""In the order in which they are tried."""


class Layout(NamedTuple):
    """What a version of lib/intel-ipsec-mb.h defines.

    `pointers`: offsets in struct IMB_MGR and how the symbol found there begins, in the order of ipsec_mb_rows.py; an
    empty name is a function that the library does not export. `key_size`: bytes of struct gcm_key_data, aligned to 64.
    `architectures`: enum IMB_ARCH, those with AES-NI. `small`: cache lines of struct gcm_key_data that hold the hash
    keys of small packets, by how the functions' names end; they are prefetched, so a wrong one only costs time.
    """

    pointers: tuple[tuple[int, str], ...]
    key_size: int
    architectures: dict[int, str]
    small: dict[str, tuple[int, int, int, int]]


# The same in 1.3, 2.0.0 and 2.0.2.
_POINTERS = (
    *((256 + 8 * n, f"aes_gcm_enc_{bits}_") for n, bits in enumerate((128, 192, 256))),
    *((280 + 8 * n, f"aes_gcm_dec_{bits}_") for n, bits in enumerate((128, 192, 256))),
    *((720 + 8 * n, f"imb_aes_gmac_init_{bits}_") for n, bits in enumerate((128, 192, 256))),
    *((744 + 8 * n, f"imb_aes_gmac_update_{bits}_") for n, bits in enumerate((128, 192, 256))),
    *((768 + 8 * n, f"imb_aes_gmac_finalize_{bits}_") for n, bits in enumerate((128, 192, 256))),
    *((448 + 8 * n, f"aes_gcm_pre_{bits}_") for n, bits in enumerate((128, 192, 256))),
    (920, ""),
    (928, "update_enc_chacha20_poly1305_"),
    (936, "update_dec_chacha20_poly1305_"),
    (944, "finalize_chacha20_poly1305_"),
)
# Hash keys lie after 240 bytes of round keys: the first powers first, but with VAES last, in 2.0 in two tables.
_FIRST = (192, 256, 320, 384)
LAYOUTS = {
    (1, 3): Layout(
        _POINTERS, 1024, {2: "SSE", 3: "AVX", 4: "AVX2", 5: "AVX512"}, {"vaes_avx512": (832, 896, 960, 960)}
    ),
    (2, 0): Layout(
        _POINTERS, 1280, {1: "SSE", 2: "AVX2", 3: "AVX512"},
        {"vaes_avx512": (640, 704, 1152, 1216), "vaes_avx2": (384, 448, 640, 704)},
    ),
}  # fmt: skip
_USED_ARCH, _ERRNO = 56, 60  # of struct IMB_MGR, since 1.1

# Suffixes of the symbols of a function's parts, such as aes_gcm_enc_128_update_sse.
_PART = re.compile("init|update|finalize")
# The instruction set, after the key size: vaes_avx512 of imb_aes_gmac_update_256_vaes_avx512.
_END = re.compile(r"(?<=_(?:128|192|256)_)[a-z0-9_]+$")

_SUITES = ("rfc4106(gcm(aes))", "rfc4543(gcm(aes))", "rfc7539esp(chacha20,poly1305)")


class _DlInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("name", ctypes.c_char_p), ("address", ctypes.c_void_p)
    )  # fmt: skip


class IpsecMbEngine(NativeEngine):
    """Raises EngineError where no library of a known version is installed, or the CPU lacks AES-NI.

    Raises WrongEngineError where a known version is not what it should be.
    """

    name = "ipsec-mb"

    def __init__(self, *libraries: str) -> None:
        super().__init__()
        reasons = []
        for library in libraries or LIBRARIES:
            try:
                self._load(library)
            except WrongEngineError:
                raise
            except EngineError as error:
                reasons.append(str(error))
            else:
                return
        raise EngineError("; ".join(reasons))

    def _load(self, library: str) -> None:
        try:
            lib = ctypes.CDLL(library)
            lib.imb_get_version_str.restype = ctypes.c_char_p
            number = int(lib.imb_get_version())
            words = lib.imb_get_version_str().decode()
        except (OSError, AttributeError) as error:
            raise EngineError(f"{library} cannot be loaded: {error}") from None
        layout = LAYOUTS.get((number >> 16, number >> 8 & 0xFF))
        if layout is None:
            known = ", ".join(f"{major}.{minor}" for major, minor in LAYOUTS)
            raise EngineError(f"{library} is version {words}; known: {known}")
        self._manager = _Manager(lib, layout)
        self._functions = self._manager.functions(layout, library)
        key_setter = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
        first = places.SET_GCM_KEY // 8
        self._set_key = [key_setter(at) for at in self._functions[first : first + 3].tolist()]
        self._key_size = layout.key_size
        self._check_key_size(library)
        self.version = f"intel-ipsec-mb {words}"
        self.isa: str | None = self._manager.architecture

    def _check_key_size(self, library: str) -> None:
        """WrongEngineError where setting a key up writes past its memory, and so would damage another key."""
        for number, set_key in enumerate(self._set_key):
            memory = Secret(4 * self._key_size)
            set_key(bytes(16 + 8 * number), memory.at)
            if memory.memory[self._key_size :].any():
                raise WrongEngineError(f"{library}: a key needs more than {self._key_size} bytes")

    def supports(self, keys: SuiteKeys) -> bool:
        """AES-GCM, AES-GMAC, ChaCha20-Poly1305."""
        return keys.suite.cipher in _SUITES

    def _rows(self, slots: Slots, *, opening: bool) -> NativeRows:
        lines = make_lines(slots, self.serves)
        stride = self._key_size
        keys = Secret(stride * len(slots))
        for number, (line, slot) in enumerate(zip(lines, slots, strict=True)):
            if slot is None or not self.serves(slot.keys):
                continue
            at = line[KEY // 8] = keys.at + stride * number
            key = slot.keys.key
            if slot.keys.suite.cipher == "rfc7539esp(chacha20,poly1305)":
                keys.memory[stride * number : stride * number + 32] = np.frombuffer(key, dtype=np.uint8)
                continue
            size = line[ROUTINE // 8] = len(key) // 8 - 2
            self._set_key[size](key, at)
        work = zeros((places.WORK,), np.uint8)
        return NativeRows(places.run_ipsec_mb, opening, self._functions, lines, work, (self._manager, keys))


class _Manager:
    """An IMB_MGR: allocated, set up for this CPU, and freed when it goes."""

    def __init__(self, lib: ctypes.CDLL, layout: Layout) -> None:
        lib.alloc_mb_mgr.argtypes, lib.alloc_mb_mgr.restype = (ctypes.c_uint64,), ctypes.c_void_p
        lib.init_mb_mgr_auto.argtypes, lib.init_mb_mgr_auto.restype = (ctypes.c_void_p, ctypes.c_void_p), None
        lib.free_mb_mgr.argtypes, lib.free_mb_mgr.restype = (ctypes.c_void_p,), None
        self._lib = lib
        self._at = lib.alloc_mb_mgr(0)
        if not self._at:
            raise EngineError("alloc_mb_mgr gave no memory")
        weakref.finalize(self, lib.free_mb_mgr, self._at)
        lib.init_mb_mgr_auto(self._at, None)
        failed = ctypes.c_int.from_address(self._at + _ERRNO).value
        used = ctypes.c_uint32.from_address(self._at + _USED_ARCH).value
        if failed or used not in layout.architectures:
            raise EngineError("this CPU is not one for libIPSec_MB (AES-NI is needed)")
        self.architecture = layout.architectures[used]

    def functions(self, layout: Layout, library: str) -> I64:
        """The functions of a layout and what ipsec_mb_rows.py has after them.

        Raises WrongEngineError where one is not the function that it should be.
        """
        home = _symbol(ctypes.cast(self._lib.alloc_mb_mgr, ctypes.c_void_p).value or 0)[0]
        found = []
        for offset, expected in layout.pointers:
            pointer = ctypes.c_uint64.from_address(self._at + offset).value
            file, name = _symbol(pointer)
            if file != home or not (_is_named(name, expected) or self._has_too(pointer, name, expected)):
                raise WrongEngineError(f"{library} has {name or 'nothing it names'} where {expected}* should be")
            found.append(pointer)
        end = _END.search(_symbol(found[0])[1])
        hints = layout.small.get(end[0] if end else "", _FIRST)
        return np.array([*found, *hints, layout.key_size], dtype=np.int64)

    def _has_too(self, pointer: int, name: str, expected: str) -> bool:
        """Whether the function `name` has another name that is expected: dladdr knows one of several.

        In 2.0 one GMAC update for AVX512 with VAES serves all three key sizes, under three names.
        """
        end = _END.search(name)
        other = expected + end[0] if end and expected else ""
        if not _is_named(other, expected) or not hasattr(self._lib, other):
            return False
        return ctypes.cast(getattr(self._lib, other), ctypes.c_void_p).value == pointer


def _is_named(name: str, expected: str) -> bool:
    """Whether a symbol is the function whose name begins as expected, and no part of it."""
    return name.startswith(expected) and not _PART.match(name, len(expected))


def _symbol(pointer: int) -> tuple[str, str]:
    """The file that an address belongs to and the symbol that begins there; "" where there is none (dladdr(3))."""
    info = _DlInfo()
    if not pointer or not ctypes.CDLL(None).dladdr(ctypes.c_void_p(pointer), ctypes.byref(info)):
        return "", ""
    name = info.name.decode() if info.name and info.address == pointer else ""
    return info.file.decode() if info.file else "", name
