"""Where controllers may be: what driver_info names is judged as what it leads to, when it is asked.

Whoever may edit a machine's driver_info need not be the cloud's operator, and the cloud's own host reaches more than
they do. See `kit.egress`.
"""

from __future__ import annotations

from ingot.drivers.faults import Unreachable, Unsupported
from ingot.kit.http.egress import Egress, is_refusal


def not_asked(option: str, error: BaseException) -> Unsupported | None:
    """The fault of a connection that was refused here, before anybody was asked; None for other errors."""
    if not is_refusal(error):
        return None
    return Unsupported(
        f"{option}: {getattr(error, 'strerror', None) or error}",
        next_action=f"Correct {option}; an operator may allow the address.",
    )


async def found(egress: Egress, option: str, host: str, port: int) -> str:
    """The address at which to ask the controller that `option` names.

    Unsupported where it leads to one that is not asked; Unreachable where it leads nowhere.
    """
    try:
        return await egress.find(host, port)
    except OSError as error:
        raise not_asked(option, error) or Unreachable(
            f"no controller is found at {host}: {error.strerror or error}"
        ) from None
