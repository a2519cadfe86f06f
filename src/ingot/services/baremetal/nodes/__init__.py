"""Nodes: states, verbs, edits, fields, locks."""
