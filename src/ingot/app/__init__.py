"""The whole cloud: the only place that constructs, and what one process serves.

services    the tuple of the services
build       the one constructor
cloud       the life of what it made
listeners   what each listener serves
serving     `ingot serve` around them
"""

from ingot.app import bare as bare  # before parts of uvicorn
