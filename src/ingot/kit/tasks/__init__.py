"""Time, background tasks, events, and whether this process may still act."""
