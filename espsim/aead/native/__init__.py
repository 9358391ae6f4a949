"""Engines in C libraries, called from compiled code: one loop over a batch's rows, two libraries.

slots.py      a key slot as a cache line: its layout, and the memory that keys lie in
loop.py       the loop, for both libraries and both directions
row.py        nonce and AAD of a row
libcrypto.py  OpenSSL's EVP: the engine; libcrypto_rows.py opens and seals one row
ipsec_mb.py   Intel's multi-buffer library: the engine; ipsec_mb_rows.py opens and seals one row
"""
