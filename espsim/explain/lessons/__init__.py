"""Lessons: short texts with real packets, a question before each answer, and exercises that espsim marks.

A lesson is a Markdown file in this folder. The terminal's text (`play`), and the Markdown and notebook for a class
(`written`), are made from that file alone. `source` describes its format.

The cells use only `import espsim`, as a reader's own programs do. They are run, not imported, so this room still
imports nothing above it. A number that a cell can compute is never typed in a lesson.

Lessons load no compiled kernel, so a first run on a machine takes a second too.
"""
