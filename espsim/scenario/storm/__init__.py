"""Storms: many nodes' SAs are replaced while packets flow, on a model clock.

spec.py        [storm] of a scenario file, and what each of its words means
schedule.py    when each side does what, and whether these times alone can lose a packet
hosts.py       the host with its device, and the nodes: their SAs, old and new
run.py         the packets, and what became of them
answer.py      the report of a run: drops over time, the most SAs in the device, the node that lost most
lossless.py    the overlap and the rate that would have lost nothing
"""
