"""The conformance kit: captures with SAs and the right answers, and the judge of programs that open them.

    packets.py   SAs, packets sealed right or wrong, and what a case is
    known.py     cases from published vectors, and every algorithm
    headers.py, refusals.py, numbers.py, fragments.py, devices.py
                 the cases of each kind
    groups.py    the groups in their order, named as DPDK's inline IPsec tests are
    answers.py   the answers of the reference path, and of each modelled device, to a case
    manifest.py  manifest.json: its schema and version, and the reader that checks a kit
    export.py    a kit as files
    judge.py     compares what a program delivered with the right answers

The reference path computes the right answers when a kit is written, from the kit's files on the disk. Where an answer
is published, the two are compared first.

What this does not do: ask programs to seal packets.
"""
