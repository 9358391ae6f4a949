"""What the page of `espsim explain --html` says: the packet's steps, what can be saved, and four questions.

    gathered    the frames and the SAs as they were before the packet ran
    contents    everything that the page has, cut to a size, without keys unless they were asked for
    flip        one bit of the frame flipped: which check sees it
    twice       the packet sent twice, late, very late; with and without ESN
    mask        two SAs with one SPI in a table that looks at some of its bits
    who         which policy lets whom have this SPI

Every answer is what a run through espsim gave; `report/page.py` draws it and computes nothing.
"""
