"""The command line: one file a command; parses, calls the API, sets the exit code."""
