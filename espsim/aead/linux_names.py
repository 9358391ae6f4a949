"""Linux's own table of algorithms for IPsec (net/xfrm/xfrm_algo.c): what espsim runs, and what it does not.

The kernel takes an SA with any of these names; espsim has no code for some of them, so such an SA is listed, and no
packet passes it. It is one table for all kernels. Newer kernels have ARIA and no hmac(rmd160); since which version
is not known. No kernel knows `iiv(...)`, espsim's own word.
"""

from __future__ import annotations

from collections.abc import Collection

from espsim.aead.suites import AEADS, ALIASES, CIPHERS, HASHES, Hash

_CIPHERS: dict[str, Collection[int]] = {
    # Key lengths in bytes: crypto/des_generic.c, cast5_generic.c, blowfish_common.c, serpent_generic.c,
    # twofish_common.c, sm4_generic.c
    "cbc(des)": (8,), "cbc(cast5)": range(5, 17), "cbc(blowfish)": range(4, 57), "cbc(serpent)": range(33),
    "cbc(twofish)": (16, 24, 32), "cbc(sm4)": (16,),
}  # fmt: skip
_HASHES = {
    "hmac(rmd160)": Hash("", 160, (96, 160), 96),
    "hmac(sm3)": Hash("", 256, (256,), 256),
}
_ALIASES = {"des": "cbc(des)", "cast5": "cbc(cast5)", "blowfish": "cbc(blowfish)", "serpent": "cbc(serpent)",
            "twofish": "cbc(twofish)", "sm4": "cbc(sm4)", "rmd160": "hmac(rmd160)", "sm3": "hmac(sm3)"}  # fmt: skip


NOT_RUN = (*_CIPHERS, *_HASHES)
"""What Linux has and espsim does not run."""


def linux_name(name: str) -> str:
    """The name that the kernel reports for one that it was given: its aliases (`compat`) are old names."""
    return ALIASES.get(name) or _ALIASES.get(name, name)


def linux_hash(name: str) -> Hash | None:
    """A MAC that the kernel knows, by the name that it reports; None: the kernel has none of that name."""
    return HASHES.get(name) or _HASHES.get(name)


def linux_aead_bits(name: str) -> tuple[int, ...]:
    """The ICVs in bits with which the kernel knows an AEAD of this name."""
    suite = AEADS.get(name)
    return () if suite is None or suite.implicit_iv else suite.icv_bits


def linux_key_sizes(name: str) -> Collection[int] | None:
    """Lengths in bytes of the keys that a cipher takes, nonce included; None: the kernel knows no such cipher."""
    cipher = CIPHERS.get(name)
    return cipher.key_sizes if cipher is not None else _CIPHERS.get(name)
