"""The vocabulary: verdicts, errors, addresses. Imports nothing of ours."""
