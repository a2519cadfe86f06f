"""Hands on hardware, by kind. Values in, values out: no database, no states."""
