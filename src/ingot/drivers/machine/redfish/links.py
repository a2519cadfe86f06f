"""Links of a Redfish service: followed at the service itself, never elsewhere.

A controller is one machine's, and may be in a stranger's hands; its links are its own words. Whatever it names,
requests with the cloud's credentials go to the scheme, host and port that driver_info names; one that is moved from
http to https goes on at the same host.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit

from ingot.drivers.faults import Refused
from ingot.kit.http.untrusted import words

LONGEST_LINK = 4096
MOST_REDIRECTS = 5
PORTS = {"http": 80, "https": 443}
#: What URL readers take differently: some end at it, some take it for a slash.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


def confined(base: str, link: str) -> str:
    """The path and query that `link` names at `base`. Refused when it is no path, or one of another place."""
    if len(link) > LONGEST_LINK or _ODD.search(link):
        raise _elsewhere(base, link)
    if link.startswith("/") and not link.startswith("//"):
        return link
    try:
        parts = urlsplit(link)
        there = _origin(parts)
    except ValueError:
        raise _elsewhere(base, link) from None
    if there != _origin(urlsplit(base)):
        raise _elsewhere(base, link)
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def redirected(base: str, path: str, location: str) -> str:
    """Where a redirect from `path` leads at `base`; Refused when it leads elsewhere."""
    if len(location) > LONGEST_LINK or _ODD.search(location):
        raise _elsewhere(base, location)
    try:
        return confined(base, urljoin(base + path, location))
    except ValueError:
        raise _elsewhere(base, location) from None


def upgraded(base: str, path: str, location: str) -> str:
    """The place, with https, to which a redirect moves what is at `path` of a place without; "" for other redirects.

    The same host, and https's own port or the one that was named. The other way is no redirect that is followed.
    """
    if len(location) > LONGEST_LINK or _ODD.search(location):
        return ""
    try:
        here, there = urlsplit(base), urlsplit(urljoin(base + path, location))
        origin, named = _origin(there), _origin(here)
    except ValueError:
        return ""
    if origin is None or named is None or (named[0], origin[0]) != ("http", "https"):
        return ""
    if origin[1] != named[1] or origin[2] not in (PORTS["https"], named[2]):
        return ""
    host = f"[{origin[1]}]" if ":" in origin[1] else origin[1]
    return f"https://{host}" + ("" if origin[2] == PORTS["https"] else f":{origin[2]}")


def path_of(location: str) -> str:
    """The path of a Location header, "" when it has none.

    Many services put their own idea of their host before it; the path is asked for at the host we know.
    """
    try:
        path = urlsplit(location).path
    except ValueError:
        return ""
    return path if path.startswith("/") and not path.startswith("//") else ""


def _origin(parts: SplitResult) -> tuple[str, str, int | None] | None:
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def _elsewhere(base: str, link: str) -> Refused:
    return Refused(
        f"the service points to {words(link, 200) or 'nothing'!r}, which is not at {base}",
        next_action="Set redfish_address to where the service is, or look at the controller: it may be hostile.",
    )
