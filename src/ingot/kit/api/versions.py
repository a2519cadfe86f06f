"""Microversions: negotiation, and fields that come and go with them.

A reply is rendered at the requested version exactly; a superset fails the strict clients. So every field
of a resource is one row of a table with its first and last version, and a reply picks the rows that are
visible. Source: the OpenStack API-SIG microversion specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ingot.kit.faults import Fault, Kind


class Version(NamedTuple):
    """A version such as 2.100; compares as numbers."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """The version in a text such as "1.15"; None when it is malformed."""
        major, dot, minor = text.strip().partition(".")
        if not (dot and major.isdecimal() and minor.isdecimal()):
            return None
        return cls(int(major), int(minor))


@dataclass(frozen=True)
class Microversions:
    """How one service negotiates.

    service_type: the word in `OpenStack-API-Version: <service_type> X.Y`.
    own_header: the service's older header, such as `X-OpenStack-Ironic-API-Version`; may be empty.
    default: the version of a request that names none.
    extent_headers: headers that tell minimum and maximum in every reply; may be empty.
    """

    service_type: str
    minimum: Version
    maximum: Version
    default: Version
    own_header: str = ""
    extent_headers: tuple[str, str] | None = None

    def negotiate(self, header: Callable[[str], str | None]) -> Version:
        """The effective version of a request; a fault of kind VERSION when it cannot be had."""
        wanted = self._wanted(header)
        if wanted is None:
            return self.default
        if wanted == "latest":
            return self.maximum
        version = Version.parse(wanted)
        if version is None:
            raise Fault(f"Invalid microversion: {wanted!r}.", kind=self._malformed())
        if not self.minimum <= version <= self.maximum:
            raise Fault(
                f"Version {version} is not supported by the API. Minimum is {self.minimum} and "
                f"maximum is {self.maximum}.",
                kind=Kind.VERSION,
            )
        return version

    def _malformed(self) -> Kind:
        return Kind.VERSION if self.service_type == "baremetal" else Kind.INVALID

    def _wanted(self, header: Callable[[str], str | None]) -> str | None:
        if self.own_header and (text := header(self.own_header)):
            return text.strip().lower()
        for part in (header("OpenStack-API-Version") or "").split(","):
            service, _, text = part.strip().partition(" ")
            if service.lower() == self.service_type and text:
                return text.strip().lower()
        return None

    def reply_headers(self, version: Version | None) -> dict[str, str]:
        """Headers of every reply: the extent and the version in force."""
        headers: dict[str, str] = {}
        if self.extent_headers:
            low, high = self.extent_headers
            headers[low], headers[high] = str(self.minimum), str(self.maximum)
        if version is not None:
            headers["OpenStack-API-Version"] = f"{self.service_type} {version}"
            if self.own_header:
                headers[self.own_header] = str(version)
        vary = ["OpenStack-API-Version"] + ([self.own_header] if self.own_header else [])
        headers["Vary"] = ", ".join(vary)
        return headers


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a resource on the wire.

    since, until: minor versions, both inclusive; until None means "still there".
    source: the name of the row's attribute when it differs from the wire's.
    """

    name: str
    since: int = 0
    until: int | None = None
    source: str = ""

    def visible(self, minor: int) -> bool:
        return self.since <= minor and (self.until is None or minor <= self.until)


class FieldTable:
    """The fields of a resource, in the order in which a reply shows them."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = tuple(fields)
        self.by_name = {field.name: field for field in self.fields}
        self._names: dict[int, tuple[str, ...]] = {}

    def names(self, version: Version) -> tuple[str, ...]:
        """The names that are visible at `version`."""
        minor = version.minor
        if minor not in self._names:
            self._names[minor] = tuple(f.name for f in self.fields if f.visible(minor))
        return self._names[minor]

    def pick(self, whole: Mapping[str, Any], version: Version) -> dict[str, Any]:
        """The visible part of a whole document of the newest form."""
        return {name: whole[name] for name in self.names(version) if name in whole}
