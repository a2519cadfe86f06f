"""Every option, in one typed tree. Sources in rising order: defaults, TOML file, environment, command line.

The environment spells a key `INGOT_SECTION__KEY`, for example `INGOT_PROVISIONING__LISTEN`. A wrong value
names the file, the line and the key.

tree       the options and their defaults
loading    from file, environment and command line
mistakes   values of the right type that cannot work
reference  all options as TOML with comments
"""

from .loading import load
from .reference import reference
from .tree import Inspection, Retention, Settings, StepOptions, parse_listen

__all__ = [
    "Inspection",
    "Retention",
    "Settings",
    "StepOptions",
    "load",
    "parse_listen",
    "reference",
]
