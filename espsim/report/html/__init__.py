"""Reports for a browser: `run`, `audit`, `bench`, `window` and `sweep report` with `--html FILE`.

    document   the parts of a report; the template (../report.html.j2) shows them with the style sheet (../page.css)
    charts     lines, bars, columns and slots as SVG, each with a title, a description and a table of its numbers
    scenarios, storms, questions, audit, bench, window, sweep     one report each, from the JSON of its command

A report is one file without a script, and fetches nothing: the policy in its head allows its style sheet, by hash, and
nothing else. The template escapes what comes from a file, and control characters in it. Nothing here computes an
answer.
"""
