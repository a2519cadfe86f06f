"""How far a schema is brought: with \"expand\" older programs can still run on it."""

from typing import Literal

Phase = Literal["all", "expand"]
