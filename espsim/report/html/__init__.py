"""Reports for a browser: `run`, `audit`, `bench`, `window` and `sweep report` with `--html FILE`.

    document   what a report is made of, and the one template (../report.html.j2) that shows it in the one style
               sheet (../page.css)
    charts     lines, bars, columns and slots as SVG, each with a title, a description and a table of its numbers
    scenarios, storms, questions, audit, bench, window, sweep     one report each, from the JSON of its command

One file, no script, nothing fetched: the policy in its head lets this very style sheet in, and nothing else. What
comes from a file is escaped by the template, and shown without control characters. Nothing here computes an answer.
"""
