"""One real `ingot serve` with imaginary machines for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.conformance.cloud import Cloud, serving


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serving(tmp_path_factory.mktemp("cloud")) as made:
        yield made
