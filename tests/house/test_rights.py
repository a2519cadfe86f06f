"""The table of rights is what the cloud does, and says nothing that it must not."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from . import rights

#: Personas that see the whole cloud: what is another's is no secret to them.
ALL_SEEING = {"admin", "s.admin", "s.reader"}


def sees_all(who: str, row: rights.Row) -> bool:
    """Upstream the role admin is the whole cloud's wherever it is held, except for machines."""
    return who in ALL_SEEING or (who.endswith(".admin") and not row.name.startswith("baremetal"))


#: Why what is another's may answer otherwise than what is not there, to tenants.
EXEMPT = Path(__file__).with_name("rights_exempt.txt")
#: Why nobody gets as far as to the rights.
UNTRIED = Path(__file__).with_name("rights_untried.txt")


def reasons(file: Path) -> dict[str, str]:
    """Operation -> the reason that stands behind it."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        name, mark, why = line.partition(" # ")
        if name.strip() and not line.startswith("#"):
            assert mark and why.strip(), f"{line!r} gives no reason"
            found[" ".join(name.split())] = why.strip()
    return found


@pytest.mark.anyio
@pytest.mark.timeout(900)
async def test_the_table_is_current(tmp_path: Path) -> None:
    now, known = await rights.render(tmp_path), rights.TABLE.read_text()
    changed = "\n".join(
        difflib.unified_diff(known.splitlines(), now.splitlines(), lineterm="", n=0)
    )
    assert not changed, f"read it, and if it is right: python -m tests.house.rights\n{changed}"


def test_what_is_anothers_is_as_what_is_not_there() -> None:
    told: set[str] = set()
    for row in rights.rows(rights.TABLE.read_text()):
        for who, (_own, foreign, missing) in row.cells.items():
            if not sees_all(who, row) and missing != "." and foreign != missing:
                told.add(row.name)
    listed = set(reasons(EXEMPT))
    assert not told - listed, "a tenant learns what others have"
    assert not listed - told, "listed in rights_exempt.txt without need"


def test_every_operation_is_asked_so_that_rights_decide() -> None:
    """A body that is refused before the rights are looked at shows nothing of them."""
    told: set[str] = set()
    for row in rights.rows(rights.TABLE.read_text()):
        known = [signs for who, signs in row.cells.items() if who not in ("bad", "none")]
        if all(set(signs) <= {"~", "."} for signs in known):
            told.add(row.name)
    listed = set(reasons(UNTRIED))
    assert not told - listed, "give it a body in rights_bodies.py that reaches the rights"
    assert not listed - told, "listed in rights_untried.txt without need"


def test_nothing_fails_and_nobody_comes_in_without_a_token() -> None:
    found = rights.rows(rights.TABLE.read_text())
    assert len(found) > 450
    for row in found:
        assert not any("!" in signs for signs in row.cells.values()), row.name
        for who in ("bad", "none"):
            open_to_all = row.cells[who] == row.cells["admin"]
            assert set(row.cells[who]) <= {"-", "."} or open_to_all or "password" in row.name, row


def test_lists_have_what_their_show_answers() -> None:
    _, _, apart = rights.TABLE.read_text().partition("their show answers:")
    assert apart.split() == []
