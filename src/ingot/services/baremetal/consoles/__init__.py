"""Consoles of machines: who holds them, who may use them, and the ways in (TCP ports, websockets)."""
