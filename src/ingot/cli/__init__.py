"""The command line. It speaks only the public APIs; each command is imported when it is called."""
