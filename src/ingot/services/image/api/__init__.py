"""The Image API v2 on the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.api.paging import next_link
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Conflict, Fault, Forbidden, Invalid, Kind, Missing
from ingot.kit.http.files import byte_range, range_headers
from ingot.services.image import patching, queries, schemas, store
from ingot.services.image.api.common import moment, need, needed
from ingot.services.image.api.members import member_operations
from ingot.services.image.service import Download, Images, new_row, target
from ingot.services.image.store import Row

if TYPE_CHECKING:
    from ingot.kit.api.operations import Authenticator

_NEWEST = 17
STORE = "file"
_IMPORT_METHODS = ["glance-direct"]


def envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """`{"error": {code, title, message}}`, from which stock clients read the message."""
    phrase = HTTPStatus(status).phrase
    error = {"code": status, "title": phrase, "message": fault.sentence()}
    return msgspec.json.encode({"error": error}), "application/json"


def make_service(images: Images, authenticator: Authenticator, prefix: str = "/image") -> Service:
    """All rows of the Image API."""
    api = _Api(images)
    one, file = "/v2/images/{image_id}", "/v2/images/{image_id}/file"
    actions, tag = one + "/actions", one + "/tags/{tag}"

    def row(verb: str, path: str, handler: Any, rule: str, status: int = 200, **more: Any) -> Any:
        return Operation(verb, path, handler, rule=rule, late=True, status=status, **more)

    rows = [
        Operation("GET", "", _versions, rule=None, status=300),
        Operation("GET", "/versions", _versions, rule=None),
        Operation("GET", "/v2", _versions, rule=None),
        row("POST", "/v2/images", api.create, "add_image", 201, body=schemas.ImageBody),
        row("GET", "/v2/images", api.index, "get_images"),
        row("GET", one, api.show, "get_image"),
        row("PATCH", one, api.update, "modify_image", body=list[Any]),
        row("DELETE", one, api.delete, "delete_image", 204),
        row("PUT", file, api.upload, "upload_image", 204, stream=True),
        row("GET", file, api.download, "download_image"),
        row("PUT", one + "/stage", api.stage, "stage_image", 204, stream=True),
        row("POST", one + "/import", api.import_, "import_image", 202, body=schemas.ImportBody),
        row("POST", actions + "/deactivate", api.deactivate, "deactivate", 204),
        row("POST", actions + "/reactivate", api.reactivate, "reactivate", 204),
        row("PUT", tag, api.add_tag, "modify_image", 204),
        row("DELETE", tag, api.drop_tag, "modify_image", 204),
        *member_operations(images),
        row("GET", "/v2/schemas/{name}", _schema, "default"),
        row("GET", "/v2/info/import", _info_import, "default"),
        row("GET", "/v2/info/stores", _info_stores, "default"),
    ]
    return Service(
        name="image",
        prefix=prefix,
        operations=rows,
        envelope=envelope,
        policy=images.policy,
        authenticator=authenticator,
        status={Kind.FULL: 413},
        collections=frozenset({"/v2/images"}),
    )


def provisioning_operations(images: Images) -> list[Operation]:
    """Content by deploy URL. The token is the right; there is nobody to authenticate."""

    async def fetch(call: Call) -> Reply:
        token = call.params["token"]
        reply = await _send(call, images, await images.by_ticket(token))
        if reply.stream is not None:
            reply.stream = _counted(images, token, reply.stream)
        return reply

    return [Operation("GET", "/images/{token}", fetch, rule=None, title="Fetch a deploy image")]


async def _counted(
    images: Images, token: str, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """The chunks, counted as they go out: a deploy's progress is what its machine has fetched."""
    async for chunk in chunks:
        images.count_sent(token, len(chunk))
        yield chunk


# -- documents ---------------------------------------------------------------------------------


async def _versions(call: Call) -> Reply:
    links = [{"rel": "self", "href": f"{call.base_url}/v2/"}]
    versions = [
        {
            "id": f"v2.{minor}",
            "status": "CURRENT" if minor == _NEWEST else "SUPPORTED",
            "links": links,
        }
        for minor in range(_NEWEST, -1, -1)
        if minor not in (10, 11, 14)  # never released upstream
    ]
    return Reply({"versions": versions})


async def _schema(call: Call) -> Reply:
    found = schemas.SCHEMAS.get(call.params["name"])
    if found is None:
        raise Missing(f"There is no schema {call.params['name']}.")
    return Reply(found)


