"""The batch path: packets as struct-of-arrays, in batches, through compiled steps. Equal to `reference/`, row for row.

    inbound/     one file a step: its layout, its kernel, the columns that it defines, its stage; order.py has the order
    outbound/    likewise
    device/      the modelled device, which looks an SA up in the place of software
    run/         captures through a path: pieces, workers, counts
    columns.py   the runtime half of the SAD; out_columns.py of the outbound SAs
    rule.py      who may write which column, and the check of it

Compiled code and the stage that calls it stand side by side here, so that a reader who knows a step's name opens one
file; a test holds that kernels use arrays and numbers only (tests/unit/jit). Importing a step loads numba (half a
second): do it when a command runs, never above.
"""
