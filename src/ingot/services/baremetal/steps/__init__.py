"""Clean, deploy and service steps: which exist, which are wanted, their secrets."""
