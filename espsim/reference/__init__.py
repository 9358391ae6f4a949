"""One packet at a time, in the RFC's order, to be read: the specification of every faster path.

Read `inbound.py` beside RFC 4303 section 3.4 and `outbound.py` beside section 3.3. Plain Python throughout.
It is handed its engine; by default that is the `cryptography` package's.
"""
