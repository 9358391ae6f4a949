"""The instruction sets that an OpenSSL may use, in words: what its own CPU line says, OPENSSL_ia32cap applied.

The line says what the library's code may choose from, not what one cipher took.
Sources: OpenSSL doc/man3/OPENSSL_ia32cap.pod; crypto/arm_arch.h.
"""

from __future__ import annotations

import re
from typing import Any

CPU_INFO = 9
"""OPENSSL_CPU_INFO: the argument of OpenSSL_version for its CPU line (OpenSSL 3.0 and later)."""

# (number of the line's 64-bit word, bit, name), of those that AES, GHASH, ChaCha20, Poly1305 and SHA choose by.
_X86 = (
    (0, 57, "AES-NI"), (0, 33, "PCLMULQDQ"), (0, 60, "AVX"), (1, 5, "AVX2"), (1, 16, "AVX512"), (1, 41, "VAES"),
    (1, 42, "VPCLMULQDQ"), (1, 29, "SHA"),
)  # fmt: skip
_ARM = ((0, 0, "NEON"), (0, 2, "AES"), (0, 5, "PMULL"), (0, 3, "SHA1"), (0, 4, "SHA256"), (0, 6, "SHA512"))


def openssl_isa(line: str) -> str | None:
    """The names in a line such as "CPUINFO: OPENSSL_ia32cap=0x...:0x... env:..."; None where it says nothing known."""
    found = re.search(r"OPENSSL_(ia32|arm)cap=((?:0x[0-9a-fA-F]+:?)+)", line)
    if found is None:
        return None
    words = [int(word, 16) for word in found[2].split(":") if word]
    names = [name for n, bit, name in (_X86 if found[1] == "ia32" else _ARM) if n < len(words) and words[n] >> bit & 1]
    return " ".join(names) or "generic"


def package_cpu_info() -> str:
    """The CPU line of the OpenSSL inside the `cryptography` package; "" where the package does not hand it out."""
    try:
        from cryptography.hazmat.bindings.openssl import binding  # noqa: PLC0415 - no public interface: it may go

        library: Any = binding.Binding
        line: bytes = library.ffi.string(library.lib.OpenSSL_version(CPU_INFO))
    except (ImportError, AttributeError, TypeError):
        return ""
    return line.decode(errors="replace")
