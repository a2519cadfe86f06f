"""EC2 keys of users, and tokens for requests that were signed with them.

An EC2 key is a credential of type ec2 (`credentials`), shown here in the form of OS-EC2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.auth import TokenApi
from ingot.services.identity.api.common import MAX_BODY, Row, guarded, linked, listing
from ingot.services.identity.api.credentials import EC2, access_id, key_of, undelegated
from ingot.services.identity.login import log_in_by_signature, refused
from ingot.services.identity.signatures import SignedRequest, check_date, is_signed

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _Keys(identity, TokenApi(identity, prefix))
    many = "/v3/users/{user_id}/credentials/OS-EC2"
    one = many + "/{credential_id}"
    new, one_key, keys = schemas.Ec2New, schemas.Ec2KeyReply, schemas.Ec2KeysReply
    return [
        guarded("GET", many, api.index, "ec2_list_credentials", reply=keys),
        guarded("POST", many, api.create, "ec2_create_credential", 201, body=new, reply=one_key),
        guarded("GET", one, api.show, "ec2_get_credential", reply=one_key),
        guarded("DELETE", one, api.delete, "ec2_delete_credential", 204),
        Operation(
            "POST",
            "/v3/ec2tokens",
            api.token,
            rule="identity:ec2tokens_validate",
            body=schemas.Ec2Request,
            max_body=MAX_BODY,
        ),
    ]


class _Keys:
    def __init__(self, identity: Identity, tokens: TokenApi) -> None:
        self._identity, self._tokens = identity, tokens

    def _body(self, row: Row, base_url: str) -> Row:
        key = key_of(self._identity.vault.open(row["blob"]))
        body = {
            **key,
            "user_id": row["user_id"],
            "tenant_id": row["project_id"],
            "trust_id": None,
        }
        path = f"users/{row['user_id']}/credentials/OS-EC2/{key['access']}"
        return linked(body, base_url, path)

    @staticmethod
    def _check(call: Call, rule: str) -> str:
        user_id = call.params["user_id"]
        undelegated(call)
        call.require(f"identity:{rule}", {"user_id": user_id, "target.credential.user_id": user_id})
        return user_id

    @staticmethod
    def _find(conn: sa.Connection, call: Call, user_id: str) -> Row:
        row = store.get(conn, tables.credentials, access_id(call.params["credential_id"]))
        if row is None or row["user_id"] != user_id or row["type"] != EC2:
            raise Missing("Could not find the EC2 access key.")
        return row

    async def index(self, call: Call) -> Reply:
        user_id = self._check(call, "ec2_list_credentials")
        wanted = [("user_id", user_id), ("type", EC2)]
        rows = await self._identity.db.read(
            lambda conn: store.find(conn, tables.credentials, wanted)
        )
        return listing(call, "credentials", rows, self._body)

    async def show(self, call: Call) -> Reply:
        user_id = self._check(call, "ec2_get_credential")
        row = await self._identity.db.read(lambda conn: self._find(conn, call, user_id))
        return Reply({"credential": self._body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        user_id = self._check(call, "ec2_create_credential")
        key = {"access": ids.new_hex(), "secret": ids.new_secret(32)}
        row: Row = {
            "id": access_id(key["access"]),
            "user_id": user_id,
            "project_id": call.body.tenant_id,
            "type": EC2,
            "blob": self._identity.vault.seal(json.dumps(key)),
            "app_cred_id": call.caller.extra.get("application_credential_id"),
        }

        def make(conn: sa.Connection) -> None:
            store.need(conn, tables.users, user_id, "user")
            store.need(conn, tables.projects, row["project_id"], "project")
            store.insert(conn, tables.credentials, row, "credential")

        await self._identity.write(make)
        return Reply({"credential": self._body(row, call.base_url)})

    async def delete(self, call: Call) -> None:
        user_id = self._check(call, "ec2_delete_credential")

        def remove(conn: sa.Connection) -> None:
            store.delete(conn, tables.credentials, self._find(conn, call, user_id)["id"])

        await self._identity.write(remove)

    async def token(self, call: Call) -> Reply:
        """A token for who signed a request, asked for by the service that got the request."""
        shown = call.body.credentials or call.body.ec2Credentials
        if shown is None:
            raise Invalid("Expecting to find credentials in the body.")
        call.deed.logs_in(None, f"EC2 key {shown.access}")
        request = SignedRequest(
            shown.verb, shown.host, shown.path, shown.params, shown.headers, shown.body_hash
        )
        key = await self._identity.db.read(
            lambda conn: store.get(conn, tables.credentials, access_id(shown.access))
        )
        secret = ""
        if key is not None and key["type"] == EC2:
            secret = key_of(self._identity.vault.open(key["blob"]))["secret"]
        # Computed for a key that is not there too: both answers take the same time.
        good = is_signed(request, secret or "-", shown.signature)
        if key is None or not secret or not good:
            raise refused("no such EC2 key, or a wrong signature")
        if not check_date(request, self._identity.clock.now()):
            raise refused("the signature is too old, or of another time")
        token, grant = await log_in_by_signature(self._identity, key)
        call.deed.logs_in(grant.user["id"], grant.user["name"], scope="project")
        return await self._tokens.reply(call, grant, {"X-Subject-Token": token})
