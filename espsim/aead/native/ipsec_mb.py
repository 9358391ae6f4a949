"""The `ipsec-mb` engine: Intel's multi-buffer library (x86-64), called from compiled kernels.

AES-GCM, AES-GMAC and ChaCha20-Poly1305; the other suites are another engine's to do.
The library's public API is a table of function pointers, struct IMB_MGR, that macros of its header reach into. Where a
function stands in the table depends on the version: LAYOUTS says it for those that are known, and before anything is
called, the linker must know each pointer by the name that belongs there.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import partial

import numpy as np

from espsim.aead.batch import Slots
from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.native import ipsec_mb_rows as places
from espsim.aead.native.engine import NativeEngine, NativeRows
from espsim.aead.native.slots import KEY, ROUTINE, Secret, make_lines
from espsim.aead.suites import SuiteKeys
from espsim.core.arrays import I64
from espsim.jit.memory import zeros

LIBRARY = "libIPSec_MB.so.1"
_KEY_STRIDE = 1024  # struct gcm_key_data has 1008 bytes, aligned to 64
_ARCHITECTURES = ("none", "no AES-NI", "SSE", "AVX", "AVX2", "AVX512")  # enum IMB_ARCH

# Offsets in struct IMB_MGR (lib/intel-ipsec-mb.h of that version), and how the symbol found there begins.
# In the order of ipsec_mb_rows.py; an empty name is a function that the library does not export.
_V1_3 = (
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
LAYOUTS = {(1, 3): _V1_3}
_USED_ARCH, _ERRNO = 56, 60  # since 1.1

_SUITES = ("rfc4106(gcm(aes))", "rfc4543(gcm(aes))", "rfc7539esp(chacha20,poly1305)")


class _DlInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("name", ctypes.c_char_p), ("address", ctypes.c_void_p)
    )  # fmt: skip


class IpsecMbEngine(NativeEngine):
    """Raises EngineError where the library is missing or of a version that isn't known, or where the CPU is not for it.

    Raises WrongEngineError where a known version is not what it should be.
    """

    name = "ipsec-mb"

    def __init__(self, library: str = LIBRARY) -> None:
        super().__init__()
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
        self._manager = _Manager(lib)
        self._functions = self._manager.functions(layout, library)
        key_setter = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
        first = places.SET_GCM_KEY // 8
        self._set_key = [key_setter(at) for at in self._functions[first : first + 3].tolist()]
        self.version = f"intel-ipsec-mb {words}"
        self.isa: str | None = self._manager.architecture

    def supports(self, keys: SuiteKeys) -> bool:
        """AES-GCM, AES-GMAC, ChaCha20-Poly1305."""
        return keys.suite.name in _SUITES

    def _rows(self, slots: Slots, *, opening: bool) -> NativeRows:
        lines = make_lines(slots, self.supports)
        keys = Secret(_KEY_STRIDE * len(slots))
        for number, (line, slot) in enumerate(zip(lines, slots, strict=True)):
            if slot is None or not self.supports(slot.keys):
                continue
            place = keys.memory[_KEY_STRIDE * number : _KEY_STRIDE * (number + 1)]
            line[KEY // 8] = keys.at + _KEY_STRIDE * number
            if slot.keys.suite.name == "rfc7539esp(chacha20,poly1305)":
                place[:32] = np.frombuffer(slot.keys.key, dtype=np.uint8)
                continue
            size = line[ROUTINE // 8] = len(slot.keys.key) // 8 - 2
            self._set_key[size](slot.keys.key, int(line[KEY // 8]))
        work = zeros((places.WORK,), np.uint8)
        return NativeRows(partial(places.run_ipsec_mb, opening), self._functions, lines, work, (self._manager, keys))


class _Manager:
    """An IMB_MGR: allocated, set up for this CPU, and freed when it goes."""

    def __init__(self, lib: ctypes.CDLL) -> None:
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
        if failed or not 2 <= used < len(_ARCHITECTURES):
            raise EngineError("this CPU is not one for libIPSec_MB (AES-NI is needed)")
        self.architecture = _ARCHITECTURES[used]

    def functions(self, layout: tuple[tuple[int, str], ...], library: str) -> I64:
        """The functions of a layout; WrongEngineError where one is not the one that it should be."""
        home = _symbol(ctypes.cast(self._lib.alloc_mb_mgr, ctypes.c_void_p).value or 0)[0]
        found = []
        for offset, expected in layout:
            pointer = ctypes.c_uint64.from_address(self._at + offset).value
            file, name = _symbol(pointer)
            if file != home or not name.startswith(expected):
                raise WrongEngineError(f"{library} has {name or 'nothing it names'} where {expected}* should be")
            found.append(pointer)
        return np.array(found, dtype=np.int64)


def _symbol(pointer: int) -> tuple[str, str]:
    """The file that an address belongs to and the symbol that begins there; "" where there is none (dladdr(3))."""
    info = _DlInfo()
    if not pointer or not ctypes.CDLL(None).dladdr(ctypes.c_void_p(pointer), ctypes.byref(info)):
        return "", ""
    name = info.name.decode() if info.name and info.address == pointer else ""
    return info.file.decode() if info.file else "", name
