"""Addresses and boot loaders for machines that start from the network: the plan, and dnsmasq that follows it."""
