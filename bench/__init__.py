"""Measurements: a real `ingot serve` under load, figures with their spread, no pass or fail.

    python -m bench                     all; SQLite in a temporary folder
    python -m bench api deploys --quick some, short
    python -m bench --postgres --json figures.json

measure     what a figure is, and how it is printed
processes   the server and its neighbours as processes: start, CPU seconds, memory
wire        a small keep-alive HTTP client that costs little itself, and load from it
cloud       the API as the scenarios use it
api, lifecycle, deploys, footprint, inventory, fleet, bmc   the scenarios
ironic      the peer, installed and run beside ours
page        the comparison as a section of the reference, with a plot
peer        what the same work took the original, measured earlier

What the figures mean and how they are taken: docs/reference/performance.md.
"""
