"""Virtual media: boot a machine from an ISO that its controller mounts by URL."""
