"""Whose certificates a controller may show: `redfish_verify_ca`.

Whoever may edit driver_info names the path, and need not be the cloud's operator: a pipe or a file of the kernel would
hold up whoever reads it, and what is wrong with a file says what there is on this host.
"""

from __future__ import annotations

import os
import re
import ssl
import stat

from ingot.drivers.faults import Unsupported

_LONGEST = 4 << 20
_CERTIFICATES = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


def context_of(verify: bool | str) -> ssl.SSLContext | bool:
    """For aiohttp: False for no check, else what to check with. Reads files: to be called in a thread.

    verify: True for the host's own list of authorities, False, or the path of a PEM file or of a folder of such as
    c_rehash leaves it. Unsupported where that cannot be used.
    """
    if verify is False:
        return False
    context = ssl.create_default_context()
    # Controllers' own certificates often lack extensions that the strict profile wants.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if isinstance(verify, str):
        try:
            _trust(context, verify)
        except (OSError, ssl.SSLError, ValueError):
            raise Unsupported(
                f"redfish_verify_ca {verify} cannot be used",
                next_action="Give true, false, or the path of a readable PEM file or directory.",
            ) from None
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    # Without O_NONBLOCK, to open a pipe is to wait for who writes to it.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        state = os.fstat(file)
        if stat.S_ISDIR(state.st_mode):
            context.load_verify_locations(capath=path)
            return
        # Files of the kernel have no size.
        if not stat.S_ISREG(state.st_mode) or not 0 < state.st_size <= _LONGEST:
            raise ValueError("no file of certificates")
        text = os.read(file, _LONGEST)
    finally:
        os.close(file)
    found = b"\n".join(_CERTIFICATES.findall(text))
    if not found:
        raise ValueError("no certificates")
    context.load_verify_locations(cadata=found.decode("ascii"))
