"""One cloud for all tests of a module: starting it costs more than using it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.identity.cloud import Cloud, running


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud
