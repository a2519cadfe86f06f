"""Secrets in driver_info and instance_info: out of what is shown, into what is sealed.

Pure. What clients see (and send back) carries `******` in the place of a secret; the secrets themselves
are a document of their own, by top-level key, so that laying it over the shown one gives the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from ingot.kit.http.untrusted import without_passwords

MASK = "******"

#: A key that contains one of these holds a secret, whatever the driver says of it.
TELLTALES = (
    "password",
    "passwd",
    "passphrase",
    "admin_pass",
    "adminpass",
    "new_pass",
    "secret",
    "token",
    "private_key",
    "encrypted_key",
    "sslkey",
    "snmp_auth_key",
    "snmp_priv_key",
    "pull_secret",
    "configdrive",
)
#: A key that contains one of these decides where the secrets beside it are sent, or to whom they are believed to go.
WAYS = (
    *("address", "host", "port", "url", "endpoint", "verify_ca", "insecure"),
    *("terminal", "bridg", "target_channel", "transit"),
)
#: Keys of instance_info that are secrets by themselves: whoever has the URL has the image.
INSTANCE_SECRETS = frozenset({"image_url", "configdrive"})
#: Keys of instance_info that may be URLs: of them the password is the secret.
INSTANCE_URLS = frozenset(
    {"image_source", "kernel", "ramdisk", "boot_iso", "image_checksum", "image_os_hash_value"}
)


def is_secret(key: str, names: Collection[str] = ()) -> bool:
    lowered = key.lower()
    return key in names or any(part in lowered for part in TELLTALES)


def leads_elsewhere(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a change may send the secrets of a document to where they have not been sent so far."""
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return any(way in key.lower() for key in changed for way in WAYS)


def without_masks(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the client itself has said of a document: nothing that stands for an old secret."""
    return {key: value for key, value in document.items() if not _stands_for(value)}


def _stands_for(value: object) -> bool:
    if isinstance(value, dict):
        return any(_stands_for(item) for item in cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return any(_stands_for(item) for item in cast("list[Any]", value))
    return value == MASK


def part(
    document: Mapping[str, Any],
    names: Collection[str],
    old: Mapping[str, Any] | None,
    urls: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to show and what to seal of a document that a client sent.

    old: the secrets sealed so far; where the client sent `******` back, the old secret stays. urls: keys whose
    values may be URLs with passwords in them.
    """
    known = old or {}
    shown: dict[str, Any] = {}
    sealed: dict[str, Any] = {}
    for key, value in document.items():
        public, hidden = _mask(key, value, names)
        if key in urls and isinstance(value, str):
            public = without_passwords(value)
            hidden = public != value or MASK in public
        shown[key] = public
        whole = _restore(value, known.get(key))
        if hidden and whole != public:
            sealed[key] = whole
    return shown, sealed


def _mask(key: str, value: object, names: Collection[str]) -> tuple[Any, bool]:
    if is_secret(key, names):
        return (value, False) if value is None or value == "" else (MASK, True)
    if isinstance(value, dict):
        inside = cast("dict[str, Any]", value)
        pairs = {name: _mask(name, item, names) for name, item in inside.items()}
        if any(hidden for _, hidden in pairs.values()):
            return {name: public for name, (public, _) in pairs.items()}, True
        return inside, False
    if isinstance(value, list):
        items = [_mask("", item, names) for item in cast("list[Any]", value)]
        if any(hidden for _, hidden in items):
            return [public for public, _ in items], True
        return cast("list[Any]", value), False
    return value, False


def _restore(value: object, old: object) -> object:
    if value == MASK and old is not None:
        return old
    if isinstance(value, str) and isinstance(old, str) and value == without_passwords(old):
        return old
    if isinstance(value, dict) and isinstance(old, dict):
        before = cast("dict[str, Any]", old)
        inside = cast("dict[str, Any]", value)
        return {name: _restore(item, before.get(name)) for name, item in inside.items()}
    if isinstance(value, list) and isinstance(old, list):
        earlier = cast("list[Any]", old)
        items = cast("list[Any]", value)
        if len(items) == len(earlier):
            return [_restore(a, b) for a, b in zip(items, earlier, strict=True)]
    return cast("object", value)
