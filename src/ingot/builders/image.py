"""The instance image `debian`: a whole disk that boots by BIOS and by UEFI.

Debian 12 with cloud-init (config drive), ssh, a serial console; as sparse raw
and as compressed qcow2. The root partition is last and grows to the disk.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from ingot.builders.cache import RECIPES, cached, default_cache, recipe_digest
from ingot.builders.debian import MIRROR, bootstrap, read_list
from ingot.builders.disk import MIB, Layout, assemble
from ingot.builders.host import check_host, run
from ingot.builders.types import BuildFault, Built, Progress

KERNELS = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}
"""`cloud` boots fast on virtual machines; real servers need the drivers of `generic`."""

CONSOLE = "console=tty0 console=ttyS0,115200n8"
_RECIPE = RECIPES / "image"


def build_image(
    cache: Path | None = None,
    *,
    progress: Progress,
    kernel: str = "cloud",
    size_mib: int = 1024,
    extra_packages: Sequence[str] = (),
    mirror: str = MIRROR,
    force: bool = False,
) -> Built:
    """Builds the instance image, or finds it in the cache.

    Files: `raw` (sparse), `qcow2`, `packages`. `size_mib` is the virtual size.
    Raises BuildFault.
    """
    if kernel not in KERNELS:
        raise BuildFault("read the options", f"no kernel {kernel!r}", f"One of {sorted(KERNELS)}.")
    if not 1024 <= size_mib <= 1 << 20:
        raise BuildFault("read the options", f"size {size_mib} MiB", "Use 1024 to 1048576 MiB.")
    options = {
        "kernel": kernel,
        "size_mib": size_mib,
        "extra_packages": sorted(extra_packages),
        "mirror": mirror,
    }
    digest = recipe_digest(_RECIPE, Path(__file__).parent, options)
    packages = [KERNELS[kernel] if p == "KERNEL" else p for p in read_list(_RECIPE / "packages")]

    def make(work: Path) -> dict[str, str]:
        check_host()
        layout = Layout(disk_size=size_mib * MIB)
        return _make(work, digest, [*packages, *extra_packages], layout, mirror, progress)

    return cached(
        cache or default_cache(),
        "image",
        digest,
        make,
        options=options,
        progress=progress,
        force=force,
    )


def _make(
    work: Path,
    digest: str,
    packages: Sequence[str],
    layout: Layout,
    mirror: str,
    progress: Progress,
) -> dict[str, str]:
    log = work.parent / f"{digest}.log"
    log.unlink(missing_ok=True)
    seed = uuid.uuid5(uuid.NAMESPACE_URL, f"ingot:image:{digest}")
    raw, qcow2 = work / "debian.raw", work / "debian.qcow2"
    with tempfile.TemporaryDirectory(prefix=".parts-", dir=work) as scratch:
        # Readable for mmdebstrap's own user when it works without root.
        Path(scratch).chmod(0o755)
        recipe, out = Path(scratch, "recipe"), Path(scratch, "out")
        out.mkdir()
        out.chmod(0o777)
        shutil.copytree(_RECIPE, recipe)
        environment = {
            "OUT": str(out),
            "RECIPE": str(recipe),
            "ROOT_UUID": str(uuid.uuid5(seed, "root file system")),
            "ESP_ID": seed.hex[:8],
            "CMDLINE": CONSOLE,
            "ROOT_OFFSET": str(layout.root_offset),
            "ROOT_SIZE": str(layout.root_size),
            "ESP_SIZE": str(layout.esp_size),
        }
        bootstrap(
            packages,
            variant="apt",
            hooks={"essential": recipe / "prepare", "customize": recipe / "customize"},
            environment=environment,
            mirror=mirror,
            log=log,
            progress=progress,
        )
        progress("putting the disk together")
        if os.geteuid() != 0:  # The parts belong to mmdebstrap's user: take a copy of our own.
            shutil.copyfile(out / "root.img", out / "root.own")
            (out / "root.own").rename(out / "root.img")
        shutil.copyfile(out / "packages.txt", work / "packages.txt")
        assemble(out, raw, layout, seed, log)
    progress("converting to qcow2")
    compress = ["-c", "-m", "8", "-W", "-o", "compression_type=zstd"]
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *compress, str(raw), str(qcow2)]
    run("convert to qcow2", convert, log=log, deadline=900)
    return {"raw": raw.name, "qcow2": qcow2.name, "packages": "packages.txt"}
