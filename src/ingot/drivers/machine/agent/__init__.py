"""The stock ironic-python-agent: client of its command API, and what the agent interfaces are."""
