"""The command line, one file a command. What a command needs it imports when it runs, so that `--help` is fast."""
