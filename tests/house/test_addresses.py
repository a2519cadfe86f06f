"""What a first start tells of where it is."""

from __future__ import annotations

import pytest

from ingot.app.options import near_url
from ingot.settings import Settings


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:6385", "http://127.0.0.1:6385"),
        ("0.0.0.0:6385", "http://127.0.0.1:6385"),
        ("[::]:6385", "http://[::1]:6385"),
        ("192.0.2.4:80", "http://192.0.2.4:80"),
        ("cloud.example:6385", "http://cloud.example:6385"),
    ],
)
def test_a_usable_address_for_clients_here(listen: str, url: str) -> None:
    assert near_url(Settings(listen=listen)) == url
