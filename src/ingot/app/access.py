"""Who may come in: authenticators by mode, and the operator's policy files over the services' defaults."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.app.services import BY_NAME
from ingot.kit import log
from ingot.kit.api.operations import Authenticator, Service, Still
from ingot.kit.auth.policy import Policy
from ingot.kit.auth.policyfile import PolicyFile, load
from ingot.kit.auth.standalone import CHALLENGE, BasicAuth, everybody, still_everybody
from ingot.kit.faults import Invalid
from ingot.kit.tasks.clock import Clock
from ingot.services.identity.outside import OutsideIdentity, OutsideSettings
from ingot.settings import Settings
from ingot.settings import load as load_settings

_log = log.get("access")
#: How soon a changed policy file counts.
REREAD_SECONDS = 5.0


@dataclass(frozen=True)
class Gate:
    """How a service finds out who asks, who they are by now, and what its 401 asks for ("": our own identity service)."""

    authenticator: Authenticator
    still: Still
    challenge: str = ""


def outside_identity(settings: Settings, clock: Clock) -> OutsideIdentity | None:
    """The Keystone that knows the callers, where there is one."""
    own = settings.identity
    if settings.services.identity.mode != "external":
        return None
    return OutsideIdentity(
        clock,
        OutsideSettings(
            auth_url=own.auth_url,
            username=own.username,
            password=own.password,
            project_name=own.project_name,
            user_domain_name=own.user_domain_name,
            project_domain_name=own.project_domain_name,
            ca_file=own.ca_file,
            cache_seconds=own.cache_seconds,
        ),
    )


def baremetal_gate(settings: Settings, clock: Clock, tokens: Gate) -> Gate:
    """The Bare Metal API's own gate: tokens, or one of the modes without an identity service."""
    if settings.baremetal.auth_strategy == "noauth":
        _log.warning("everybody who reaches the Bare Metal API has every right", mode="noauth")
        return Gate(everybody, still_everybody)
    if settings.baremetal.auth_strategy == "http_basic":
        users = BasicAuth(Path(settings.baremetal.http_basic_auth_user_file), clock)
        return Gate(users, users.still, CHALLENGE)
    return tokens


# -- policy files --------------------------------------------------------------------------------


class PolicyFiles:
    """The operator's files over the policies of running services."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {
            name: Path(path) for name in BY_NAME if (path := getattr(settings.policy, name))
        }
        self._files: list[PolicyFile] = []

    def check(self) -> None:
        """Invalid, with file and line, when one of them cannot be used."""
        for name, path in self._paths.items():
            load(path, default_policy(name))

    def lay_over(self, services: Sequence[Service]) -> None:
        for service in services:
            path = self._paths.get(service.name)
            if path is not None:
                file = PolicyFile(path, service.policy)
                file.reread()
                self._files.append(file)

    async def reread(self) -> None:
        """Take what has changed; a file that cannot be used leaves the rules as they were."""
        for file in self._files:
            try:
                if file.reread():
                    _log.info("policy file read again", file=str(file.path))
            except Invalid as fault:
                _log.error("policy file refused; the rules stay as they were", fault=fault.text)

    @property
    def any(self) -> bool:
        return bool(self._paths)


def default_policy(name: str) -> Policy:
    """The rules of a service where no file says otherwise."""
    return BY_NAME[name].default_policy()


def policy_command(args: argparse.Namespace) -> str:
    """`ingot policy`: what to say. Invalid names file, line and rule."""
    settings = load_settings(args.config)
    services = [args.service] if args.service else list(BY_NAME)
    parts: list[str] = []
    for name in services:
        path = str(args.file or getattr(settings.policy, name)) if args.service else ""
        path = path or getattr(settings.policy, name)
        policy = default_policy(name)
        own = load(Path(path), policy) if path else {}
        if args.action == "check":
            if path:
                parts.append(f"{path}: {len(own)} rules over {len(policy.defaults)} of {name}")
        else:
            parts.append(_listed(name, policy, own))
    return "\n".join(parts) or "No policy file is named in the settings: the defaults count."


def _listed(name: str, policy: Policy, own: Mapping[str, str]) -> str:
    lines = [f"# {name}"]
    for rule, text in policy.rules.items():
        note = "  # from your file" if rule in own else ""
        lines.append(f"{json.dumps(rule)}: {json.dumps(text)}{note}")
    return "\n".join(lines)


__all__ = [
    "Gate",
    "PolicyFiles",
    "baremetal_gate",
    "outside_identity",
    "policy_command",
]
