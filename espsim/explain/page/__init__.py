"""The contents of the page of `espsim explain --html`: the packet's steps, what can be saved, and four questions.

    gathered    the frames and the SAs as they were before the packet ran
    contents    everything on the page, cut to a size, without keys unless the user asks for them
    flip        one bit of the frame flipped: which check finds it
    twice       the packet sent twice, late, very late; with and without ESN
    mask        two SAs with one SPI in a table that looks at some of its bits
    who         which SPI rule lets which SA have this SPI

Every answer comes from a run through espsim. `report/page.py` draws it and computes nothing.
"""
