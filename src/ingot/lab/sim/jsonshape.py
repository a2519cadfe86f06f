"""JSON from the wire as something a type checker can follow."""

from __future__ import annotations

import json
from typing import Any, cast


def as_object(value: object) -> dict[str, Any] | None:
    """The value if it is a JSON object, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def read_object(text: bytes | str) -> dict[str, Any] | None:
    """Parse; None when it is JSON but no object. Raises ValueError when it is no JSON."""
    return as_object(json.loads(text))
