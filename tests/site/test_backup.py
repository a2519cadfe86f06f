"""A backup of a cloud at work, put back elsewhere: the same things, keys that open them, nothing half."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from ingot.app.backup import _pack
from ingot.kit.db.database import Database
from ingot.settings import Settings
from tests import postgres
from tests.site.server import Site, free_port, run, site

pytestmark = pytest.mark.anyio


async def fill(here: Site, stop: asyncio.Event, made: list[str]) -> None:
    """Nodes with secrets, one after the other, until told to stop."""
    while not stop.is_set():
        info = {"ipmi_address": "192.0.2.9", "ipmi_username": "u", "ipmi_password": "secret-word"}
        body = {"driver": "ipmi", "name": f"n{len(made)}", "driver_info": info}
        await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
        made.append(body["name"])


async def there_and_back(here: Site, tmp_path: Path, source: str, target: str) -> None:
    stop, made = asyncio.Event(), list[str]()
    writing = asyncio.create_task(fill(here, stop, made))
    while len(made) < 10:
        await asyncio.sleep(0.02)
    kept = list(made)
    words = ("backup", "b.tar", "--images", "--state", str(here.state))
    code, out, err = await run(*words, *((f"--database={source}",) if source else ()), cwd=tmp_path)
    assert code == 0 and "b.tar written" in out, err
    stop.set()
    await writing
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert {member.mode for member in tar} == {0o600}
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    code, _, err = await run(*words, cwd=tmp_path)
    assert code == 1 and "is there already" in err
    new = tmp_path / "new"
    words = ("restore", "b.tar", "--state", str(new / "state"))
    more = (f"--database={target}",) if target else ()
    code, out, err = await run(*words, *more, cwd=tmp_path)
    assert code == 0 and "restored" in out, err
    code, _, err = await run(*words, *more, cwd=tmp_path)
    assert code == 1 and "is there already" in err, err
    there = Site(new, free_port(), free_port(), here.http)
    head = {"": {"database": target}} if target else {}
    await there.start(there.settings(**head))
    try:
        listed = await there.ask("baremetal", "GET", "/v1/nodes?limit=1000", status=200)
        names = {node["name"] for node in listed.body["nodes"]}
        assert set(kept) <= names <= set(made), (kept, names, made)
        # The key opens what was sealed: validate reads the password.
        told = await there.ask("baremetal", "GET", "/v1/nodes/n0/validate", status=200)
        assert told.body["power"]["result"] is True, told.body
        image = await there.ask("image", "GET", f"/v2/images/{here.image}/file", status=200)
        assert str(image.body).startswith("content")
    finally:
        await there.stop()


async def with_image(here: Site) -> None:
    here.image = await here.make_image("kept")
    await here.upload(here.image, b"content" * 100)


async def test_on_sqlite(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    async with site(tmp_path / "old") as here:
        await with_image(here)
        await there_and_back(here, tmp_path, "", "")


@pytest.mark.postgres
async def test_on_postgresql(tmp_path: Path) -> None:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        (tmp_path / "old").mkdir()
        source, target = server.create(), server.create()
        head: Any = {"": {"database": source}}
        async with site(tmp_path / "old", **head) as here:
            await with_image(here)
            await there_and_back(here, tmp_path, source, target)


async def test_what_was_revoked_since_stays_revoked(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    async with site(tmp_path / "old") as here:
        here.tokens["stolen"] = (await here.login()).headers["X-Subject-Token"]
        code, _, err = await run("backup", "b.tar", "--state", str(here.state), cwd=tmp_path)
        assert code == 0, err
        stolen = {"X_Subject_Token": here.tokens["stolen"]}
        await here.ask("identity", "DELETE", "/v3/auth/tokens", status=204, **stolen)
        await here.ask("baremetal", "GET", "/v1/nodes", who="stolen", status=401)
        await here.stop()
        new = tmp_path / "new"
        code, told, err = await run("restore", "b.tar", "--state", str(new / "state"), cwd=tmp_path)
        assert code == 0 and "tokens of before" in told, err
        there = Site(new, free_port(), free_port(), here.http, tokens=dict(here.tokens))
        await there.start(there.settings())
        try:
            await there.ask("baremetal", "GET", "/v1/nodes", who="stolen", status=401)
            there.tokens.clear()
            await there.ask("baremetal", "GET", "/v1/nodes", status=200)
        finally:
            await there.stop()


async def test_what_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar")
    (tmp_path / "f").write_text("x")
    for name, about in (
        ("other.tar", {}),
        ("newer.tar", {"format": 1, "ingot": "9.9", "revision": "9999", "database": "sqlite"}),
        ("form.tar", {"format": 2, "ingot": "9.9"}),
    ):
        pack(tmp_path / name, about)
    for name, told in (
        ("text", "is no backup, or is damaged"),
        ("missing", "cannot be restored"),
        ("other.tar", "has the form None"),
        ("newer.tar", "newer Ingot (9.9)"),
        ("form.tar", "Restore it with Ingot 9.9"),
    ):
        code, _, err = await run("restore", name, "--state", "s", cwd=tmp_path)
        assert code == 1 and told in err and len(err.strip().splitlines()) == 1, (name, err)
    assert not (tmp_path / "s").exists()
    code, _, err = await run("backup", "x.tar", "--state", "nosuch", cwd=tmp_path)
    assert code == 1 and "There is no database" in err and not (tmp_path / "x.tar").exists()


async def test_parts_that_lead_elsewhere(tmp_path: Path) -> None:
    about = {"format": 1, "revision": "0001", "database": "sqlite", "at": "x", "ingot": "0"}
    pack(tmp_path / "evil.tar", about, "../evil")
    code, _, err = await run("restore", "evil.tar", "--state", "s/t", cwd=tmp_path)
    assert code == 1 and "unexpected part" in err
    assert not (tmp_path / "s" / "evil").exists() and not list((tmp_path / "s" / "t").iterdir())


LEFT = ("ingot.db-wal", "ingot.db-shm", "ingot.db-journal", "clouds.yaml", "images/i1")


@pytest.mark.parametrize("left", LEFT)
async def test_what_is_left_of_another_cloud_is_there(tmp_path: Path, left: str) -> None:
    about = {"format": 1, "revision": "0001", "database": "sqlite", "at": "x", "ingot": "0"}
    pack(tmp_path / "b.tar", about, "ingot.db", "clouds.yaml", "images/i1")
    file = tmp_path / "s" / left
    file.parent.mkdir(parents=True)
    file.write_text("old")
    code, _, err = await run("restore", "b.tar", "--state", "s", cwd=tmp_path)
    assert code == 1 and f"is there already: {file}." in err, err
    assert file.read_text() == "old"
    assert [path for path in (tmp_path / "s").rglob("*") if path.is_file()] == [file]


async def test_images_of_other_names_may_be_there(tmp_path: Path) -> None:
    about = {"format": 1, "revision": "0001", "database": "sqlite", "at": "x", "ingot": "0"}
    pack(tmp_path / "b.tar", about, "images/i1")
    (tmp_path / "s" / "images").mkdir(parents=True)
    (tmp_path / "s" / "images" / "i2").write_text("old")
    code, _, err = await run("restore", "b.tar", "--state", "s", cwd=tmp_path)
    assert code == 0, err
    assert {path.name for path in (tmp_path / "s" / "images").iterdir()} == {"i1", "i2"}


async def test_a_database_with_a_place_of_its_own(tmp_path: Path) -> None:
    about = {"format": 1, "revision": "0001", "database": "sqlite", "at": "x", "ingot": "0"}
    pack(tmp_path / "b.tar", about, "ingot.db")
    file = tmp_path / "own.db"
    words = ("restore", "b.tar", "--state", "s", f"--database=sqlite:///{file}")
    left = tmp_path / "own.db-wal"
    left.write_text("old")
    code, _, err = await run(*words, cwd=tmp_path)
    assert code == 1 and f"is there already: {left}." in err, err
    left.unlink()
    code, _, err = await run(*words, cwd=tmp_path)
    assert code == 0, err
    assert file.is_file() and not (tmp_path / "s" / "ingot.db").exists()


async def test_a_database_that_is_named_from_here(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as db:
        db.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        db.execute("INSERT INTO alembic_version VALUES ('0001')")
        db.commit()
    for number, name in enumerate(("own.db", "own.db?timeout=5")):
        words = ("--state", "s", f"--database=sqlite:///{name}")
        code, _, err = await run("backup", f"{number}.tar", *words, cwd=tmp_path)
        assert code == 0, err
        code, told, err = await run("db", "check", *words, cwd=tmp_path)
        assert code == 1 and told.startswith("schema 0001"), (told, err)


def test_images_that_are_links(tmp_path: Path) -> None:
    """An operator moved one to another disk, and hard links save room for others."""
    settings = Settings(state=str(tmp_path / "state"))
    images = settings.state_dir / "images"
    images.mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("moved")
    (images / "i1").symlink_to(tmp_path / "elsewhere")
    (images / "i2").write_text("same")
    (images / "i3").hardlink_to(images / "i2")
    (images / "i4").symlink_to(tmp_path / "nowhere")
    work = tmp_path / "work"
    work.mkdir()
    _pack(settings, work, tmp_path / "b.tar", images=True)
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert all(member.isreg() for member in tar)
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert found == {"images/i1": b"moved", "images/i2": b"same", "images/i3": b"same"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_restores_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    about = {"format": 1, "revision": "0001", "database": "sqlite", "at": "x", "ingot": "0"}
    pack(tmp_path / "b.tar", about, "ingot.db", "clouds.yaml", "images/i1", "vault.key")
    state = tmp_path / "s"
    (state / "mine").mkdir(parents=True)
    os.chown(state, 4711, 4712)
    code, _, err = await run("restore", "b.tar", "--state", "s", cwd=tmp_path)
    assert code == 0, err
    put = {"ingot.db", "clouds.yaml", "images", "images/i1", "vault.key"}
    assert {str(path.relative_to(state)) for path in state.rglob("*")} == {"mine", *put}
    for name in put:
        known = (state / name).stat()
        assert (known.st_uid, known.st_gid) == (4711, 4712), name
    assert (state / "mine").stat().st_uid == 0, "what was there is left alone"


async def _with_tls_only(server: postgres.Server) -> Path:
    """The server takes no connection without TLS; its certificate."""
    data = server.folder / "data"
    owner = data.stat()
    key, certificate = data / "server.key", data / "server.crt"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    for path in (key, certificate):
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o600)
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    db = Database(server.create())
    await db.single(lambda conn: conn.exec_driver_sql("ALTER SYSTEM SET ssl = on"))
    await db.single(lambda conn: conn.exec_driver_sql("SELECT pg_reload_conf()"))
    await db.close()
    return certificate


@pytest.mark.postgres
async def test_postgresql_that_wants_tls(tmp_path: Path) -> None:
    """The parameters of the URL count for the cloud as for PostgreSQL's own programs."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        (tmp_path / "old").mkdir()
        made = server.create(), server.create()
        authority = f"sslmode=verify-full&sslrootcert={await _with_tls_only(server)}"
        source, target = (f"{url}?{authority}&connect_timeout=20" for url in made)
        head: Any = {"": {"database": source}}
        async with site(tmp_path / "old", **head) as here:
            await with_image(here)
            await there_and_back(here, tmp_path, source, target)
            words = ("backup", "c.tar", "--state", str(here.state))
            plain = f"--database={made[0]}?sslmode=disable"
            code, _, err = await run(*words, plain, cwd=tmp_path)
            assert code == 1 and not (tmp_path / "c.tar").exists(), err


def test_images_that_are_deleted_meanwhile(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path / "state"))
    images = settings.state_dir / "images"
    images.mkdir(parents=True)
    (images / "kept").write_text("kept")
    passing = [images / f"i{number:03}" for number in range(100)]
    end = threading.Event()

    def come_and_go() -> None:
        while not end.is_set():
            for path in passing:
                path.touch()
            for path in passing:
                path.unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for number in range(100):
            work = tmp_path / f"work-{number}"
            work.mkdir()
            _pack(settings, work, tmp_path / f"{number}.tar", images=True)
            with tarfile.open(tmp_path / f"{number}.tar") as tar:
                assert "images/kept" in tar.getnames()
    finally:
        end.set()
        thread.join()


def pack(file: Path, about: dict[str, Any], *more: str) -> None:
    folder = file.with_suffix(".d")
    folder.mkdir()
    (folder / "about").write_text(json.dumps(about))
    with tarfile.open(file, "w") as tar:
        tar.add(folder / "about", "about.json")
        for name in more:
            tar.add(folder / "about", name)
    shutil.rmtree(folder)
