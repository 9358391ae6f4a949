"""Studies over many runs: a question asked at every point of some axes, and again, each time with draws of its own.

    study.py      what a study file may say (TOML), and where it is wrong
    plan.py       its tasks by their place, and the seed of each
    questions/    what one task does, one file a kind of question
    pool.py       tasks on this machine's processes        cluster.py    tasks on a Dask cluster
    store.py      rows in a SQLite file, as they land      run.py        what is missing is run
    summary.py    medians, intervals, where the answer changes

A row depends on the study, the seed and its place, and on nothing else: not on who ran it, or when.
"""
