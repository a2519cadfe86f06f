"""Write docs/reference/controllers.md: `python -m tests.trees` (part of `make docs`)."""

from __future__ import annotations

import asyncio

from tests.trees import TREES
from tests.trees.operations import row
from tests.trees.page import PAGE, page


async def _rows() -> dict[str, dict[str, str]]:
    return {name: await row(make) for name, make in TREES.items()}


if __name__ == "__main__":
    PAGE.write_text(page(asyncio.run(_rows())))
