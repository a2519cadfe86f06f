"""Deploy templates and runbooks."""
