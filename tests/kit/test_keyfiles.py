"""Key files: made once whatever races, never half, and looked at whenever they are read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault
from ingot.services.identity.tokens import TokenKeys
from ingot.services.image.deployurls import DeployKey


@pytest.mark.parametrize("kind", [Vault.at, TokenKeys, DeployKey])
@pytest.mark.parametrize("content", [b"", b"\n", b"abc", b"A" * 30])
def test_what_is_no_key_is_refused(tmp_path: Path, kind: object, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(Fault) as wrong:
        kind(file)  # type: ignore[operator]
    assert str(file) in wrong.value.text and "backup" in wrong.value.next_action
    assert file.read_bytes() == content


def test_the_second_key_is_looked_at_too(tmp_path: Path) -> None:
    file = tmp_path / "vault.key"
    file.write_bytes(Fernet.generate_key() + b"\n" + Fernet.generate_key()[:-7])
    with pytest.raises(Fault, match="key 2 is none"):
        Vault.at(file)


def test_many_make_one_key(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "vault.key"
    with ThreadPoolExecutor(16) as pool:
        vaults = list(pool.map(lambda _: Vault.at(file), range(64)))
    sealed = [vault.seal("x") for vault in vaults]
    assert all(vaults[0].open(text) == "x" for text in sealed)
    assert [path.name for path in file.parent.iterdir()] == ["vault.key"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_is_kept_when_it_is_told_to_be(tmp_path: Path) -> None:
    file = tmp_path / "vault.key"
    one, other = Vault.at(file, keep=False), Vault.at(file, keep=False)
    assert not file.exists()
    one.keep()
    other.keep()
    assert other.open(one.seal("x")) == "x" and one.open(other.seal("y")) == "y"


def test_keys_of_tokens_damaged_while_we_run(tmp_path: Path) -> None:
    keys = TokenKeys(tmp_path / "fernet-keys")
    (tmp_path / "fernet-keys").write_bytes(b"damaged")
    assert keys.open("gAAAAA" + "x" * 80) is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/vault.key")
    else:
        tmp_path.chmod(0o500)
        target = tmp_path / "vault.key"
    with pytest.raises(Fault, match="cannot be made"):
        Vault.at(target)
