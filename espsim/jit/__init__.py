"""Compiled code: how functions are compiled, and where their machine code is kept from run to run.

`compiling` has the decorators, `cache` reads and writes files, `folder` says where they lie, `key` what their code
depends on. This room knows nothing of packets. Importing `compiling` loads numba (half a second): do it when a command
runs, never above.
"""
