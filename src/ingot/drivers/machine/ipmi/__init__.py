"""IPMI over LAN: ipmitool as a subprocess, one call in flight per controller."""