async def _info_import(_call: Call) -> Reply:
    methods = {"description": "Import methods available.", "type": "array"}
    return Reply({"import-methods": {**methods, "value": _IMPORT_METHODS}})


async def _info_stores(_call: Call) -> Reply:
    return Reply({"stores": [{"id": STORE, "default": "true"}]})


def image_body(row: Row) -> Row:
    """An image on the wire; free properties stand beside the fields."""
    path = f"/v2/images/{row['id']}"
    # Upstream names the stores of what has content.
    stores = {"stores": STORE} if row["size"] is not None else {}
    return {
        **row["properties"],
        **stores,
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "visibility": row["visibility"],
        "protected": bool(row["protected"]),
        "os_hidden": bool(row["os_hidden"]),
        "checksum": row["checksum"],
        "os_hash_algo": row["os_hash_algo"],
        "os_hash_value": row["os_hash_value"],
        "owner": row["owner"],
        "size": row["size"],
        "virtual_size": row["virtual_size"],
        "min_disk": row["min_disk"],
        "min_ram": row["min_ram"],
        "disk_format": row["disk_format"],
        "container_format": row["container_format"],
        "created_at": moment(row["created_at"]),
        "updated_at": moment(row["updated_at"]),
        "tags": row["tags"],
        "self": path,
        "file": path + "/file",
        "schema": "/v2/schemas/image",
    }


# -- images ------------------------------------------------------------------------------------


