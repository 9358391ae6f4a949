"""What `espsim bench` measures: workloads, our cases, other people's programs on the same work, and the figures.

`plan` turns the command's options into groups of cases; `cases` measures a group, its members and their peers in turn.

    lookup_cases, model_tables    lookups by software and by hardware models, and replay windows, on packets of `keys`
    aead_cases                    engines alone
    pipeline_cases                the whole path: `inbound_work` and `outbound_work` (a `path_work` each) over packets
                                  of `traffic` and SAs of `tunnels`
    capture_cases                 captures into batches
    command_cases                 decap and encap as they are typed, by workers
    control_cases                 the control plane: SAs that come and go
    peers, aead_peers             programs of others; Unavailable says why one does not run here
    figures, readme               what is to be reached, and the table of it in bench/README.md
    allocspi, workloads, interleave    what the suites in bench/ run besides

A workload is drawn from a seed and shown to give right answers before it is timed. Nothing here decides how fast is
fast enough. Beside analysis in the house; it has clocks and other programs, which no room below it has.
"""
