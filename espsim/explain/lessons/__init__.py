"""Lessons: short texts with real packets, a question before each answer, and exercises that espsim marks.

A lesson is a Markdown file of this folder, and that file is its only source: what the terminal shows (`play`), and the
Markdown and the notebook that a teacher hands out (`written`) are made of it. `source` says what such a file holds.

Its cells use the library's front door alone, `import espsim`, as a reader's own programs would: they are run, not
imported, so this room still imports nothing above it. No number that a cell can compute is typed in a lesson.
Lessons load no compiled kernel: the first run on a machine takes a second too.
"""
