"""Why packets failed: for each one cause of a closed list, found by trying keys and numbers, and a sentence.

    facts       what is known of one failed packet, and the closed list of causes
    known       the SAs at the start of a run, and those of the text that can't be used
    trials      tries keys on a packet within a budget; plaintext never leaves it
    causes      one function for each cause; integrity.py has those of a wrong ICV
    watch       the collector of a run, packet by packet: groups, samples, the tops of windows
    sift        the same from the columns of a batch (batch/inbound/sift.py)
    run         a capture through a path, with counts, causes and lines (run_batches.py: the batch path)
    entries     the results: `why` and `notes`
    page/       what `espsim explain --html` says, and the runs that answer its questions

Both paths feed the collector in arrival order, so its answers are the same for any cut into batches and any number of
workers. It reads no window while packets run: with several workers the windows are in other processes.

A group is an SA and a verdict. Where no SA was found it is a verdict, an SPI, a destination, and whether in UDP. The
first packets of each group are tried; the others are counted.

What this does not do: write to an SA, a window or a batch.
"""
