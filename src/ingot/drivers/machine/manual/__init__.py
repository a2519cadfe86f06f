"""Machines without a controller: a human switches them."""
