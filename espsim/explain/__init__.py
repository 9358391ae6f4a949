"""Why packets failed: one cause of a closed list for each, found by trying, and the sentence that goes with it.

    facts       what is known of one packet that failed, and the closed list of causes
    known       the SAs that a run began with, and what of the text could not be used
    trials      keys tried on a packet: a budget, and nothing that opens leaves
    causes      one function a cause; integrity.py has those of a wrong ICV
    watch       the collector of a run, packet by packet: groups, samples, the tops of windows
    sift        the same from the columns of a batch (batch/inbound/sift.py)
    run         a capture through a path, with all that is said of it (run_batches.py: the batch path)
    entries     what comes out: `why` and `notes`
    page/       what `espsim explain --html` says, and the runs that answer its questions

Both paths feed the collector in arrival order, so it says the same for any cut into batches and any number of workers.
It reads no window while packets run, because with several workers this process does not have them.

A group is an SA and a verdict; where no SA was found, a verdict, SPI and destination, in UDP or not. The first packets
of each group are tried, the rest is counted. Nothing here writes to an SA, a window or a batch.
"""
