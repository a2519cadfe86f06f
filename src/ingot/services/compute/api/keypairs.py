"""Key pairs: a person's own, shared with nobody."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Missing
from ingot.services.compute import keypair_store
from ingot.services.compute.api.common import (
    MOST,
    Body,
    Handlers,
    mapping,
    naive,
    number,
    part,
    read,
    since,
)
from ingot.services.compute.types import Keypair

_NAME = re.compile(r"^[a-zA-Z0-9 _-]{1,255}\Z")
_WIDE_NAME = re.compile(r"^[a-zA-Z0-9 _@.-]{1,255}\Z")


#: Characters of a public key: every server that is ordered with it keeps a copy.
MOST_KEY = 16384


class KeypairIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    public_key: str | None = None
    type: str = "ssh"
    user_id: str | None = None


class Keypairs(Handlers):
    """/os-keypairs."""

    def _user(self, call: Call, verb: str, wanted: str | None) -> str:
        """Whose key pairs: the caller's, or for administrators (2.10) somebody's."""
        user_id = wanted or call.caller.user_id or ""
        call.require(f"os_compute_api:os-keypairs:{verb}", {"user_id": user_id})
        return user_id

    def _asked(self, call: Call, verb: str) -> str:
        wanted = dict(call.args).get("user_id") if call.version.minor >= 10 else None
        return self._user(call, verb, wanted)

    async def index(self, call: Call) -> Reply:
        """GET /os-keypairs."""
        user_id = self._asked(call, "index")
        found = await self.compute.db.read(lambda conn: keypair_store.of_user(conn, user_id))
        body: Body = {}
        if call.version.minor >= 35:
            marker, limit = dict(call.args).get("marker"), number(call, "limit")
            if marker is not None:
                names = [key.name for key in found]
                if marker not in names:
                    raise Invalid(f"marker [{marker}] not found")
                found = found[names.index(marker) + 1 :]
            most = MOST if limit is None else min(limit, MOST)
            found = found[:most]
            if limit and len(found) == limit:
                link = next_link(call, found[-1].name, limit)
                body["keypairs_links"] = [{"rel": "next", "href": link}]
        body["keypairs"] = [{"keypair": _brief(call, key)} for key in found]
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        """GET /os-keypairs/{id}."""
        user_id, name = self._asked(call, "show"), call.params["id"]
        key = await self.compute.db.read(lambda conn: keypair_store.find(conn, user_id, name))
        if key is None:
            raise Missing(f"Keypair {name} not found for user {user_id}")
        whole: Body = {
            **_brief(call, key),
            "user_id": key.user_id,
            "created_at": naive(key.created_at),
            "updated_at": None,
            "deleted": False,
            "deleted_at": None,
            "id": key.number,
        }
        return Reply({"keypair": whole})

    async def create(self, call: Call) -> Reply:
        """POST /os-keypairs; makes a key where the client sent none (before 2.92)."""
        given = mapping(part(call.body, "keypair"), "keypair")
        since(call, given, {"type": 2, "user_id": 10})
        order = read(KeypairIn, given, "keypair")
        pattern = _WIDE_NAME if call.version.minor >= 92 else _NAME
        if not pattern.match(order.name) or order.name != order.name.strip():
            raise Invalid(f"Keypair data is invalid: the name {order.name!r} has unsafe characters")
        if order.type != "ssh":
            raise Invalid(
                "Keypairs of type x509 are not supported: machines here are reached by ssh."
            )
        if order.public_key is not None and len(order.public_key) > MOST_KEY:
            raise Invalid(
                f"Keypair data is invalid: the public key has more than {MOST_KEY} characters"
            )
        if order.public_key is None and call.version.minor >= 92:
            raise Invalid("Invalid input for field/attribute keypair: 'public_key' is required.")
        user_id = self._user(call, "create", order.user_id)
        private, public = None, order.public_key
        if public is None:
            private, public = _generate()
        mark = fingerprint(public)

        def change(conn: sa.Connection) -> None:
            total, taken = keypair_store.hold(conn, user_id, order.name)
            if taken:
                raise Conflict(f"Key pair '{order.name}' already exists.")
            # A person's keys, by the limit of the project in which one more is wanted.
            most = self.compute.limits(conn, call.caller.project_id or "")["key_pairs"]
            if 0 <= most <= total:
                raise Fault("Quota exceeded, too many key pairs.", kind=Kind.LIMIT)
            keypair_store.insert(
                conn,
                user_id=user_id,
                name=order.name,
                type=order.type,
                public_key=public,
                fingerprint=mark,
                created_at=self.compute.now(),
            )

        # Counted under a lock of the person's own.
        await self.compute.db.write(change, serializable=False)
        shown: dict[str, Any] = {
            "name": order.name,
            "public_key": public,
            "fingerprint": mark,
            "user_id": user_id,
        }
        if call.version.minor >= 2:
            shown["type"] = order.type
        if private is not None:
            shown["private_key"] = private
        return Reply({"keypair": shown}, status=201 if call.version.minor >= 2 else 200)

    async def delete(self, call: Call) -> Reply:
        """DELETE /os-keypairs/{id}."""
        user_id, name = self._asked(call, "delete"), call.params["id"]
        # One statement.
        if not await self.compute.db.write(
            lambda conn: keypair_store.delete(conn, user_id, name), serializable=False
        ):
            raise Missing(f"Keypair {name} not found for user {user_id}")
        return Reply(status=204 if call.version.minor >= 2 else 202)


def _brief(call: Call, key: Keypair) -> Body:
    shown: Body = {
        "name": key.name,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
    }
    if call.version.minor >= 2:
        shown["type"] = key.type
    return shown


def fingerprint(public_key: str) -> str:
    """MD5 of an OpenSSH public key with colons, as the Compute API shows it."""
    words = public_key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        named = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii")
    except (IndexError, binascii.Error, ValueError):
        named = ""
        blob = b""
    if not named or named != words[0]:
        raise Invalid("Keypair data is invalid: failed to generate fingerprint")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def _generate() -> tuple[str, str]:
    """A new key: private half (shown once, kept nowhere) and public half."""
    # Keys of all kinds, and bcrypt for those with a password: most users bring their own public key.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private, f"{public.decode()} Generated-by-Ingot"
