"""What the same work took Ironic 39.0.0, measured earlier on the same kind of machine.

Medians of three rounds; not from the same run, and the machines are shared and noisy: they show the
order of size, no more. See docs/reference/performance.md.
"""

from __future__ import annotations

#: Figure's name -> (with SQLite, with PostgreSQL).
_FIGURES = {
    "create node + port, 1 client": ("28", "29"),
    "create node + port, 16 clients": ("35", "62"),
    "delete node, 16 clients": ("62", "114"),
    "GET one node, 1 client": ("225", "248"),
    "GET one node, 16 clients": ("235", "296"),
    "GET one node, 64 clients": ("244, answers lost", "409"),
    "list 1,000 in detail": ("327", "270"),
    "list 1,000 brief": ("133", "133"),
    "list 1,000, three fields": ("119", "127"),
    "filter to 100 of 1,000, 1 client": ("63", "55"),
    "filter to 100 of 1,000, 16 clients": ("50", "95"),
    "filter by instance, 1 client": ("323", "320"),
    "filter by instance, 16 clients": ("291", "428"),
    "PATCH extra, 1 client": ("31", "34"),
    "PATCH extra, 16 clients": ("31", "65"),
    "agent lookup, 1 client": ("150", "123"),
    "agent lookup, 16 clients": ("168", "196"),
    "agent heartbeat, 1 client": ("44", "107"),
    "agent heartbeat, 16 clients": ("68", "109"),
    "enroll -> manageable": ("5.5", "3.4"),
    "manageable -> available": ("7.6", "3.7"),
    "available -> active": ("13.7", "7.2"),
    "active -> deleted -> available": ("about 8", "4.7"),
    "whole life-cycle": ("276", "529"),
    "CPU for 1,000 life-cycles": ("171", "178"),
    "memory (PSS), idle": ("186", "407"),
    "memory (PSS), 1,000 nodes": ("259", "494"),
    "memory (PSS), after the run": ("433", "740"),
    "start again, empty": ("1.3", "1.7"),
}


def told(name: str) -> dict[str, str]:
    """database -> figure as text; empty when the peer was not measured at it."""
    found = _FIGURES.get(name)
    return {} if found is None else {"sqlite": found[0], "postgresql": found[1]}
