"""Who calls and what they may do: callers, policies, policy files, log-in throttle."""
