"""Studies over many runs: a question asked at every point of some axes, and repeated there with new draws.

    study.py      the format of a study file (TOML), and what is wrong in one
    plan.py       a study's tasks by their place, and the seed of each
    questions/    what one task does, a file for each kind of question
    pool.py       tasks on this machine's processes        cluster.py    tasks on a Dask cluster
    store.py      rows in a SQLite file                    run.py        runs the tasks that are missing
    summary.py    medians, intervals, where the answer changes

A row depends only on the study, the seed and its place, not on where or when it was computed.
"""
