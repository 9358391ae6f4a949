"""`espsim xfrm --fuzz`: requests at random, until two sides answer one of them differently.

    draw.py      requests, and lines of `ip`, at random from small sets of values
    sides.py     the same lines on two models, or on the running kernel and a model
    shrink.py    fewer and simpler lines that the two sides still answer differently
    as_ip.py     a request as the line of `ip xfrm` that sends it
    search.py    batches in turn until one differs, and the difference as a script for a mail

A batch is drawn in one of two languages: requests as netlink has them, most of which are answered in an instant, and
lines of `ip`, which has words for policies, lists and counts.
"""
