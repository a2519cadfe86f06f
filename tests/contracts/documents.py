"""Judges answers by a service's own OpenAPI document."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import jsonschema

from ingot.kit.api.openapi import document
from ingot.kit.api.operations import Service
from ingot.kit.api.versions import Version


class Documents:
    """The documents of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, dict[str, Any]] = {}

    def at(self, version: str) -> dict[str, Any]:
        """The document at a microversion such as "1.3"; the default's for ""."""
        if version not in self._known:
            versions = self._service.versions
            default = versions.default if versions else None
            found = Version.parse(version) if version else default
            self._known[version] = document(self._service, found)
        return self._known[version]

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Paths as patterns, those with fewer parameters first."""
        paths = {self._service.prefix + row.path for row in self._service.operations}
        ordered = sorted(paths, key=lambda path: (path.count("{"), path))
        return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), path) for path in ordered]

    def judge(self, method: str, path: str, version: str, status: int, body: Any) -> None:
        """Fails with what is wrong with an answer; answers on paths that no operation has are not judged."""
        plain = path.partition("?")[0]
        template = next((name for pattern, name in self._patterns if pattern.match(plain)), None)
        whole = self.at(version)
        told = whole["paths"].get(template, {}).get(method.lower()) if template else None
        if told is None:
            assert status in (401, 404, 405, 406), f"{method} {path}: {status} of nothing"
            return
        answer = told["responses"].get(str(status))
        assert answer is not None, f"{method} {template}: {status} is in no document: {body}"
        if "$ref" in answer:
            answer = whole["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        content = list(answer.get("content", {}).values())
        if not content:
            assert body is None, f"{method} {template}: {status} has a body: {body}"
            return
        schema = {**content[0]["schema"], "components": whole["components"]}
        wrong = jsonschema.Draft202012Validator(schema).iter_errors(body)
        problem = next(iter(wrong), None)
        assert problem is None, (
            f"{method} {template}: {status}: {problem.message if problem else ''}"
        )
