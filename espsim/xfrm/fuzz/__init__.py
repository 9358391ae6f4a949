"""`espsim xfrm --fuzz`: random requests, until two sides answer one of them differently.

    draw.py      random requests and lines of `ip`, from small sets of values
    sides.py     the same lines on two models, or on the running kernel and a model
    shrink.py    fewer and simpler lines that the two sides still answer differently
    as_ip.py     a request as the line of `ip xfrm` that sends it
    search.py    one batch after the other until one differs, and the difference as a script for a mail

A batch is drawn in one of two languages: netlink requests, which are fast, or lines of `ip`, which also has policies,
lists and counts.
"""
