"""What `espsim bench` measures: workloads, our cases, other programs on the same work, and the figures.

`plan` turns the command's options into groups of cases. `cases` measures the cases of a group and their peers in turn.

    lookup_cases, model_tables    lookups by software and by hardware models, and replay windows, on packets of `keys`
    aead_cases                    engines alone
    pipeline_cases                the whole path: `inbound_work` and `outbound_work` (a `path_work` each) over packets
                                  of `traffic` and SAs of `tunnels`
    capture_cases                 captures read into batches
    command_cases                 the commands decap and encap, by number of workers
    control_cases                 the control plane: SAs added, allocated, deleted, expired
    peers, aead_peers             other programs; Unavailable says why one does not run here
    figures, readme               floors and goals, and their table in bench/README.md
    allocspi, workloads, interleave    used by the suites in bench/ alone

A workload is drawn from a seed, and must give the right answers before it is timed. No speed is a pass or a failure
here. Clocks and other programs are allowed in this room, and in no room below it.
"""
