"""The batch path: packets as struct-of-arrays, in batches, through compiled steps. Equal to `reference/`, row for row.

    inbound/          one file a step: its layout, its kernel, the columns that it defines, its stage; begin with
                      order.py. columns.py: the runtime half of the SAD, one row an SA
    outbound/         the same for packets that leave
    device/           the modelled device, which finds the SA instead of software
    run/              takes captures through a path: pieces, workers, counts
    stages.py         who may write which column, and the check of it
    lifetimes.py      which SAs the reference path must take over; aggregated.py: its rows of IP-TFS
    as_columns.py     `espsim.open_batch`; lookup_table.py: `espsim.LookupTable`; numbers.py: sequence numbers alone

A step's kernel and the stage that calls it are in one file, so that a reader who knows a step's name opens one file. A
test checks that kernels use arrays and numbers only (tests/unit/jit).

Importing a step loads numba, which takes half a second. So import a step inside a command, never at the top of a module
above this room.
"""
