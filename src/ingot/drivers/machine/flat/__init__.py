"""Flat network: one shared network; which VIF goes to which port."""
