"""A virtual rack of real QEMU machines with a cloud in front: what the tests of whole machines share."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from ingot.lab.stage import Stage
from tests.flows.site import free_port

#: Marks of every such test; those of a long story besides.
REAL = (
    pytest.mark.anyio,
    pytest.mark.qemu,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86"),
)
LONG = (*REAL, pytest.mark.real)


@contextlib.asynccontextmanager
async def real_site(
    name: str, rack: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """The rack (TOML) switched on and a cloud that serves; everything ends with it.

    settings: section -> lines that are put first in it, beside what the stage itself says of machines.
    """
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        file = Path(folder) / "rack.toml"
        file.write_text(rack)
        stage = Stage(Path(folder), f"127.0.0.1:{free_port()}", name, file)
        try:
            await stage.build()
            for section, lines in (settings or {}).items():
                head, text = f"[{section}]\n", stage.config.read_text()
                assert head in text
                stage.config.write_text(text.replace(head, head + lines))
            await stage.rack.up()
            await stage.serve()
            yield stage
        finally:
            await stage.close()
