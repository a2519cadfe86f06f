"""What builds, checks and documents the house; nothing of it is in the wheel."""
