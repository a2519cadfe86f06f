"""What an inspection finds, and what hooks and rules make of it."""
