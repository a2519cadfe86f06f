"""A thin client of the cloud's own APIs: clouds.yaml, a token, JSON. Standard library only, for a quick start."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

#: Where a token is asked for with `login`.
LOGIN = "/identity/v3/auth/tokens?nocatalog"


class CloudError(Exception):
    """What went wrong, for a person. status: of the reply, 0 where there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Cloud:
    """One cloud of a clouds.yaml, logged in at the first call."""

    def __init__(self, auth: dict[str, Any], trust: ssl.SSLContext | None = None) -> None:
        self._auth = auth
        self._trust = trust
        self._token = ""
        self._root = root_of(auth)

    def get(self, path: str, **headers: str) -> Any:
        """The JSON below the cloud's root, such as "/timeline/v1/events"."""
        response = self._open(path, headers)
        return json.loads(response.read() or b"null")

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """Server-sent events, decoded, until the server ends."""
        response = self._open(path, {"Accept": "text/event-stream"}, timeout=60)
        for line in response:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def _open(
        self, path: str, headers: dict[str, str], timeout: float = 30
    ) -> http.client.HTTPResponse:
        if not self._token:
            self._log_in()
        response = self._call("GET", path, None, {"X-Auth-Token": self._token, **headers}, timeout)
        if response.status >= 300:
            said = f"GET {path}: {response.status}: {_words(response.read())}"
            raise CloudError(said, response.status)
        return response

    def _log_in(self) -> None:
        body = login(self._auth)
        response = self._call("POST", LOGIN, json.dumps(body).encode(), {}, 30)
        text = response.read()
        if response.status != 201:
            raise CloudError(f"login failed: {_words(text)}")
        self._token = response.headers["X-Subject-Token"]

    def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        parts = urlsplit(self._root)
        connection = (
            http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=self._trust)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=timeout)
        )
        try:
            connection.request(
                method, parts.path + path, body, {"Content-Type": "application/json", **headers}
            )
            return connection.getresponse()
        except ssl.SSLError as error:
            raise CloudError(
                f"{self._root} is not trusted ({error}). Its certificate, or that of who signed it, belongs into "
                "`cacert` in clouds.yaml or OS_CACERT."
            ) from None
        except OSError as error:
            raise CloudError(
                f"{self._root} does not answer ({error}). Is `ingot serve` running?"
            ) from None


def _words(text: bytes) -> str:
    """The message inside any of our error envelopes: each service has its own."""
    try:
        (inner,) = json.loads(text).values()
        if isinstance(inner, str):  # Bare Metal's is JSON in JSON
            inner = json.loads(inner)
        return str(inner["message"] if "message" in inner else inner["faultstring"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return text.decode(errors="replace")[:300]


def cloud(name: str | None, file: str | None) -> Cloud:
    """The cloud that the options or the environment name (OS_CLOUD, OS_CLIENT_CONFIG_FILE)."""
    entry = entry_of(name, file)
    return Cloud(entry["auth"], trust_of(entry))


def trust_of(entry: dict[str, Any]) -> ssl.SSLContext | None:
    """Whom a cloud's `cacert` and `verify`, or OS_CACERT, trust; None for whom this host does. Raises CloudError."""
    if entry.get("verify") is False:
        return ssl._create_unverified_context()  # pyright: ignore[reportPrivateUsage]
    file = os.environ.get("OS_CACERT") or entry.get("cacert")
    if not file:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise CloudError(f"cacert {file} cannot be used: {error}") from None


def auth_of(name: str | None, file: str | None) -> dict[str, Any]:
    """The same cloud's `auth` in its clouds.yaml. Raises CloudError."""
    return entry_of(name, file)["auth"]


def entry_of(name: str | None, file: str | None) -> dict[str, Any]:
    """The same cloud's entry in its clouds.yaml. Raises CloudError."""
    import yaml

    wanted = name or os.environ.get("OS_CLOUD") or "ingot-system"
    files = [file or os.environ.get("OS_CLIENT_CONFIG_FILE") or ""]
    files += ["clouds.yaml", "var/clouds.yaml", str(Path.home() / ".config/openstack/clouds.yaml")]
    for path in filter(None, files):
        try:
            clouds: dict[str, Any] = yaml.safe_load(Path(path).read_text())["clouds"]
        except (OSError, KeyError, TypeError):
            continue
        if wanted in clouds:
            return clouds[wanted]
    raise CloudError(
        f"no cloud {wanted!r} found in {', '.join(filter(None, files))}; "
        "give --os-cloud and --clouds (`lab run`: --cloud), or set OS_CLOUD and OS_CLIENT_CONFIG_FILE "
        "(`ingot serve` writes clouds.yaml into its state folder)"
    )


def root_of(auth: dict[str, Any]) -> str:
    """The cloud's own address, below which all services answer."""
    root = str(auth["auth_url"]).rstrip("/")
    return root.removesuffix("/v3").removesuffix("/identity")


def login(auth: dict[str, Any]) -> dict[str, Any]:
    """What is sent to get a token: for the project that `auth` names, else for the whole system."""
    domain = {"name": auth.get("user_domain_name", "Default")}
    user = {"name": auth["username"], "password": auth["password"], "domain": domain}
    scope: dict[str, Any] = {"system": {"all": True}}
    if "project_name" in auth:
        scope = {"project": {"name": auth["project_name"], "domain": domain}}
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": scope,
        }
    }


def query(path: str, **values: Any) -> str:
    """A path with the values that are not None."""
    kept = {key: value for key, value in values.items() if value is not None}
    if not kept:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(kept)}"


def escaped(text: str) -> str:
    return quote(text, safe="")


def plain(text: str) -> str:
    """A text that came from outside as it may stand on a terminal: without control characters and escape codes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def common(parser: argparse.ArgumentParser, form: str = "one JSON object a line") -> None:
    """What every command has that asks a cloud: in which form, and which cloud. form: what `-f json` gives."""
    parser.add_argument(
        "-f", "--format", choices=("text", "json"), default="text", help=f"json: {form}"
    )
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help=argparse.SUPPRESS
    )
    parser.add_argument("--os-cloud", metavar="NAME", help="cloud in clouds.yaml")
    parser.add_argument("--clouds", metavar="FILE", help="clouds.yaml")


def count(text: str) -> int:
    """How many to list, for argparse."""
    number = int(text)
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError("must be 1 to 100000")
    return number


def moment(text: str) -> str:
    """A time for argparse: ISO 8601 (local where it has no offset), or how long ago (90s, 20m, 6h, 2d)."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    try:
        if unit and text[:-1].isdecimal():
            at = datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * unit)
        else:
            at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is neither a time (2026-01-31T12:00) nor so long ago (90s, 20m, 6h, 2d)"
        ) from None
    return at.isoformat()


def span(seconds: float) -> str:
    """Seconds in words for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def fail(error: Exception) -> int:
    print(f"ingot: {plain(str(error))}", file=sys.stderr)
    return 1
