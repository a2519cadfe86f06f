"""The long work of the bare-metal room, one story per file."""
