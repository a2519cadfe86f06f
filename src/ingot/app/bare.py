"""uvicorn without its command line: 60 modules, click and multiprocessing among them, that no server of ours uses.

Its package imports the command line before any of its parts. Here the package is put in place without that;
what only the whole has (`uvicorn.run`) still loads the whole. Import this module before parts of uvicorn.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

_WHOLE = ("Server", "__version__", "main", "run")


def _put_in_place() -> None:
    spec = importlib.util.find_spec("uvicorn")
    if "uvicorn" in sys.modules or spec is None or spec.loader is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def rest(name: str) -> Any:
        if name not in _WHOLE:
            raise AttributeError(f"module 'uvicorn' has no attribute {name!r}")
        del package.__getattr__
        loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = rest
    sys.modules["uvicorn"] = package
    # Its parts ask the package for this one.
    package.Config = importlib.import_module("uvicorn.config").Config  # pyright: ignore[reportAttributeAccessIssue]


_put_in_place()
