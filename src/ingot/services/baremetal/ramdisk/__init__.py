"""The agent's side: look-up, heartbeats and boot scripts on the provisioning listener."""
