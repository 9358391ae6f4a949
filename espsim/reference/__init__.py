"""The reference path: one packet at a time, in the RFC's order. It is the specification of every faster path.

Read `inbound.py` beside RFC 4303 section 3.4, and `outbound.py` beside section 3.3. It is plain Python. Its engine is a
parameter; the default is the `cryptography` package's.
"""
