"""The table of operations and what all services make of it: versions, lists, documents."""
