"""Reports for a browser: `run`, `audit`, `bench`, `window` and `sweep report` with `--html FILE`.

    document   the parts of a report, which the template ../report.html.j2 shows
    charts     lines, bars, columns and slots as SVG, each with a title, a description and a table of its numbers
    scenarios, storms, questions, audit, bench, window, sweep     one report each, from the JSON of its command

A report is one file without a script, and fetches nothing. ../look.py makes the page. Nothing here computes an answer.
"""
