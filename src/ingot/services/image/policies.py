"""Policy of the Image API: upstream's names and defaults (Glance, 2025.2).

Targets: project_id (the owner), visibility, member_id (the caller's project when the image is shared
with it).
"""

from __future__ import annotations

_SEEN = (
    "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or "
    "project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s))"
)
_FETCHED = (
    "rule:context_is_admin or (role:member and (project_id:%(project_id)s or "
    "project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s))"
)
_OWNED = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"
_SHARED_WITH = "rule:context_is_admin or (role:reader and project_id:%(member_id)s)"

RULES: dict[str, str] = {
    "context_is_admin": "role:admin",
    "default": "",
    "get_images": "rule:context_is_admin or role:reader",
    "get_image": _SEEN,
    "download_image": _FETCHED,
    "add_image": _OWNED,
    "modify_image": _OWNED,
    "delete_image": _OWNED,
    "upload_image": _OWNED,
    "stage_image": _OWNED,
    "import_image": _OWNED,
    "publicize_image": "rule:context_is_admin",
    "communitize_image": _OWNED,
    "deactivate": _OWNED,
    "reactivate": _OWNED,
    "get_members": f"({_OWNED}) or (role:reader and project_id:%(project_id)s) or {_SHARED_WITH}",
    "get_member": f"({_OWNED}) or (role:reader and project_id:%(project_id)s) or {_SHARED_WITH}",
    "add_member": _OWNED,
    "delete_member": _OWNED,
    "modify_member": "rule:context_is_admin or (role:member and project_id:%(member_id)s)",
}
