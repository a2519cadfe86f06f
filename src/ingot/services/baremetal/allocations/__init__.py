"""Which machine is given to whom: candidates, claims, allocations."""
