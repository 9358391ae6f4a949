"""The conformance kit: captures with SAs and the right answers, and the judge of a program that opens them.

    packets.py   SAs, packets sealed right or wrong, and what a case is
    known.py     cases from published vectors, and every algorithm
    headers.py, refusals.py, numbers.py, fragments.py, devices.py
                 the cases of each kind
    groups.py    the groups in their order, named as DPDK's inline IPsec tests are
    answers.py   what the reference path, and each modelled device, answers to a case
    manifest.py  manifest.json: its schema and version, and the reader that checks a kit
    export.py    a kit as files
    judge.py     what a program delivered beside what it should have

Right answers are computed by the reference path when a kit is written, from the files as they are on the disk; where an
answer is published, the two are compared first. The kit asks for opening packets only. It seals nothing.
"""
