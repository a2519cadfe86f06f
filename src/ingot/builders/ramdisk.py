"""The agent ramdisk: stock ironic-python-agent on Debian packages.

Kernel and initramfs; the machine's whole system while it is inspected, cleaned,
written or rescued. The agent is unmodified; it takes its options from the kernel
command line (`ipa-api-url=…`). The recipe's `init` says what happens at boot.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ingot.builders.cache import RECIPES, cached, default_cache, recipe_digest
from ingot.builders.debian import MIRROR, bootstrap, read_list
from ingot.builders.host import check_host, run
from ingot.builders.types import BuildFault, Built, Progress
from ingot.kit.installers import find_pip, find_uv

MINIMUM_MEMORY_MIB = 2048
"""What a machine needs to boot the ramdisk and stream a raw image to its disk."""

_RECIPE = RECIPES / "ramdisk"


def build_ramdisk(
    cache: Path | None = None,
    *,
    progress: Progress,
    extra_packages: Sequence[str] = (),
    mirror: str = MIRROR,
    force: bool = False,
) -> Built:
    """Builds the agent ramdisk, or finds it in the cache.

    Files: `kernel`, `initramfs`, `packages`. `extra_packages` are Debian packages
    to add (firmware-* come from non-free-firmware). Raises BuildFault.
    """
    options = {"extra_packages": sorted(extra_packages), "mirror": mirror}
    digest = recipe_digest(_RECIPE, Path(__file__).parent, options)

    def make(work: Path) -> dict[str, str]:
        check_host()
        return _make(work, extra_packages, mirror, progress)

    return cached(
        cache or default_cache(),
        "ramdisk",
        digest,
        make,
        options=options,
        progress=progress,
        force=force,
    )


def _make(
    work: Path, extra_packages: Sequence[str], mirror: str, progress: Progress
) -> dict[str, str]:
    log = work.parent / f"{work.name.strip('.').split('.')[0]}.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="ingot-agent-") as scratch:
        # Readable for mmdebstrap's own user when it works without root.
        Path(scratch).chmod(0o755)
        site, recipe, out = Path(scratch, "site"), Path(scratch, "recipe"), Path(scratch, "out")
        out.mkdir()
        out.chmod(0o777)
        shutil.copytree(_RECIPE, recipe)
        progress("fetching the agent from PyPI")
        _install_agent(site, log)
        bootstrap(
            [*read_list(recipe / "packages"), *extra_packages],
            variant="essential",
            hooks={"customize": recipe / "customize"},
            # INITRD=No: Debian's kernel package makes no initramfs of its own.
            environment={"OUT": f"{out}", "SITE": f"{site}", "RECIPE": f"{recipe}", "INITRD": "No"},
            mirror=mirror,
            log=log,
            progress=progress,
        )
        for name in ("kernel", "initramfs", "packages.txt"):
            shutil.copyfile(out / name, work / name)
    return {"kernel": "kernel", "initramfs": "initramfs", "packages": "packages.txt"}


def _install_agent(site: Path, log: Path) -> None:
    requirements = str(_RECIPE / "requirements.txt")
    common = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "-r", requirements]
    target = ["--target", str(site), "--python-version", "3.11"]
    if uv := find_uv():
        platform = ["--python-platform", "x86_64-manylinux_2_36"]
        command = [uv, "pip", "install", "--link-mode", "copy", *target, *platform, *common]
        run("fetch the agent from PyPI", command, log=log, deadline=900)
        return
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (5, 12, 17, 28, 34)]
    platforms += ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"]
    wanted = [word for name in platforms for word in ("--platform", name)]
    pip = find_pip()
    if pip is None:
        raise BuildFault(
            "fetch the agent from PyPI",
            "neither uv nor pip is here",
            "Install one: sudo apt-get install --no-install-recommends python3-pip",
        )
    command = [*pip, "install", "--no-compile", *target]
    run("fetch the agent from PyPI", [*command, *wanted, *common], log=log, deadline=900)