class _Api:
    def __init__(self, images: Images) -> None:
        self._images = images

    async def _get(self, call: Call, rule: str) -> Row:
        return await needed(self._images, call, rule)

    async def create(self, call: Call) -> Reply:
        values, properties = schemas.settable(call.body)
        caller = call.caller
        row = new_row(values, properties, caller.project_id, self._now())
        if values.get("owner", caller.project_id) != caller.project_id:
            call.require("context_is_admin", target(row))
        call.require("add_image", target(row))
        self._check_visibility(call, row, row["visibility"])
        await self._images.db.write(lambda conn: store.insert(conn, row))
        headers = {
            "Location": f"{call.base_url}/v2/images/{row['id']}",
            "OpenStack-image-import-methods": ",".join(_IMPORT_METHODS),
            "OpenStack-image-store-ids": STORE,
        }
        return Reply(image_body(row), headers=headers)

    async def index(self, call: Call) -> Reply:
        call.require("get_images")
        wanted = queries.read(call.args, call.caller)

        def find(conn: sa.Connection) -> tuple[list[Row], bool]:
            marker = None
            if wanted.marker is not None:
                marker = store.get(conn, wanted.marker)
                if marker is None or not self._images.allows(
                    "get_image", call.caller, marker, conn
                ):
                    raise Invalid(f"Invalid marker: no image has the ID {wanted.marker}.")
            return store.find(conn, wanted.filters, wanted.order, wanted.limit, marker)

        shown, more = await self._images.db.scan(find)
        body: Row = {
            "images": [image_body(row) for row in shown],
            "first": _relative(call, call.url),
            "schema": "/v2/schemas/images",
        }
        if more and shown:
            body["next"] = _relative(call, next_link(call, shown[-1]["id"], wanted.limit))
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        return Reply(image_body(await self._get(call, "get_image")))

    async def update(self, call: Call) -> Reply:
        changes = patching.read(call.body, call.header("Content-Type"))

        def change(conn: sa.Connection) -> Row:
            now = need(conn, self._images, call, "modify_image", hold=True)
            values, properties = patching.apply(now, now["properties"], changes)
            self._check_change(call, now, values)
            stamp = {"updated_at": self._now()}
            whole = {**values, "properties": properties, **stamp}
            return store.update(conn, now["id"], whole) or now

        # All that decides is in the row, which is locked first.
        return Reply(image_body(await self._images.db.write(change, serializable=False)))

    async def delete(self, call: Call) -> None:
        await self._images.remove(lambda conn: need(conn, self._images, call, "delete_image"))

    # -- content -----------------------------------------------------------------------------

    async def upload(self, call: Call) -> None:
        await self._take(call, "upload_image", self._images.receive)

    async def stage(self, call: Call) -> None:
        await self._take(call, "stage_image", self._images.stage)

    async def _take(self, call: Call, rule: str, receive: Any) -> None:
        media = (call.header("Content-Type") or "").partition(";")[0].strip().lower()
        if media != "application/octet-stream":
            raise Fault(
                "The content of an image is sent as application/octet-stream.",
                kind=Kind.MEDIA_TYPE,
            )
        row = await self._get(call, rule)
        length = call.header("Content-Length")
        announced = int(length) if length and length.isdecimal() else None
        await receive(row, call.stream(), announced)

    async def import_(self, call: Call) -> None:
        row = await self._get(call, "import_image")
        method = call.body.method.name
        if method not in _IMPORT_METHODS:
            raise Invalid(f"Unknown import method name '{method}'. Known: glance-direct.")
        await self._images.import_staged(row)

    async def download(self, call: Call) -> Reply:
        row = await self._get(call, "download_image")
        if row["status"] == "deactivated":
            call.require("context_is_admin", target(row))
        found = await self._images.download(row)
        if found is None:
            return Reply(status=204)
        reply = await _send(call, self._images, found)
        reply.headers["Content-MD5"] = row["checksum"]
        return reply

    # -- small changes -----------------------------------------------------------------------

    async def deactivate(self, call: Call) -> None:
        await self._switch(call, "deactivate", ("active", "deactivated"), "deactivated")

    async def reactivate(self, call: Call) -> None:
        await self._switch(call, "reactivate", ("deactivated", "active"), "active")

    async def _switch(self, call: Call, rule: str, before: tuple[str, ...], after: str) -> None:
        stamp = {"updated_at": self._now()}

        def change(conn: sa.Connection) -> None:
            row = need(conn, self._images, call, rule)
            if not store.move(conn, row["id"], before, after, stamp):
                raise Forbidden(f"Not allowed to {rule} an image in status '{row['status']}'")

        await self._images.db.write(change)

    async def add_tag(self, call: Call) -> None:
        await self._tag(call, True)

    async def drop_tag(self, call: Call) -> None:
        await self._tag(call, False)

    async def _tag(self, call: Call, wanted: bool) -> None:
        tag = call.params["tag"]
        if len(tag) > 255:
            raise Invalid("A tag has 255 characters at most.")

        def change(conn: sa.Connection) -> None:
            row = need(conn, self._images, call, "modify_image", hold=True)
            tags = set(row["tags"])
            if not wanted and tag not in tags:
                raise Missing(f"Image {row['id']} has no tag {tag}.")
            tags = tags | {tag} if wanted else tags - {tag}
            if len(tags) > 128:
                raise Fault("An image has 128 tags at most.", kind=Kind.TOO_LARGE)
            values = {"tags": sorted(tags), "updated_at": self._now()}
            store.update(conn, row["id"], values)

        await self._images.db.write(change, serializable=False)

    # -- inside ------------------------------------------------------------------------------

    def _now(self) -> str:
        return timestamp(self._images.clock.now())

    @staticmethod
    def _check_visibility(call: Call, row: Row, visibility: str) -> None:
        rules = {"public": "publicize_image", "community": "communitize_image"}
        if visibility in rules:
            call.require(rules[visibility], target(row))

    def _check_change(self, call: Call, row: Row, values: Row) -> None:
        """What may be changed by whom and when."""
        if "visibility" in values:
            self._check_visibility(call, row, values["visibility"])
        if "owner" in values:
            call.require("context_is_admin", target(row))
        for fixed in ("disk_format", "container_format"):
            # The content was inspected against these.
            if fixed in values and row["status"] != "queued":
                raise Forbidden(f"Attribute {fixed} can be only replaced for a queued image.")


def _relative(call: Call, url: str) -> str:
    """A link as Glance gives it: from the service's root."""
    return url[url.index("/v2/") :] if "/v2/" in url else url


# -- sending -----------------------------------------------------------------------------------


async def _send(call: Call, images: Images, found: Download) -> Reply:
    """Content, whole or a range of it."""
    first, last, partial = byte_range(call.header("Range"), found.size)
    headers = range_headers(first, last, found.size, partial)
    headers["ETag"] = f'"{found.digest[:64]}"'
    try:
        stream = await images.blobs.read(found.path, first, last - first + 1)
    except FileNotFoundError:
        raise Conflict("The image's content is not on this host.") from None
    return Reply(
        status=206 if partial else 200,
        headers=headers,
        stream=stream,
        content_type="application/octet-stream",
    )
