"""Ports, port groups, volume connectors and targets, and the network ports (VIFs) attached to them."""
