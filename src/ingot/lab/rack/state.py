"""A rack's state directory: the rack as it was started, BMC password, disks, logs, processes."""

import os
import secrets
from pathlib import Path

import msgspec

from ingot.lab.rack import rackfile
from ingot.lab.rack.process import Record
from ingot.lab.rack.types import RackSpec


class StateDirectory:
    """Paths and small files under one directory (mode 0700)."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def read(self, file: Path | None, name: str | None = None) -> RackSpec:
        """Read a rack file (None: the built-in rack) with this directory's BMC password."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return rackfile.load(file, self._password(), name)

    def keep(self, spec: RackSpec) -> None:
        """Remember the rack that is brought up here, for `current`."""
        write_private(self.path / "rack.json", msgspec.json.format(msgspec.json.encode(spec)))

    def current(self) -> RackSpec | None:
        """The rack that was last brought up here, if any."""
        try:
            return msgspec.json.decode((self.path / "rack.json").read_bytes(), type=RackSpec)
        except FileNotFoundError:
            return None

    def machine(self, name: str) -> Path:
        """The folder of one machine's disks and logs, made if needed."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def processes(self) -> list[Record]:
        """Processes recorded by the supervisor; they may be dead by now."""
        try:
            text = (self.path / "processes.json").read_bytes()
        except FileNotFoundError:
            return []
        return msgspec.json.decode(text, type=list[Record])

    def record_processes(self, records: list[Record]) -> None:
        """Replace the record of what runs."""
        write_private(self.path / "processes.json", msgspec.json.encode(records))

    def forget_processes(self) -> None:
        """Nothing runs any more."""
        (self.path / "processes.json").unlink(missing_ok=True)

    def _password(self) -> str:
        """The BMCs' password, made once per state directory."""
        path = self.path / "password"
        try:
            return path.read_text()
        except FileNotFoundError:
            word = secrets.token_urlsafe(12)[:16].replace("-", "x").replace("_", "y")
            write_private(path, word.encode())
            return word


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; nobody but its owner can read it."""
    new = path.with_name(path.name + ".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
