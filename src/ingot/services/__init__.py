"""The services of the cloud, one folder each, with the same file names inside."""
