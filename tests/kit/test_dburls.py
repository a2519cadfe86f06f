"""A URL of PostgreSQL without its password says all the rest as before."""

from __future__ import annotations

from ingot.kit.db.urls import without_password


def test_a_password_is_taken_out_of_a_url() -> None:
    for url, as_fault in (
        ("postgresql://u:p%40q@h:1/n?sslmode=require", "postgresql://u@h:1/n?sslmode=require"),
        ("postgresql://u@h/n?password=p%40q", "postgresql://u@h/n"),
        ("postgresql://u:p%40q@[::1]:5,h2/n", "postgresql://u@[::1]:5,h2/n"),
        ("postgresql:///n?host=/run/x&user=u&password=p%40q", "postgresql:///n?host=/run/x&user=u"),
    ):
        assert without_password(url) == (as_fault, "p@q")
    assert without_password("postgresql:///n?host=/run/x") == ("postgresql:///n?host=/run/x", "")
