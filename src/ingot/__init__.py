"""Ingot: a bare-metal cloud in one package."""
