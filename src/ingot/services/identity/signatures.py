"""Signatures of requests by an EC2 secret key: AWS Signature Version 2 and Version 4.

Source: AWS General Reference, "Signature Version 2 signing process"; AWS IAM User Guide, "Create a signed AWS API
request". The request itself is told by the service that got it (`SignedRequest`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from ingot.kit.faults import Invalid

#: A signature may be so old, or its maker's clock so wrong. As Keystone's `auth_ttl`.
LIFE = timedelta(minutes=15)
_SAFE = "-_.~"
_HASHES = {"HmacSHA256": hashlib.sha256, "HmacSHA1": hashlib.sha1}


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as another service got it. body_hash: SHA-256 of its body in hexadecimal digits."""

    verb: str
    host: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body_hash: str = ""

    def header(self, name: str) -> str:
        """A header by its name in any case; "" for none."""
        found = {key.strip().lower(): value.strip() for key, value in self.headers.items()}
        return found.get(name.lower(), "")

    def part(self, name: str) -> str:
        """A part of a signature of Version 4, from the header Authorization or the query string."""
        told = self.header("Authorization")
        if not told:
            return self.params.get(f"X-Amz-{name}", "")
        return told.partition(f"{name}=")[2].partition(",")[0].strip()

    @property
    def version(self) -> int:
        """2 or 4; Invalid for others."""
        if self.params.get("SignatureVersion") == "2":
            return 2
        algorithm = self.params.get("X-Amz-Algorithm") or self.header("Authorization")
        if algorithm.startswith("AWS4-HMAC-SHA256"):
            return 4
        raise Invalid("The signature must be of AWS Signature Version 2 or 4.")

    @property
    def date(self) -> str:
        """When it was signed, as the signature has it; "" where it does not say."""
        return (
            self.params.get("Timestamp")
            or self.header("X-Amz-Date")
            or self.params.get("X-Amz-Date", "")
        )


def check_date(request: SignedRequest, now: datetime) -> bool:
    """Whether the signature is of now, within `LIFE`. One of Version 2 may leave its date away, as with Keystone."""
    if not request.date:
        return request.version == 2
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"):
        try:
            at = datetime.strptime(request.date, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return abs(now - at) <= LIFE
    return False


def is_signed(request: SignedRequest, secret: str, signature: str) -> bool:
    """Whether `signature` is that of the request by this secret key; with the port in the host's name or without."""
    hosts = dict.fromkeys((request.host, request.host.partition(":")[0]))
    made = (
        [_version_2(request, host, secret) for host in hosts]
        if request.version == 2
        else [_version_4(request, secret)]
    )
    return any(hmac.compare_digest(one.encode(), signature.encode()) for one in made if one)


def _query(params: Mapping[str, str], leave_out: str) -> str:
    pairs = sorted(
        (quote(name, safe=_SAFE), quote(value, safe=_SAFE))
        for name, value in params.items()
        if name != leave_out
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _version_2(request: SignedRequest, host: str, secret: str) -> str:
    made_with = _HASHES.get(request.params.get("SignatureMethod", "HmacSHA256"))
    if made_with is None:
        return ""
    text = "\n".join(
        (request.verb, host.lower(), request.path, _query(request.params, "Signature"))
    )
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), made_with)).decode()


def _version_4(request: SignedRequest, secret: str) -> str:
    """ "" where the parts of the signature do not fit each other."""
    scope = request.part("Credential").split("/")[1:]
    if len(scope) != 4 or not request.date.startswith(scope[0]):
        return ""
    names = request.part("SignedHeaders").split(";")
    headers = "".join(f"{name}:{request.header(name)}\n" for name in names)
    # What a POST asks is in its body, of which the hash is signed.
    query = "" if request.verb.upper() == "POST" else _query(request.params, "X-Amz-Signature")
    asked = "\n".join(
        (request.verb.upper(), request.path, query, headers, ";".join(names), request.body_hash)
    )
    hashed = hashlib.sha256(asked.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", request.date, "/".join(scope), hashed))
    key = f"AWS4{secret}".encode()
    for word in scope:
        key = hmac.digest(key, word.encode(), hashlib.sha256)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
