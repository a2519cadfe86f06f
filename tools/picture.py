"""Draw a recorded demonstration as a picture: `python -m tools.picture TRANSCRIPT docs/images/demo.svg`.

The transcript is what `ONCE=1 make demo` prints; only the most telling lines are kept, none is changed.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118
#: Lines that show what happens without telling everything.
_KEEP = re.compile(
    r"^== |ingot is ready| (>|=|!) | \? | \+ (wait|write|prove the machine|power on|clean step|start)"
    r"|write the image +(0|[1-9]?5|50|100) %|^HOSTNAME|vda|login:|^\| .*(ACTIVE|available)"
)
_COLOURS = ((r"^== ", "bold cyan"), (r" = ", "green"), (r" ! ", "red"), (r" \? ", "yellow"))


def main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("# ONCE=1 make demo", "bold"))
    for line in _telling(source.read_text(errors="replace").splitlines()):
        style = next((colour for pattern, colour in _COLOURS if re.search(pattern, line)), "")
        console.print(Text(line[:WIDTH], style), soft_wrap=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = console.export_svg(title="ingot")
    # The reader's own fonts will do: the picture fetches nothing.
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S))
    return 0


def _telling(lines: list[str]) -> list[str]:
    """At most one line of a kind for each minute and machine, so that the picture fits a page."""
    kept: list[str] = []
    for line in lines:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()
        if _KEEP.search(plain) and (not kept or kept[-1] != plain):
            kept.append(plain)
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
