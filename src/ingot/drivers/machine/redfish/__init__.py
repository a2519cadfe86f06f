"""Redfish: power, management and virtual media over HTTPS with aiohttp."""
