"""Write the table of least numbers anew, after a record that grew: python regression/least.py

What the record has becomes what it has to have (lossref/run/golden/files/least.py). A number that would become smaller
is left as it is and told, with exit status 1: a record that shrank is a change to be made by hand, where it is seen.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from lossref.run.golden.files.folder import manifest_in
from lossref.run.golden.files.least import LEAST, counts

FOLDER = Path(__file__).parents[1] / "golden"
TABLE = Path(__file__).parents[1] / "lossref" / "run" / "golden" / "files" / "least.py"
GROUPS = ("all", "witness", "corner", "labels", "kink", "setting", "single", "batch", "full size", "reference")


def line_of(spec: str) -> tuple[str, list[str]]:
    """The line of a spec, and what became less."""
    found = counts(json.loads((FOLDER / f"{spec}.json").read_text())["cases"])
    known = LEAST.get(spec, {})
    less = [
        f"{spec}: {found.get(group, 0)} {group}, {most} before"
        for group, most in known.items()
        if found.get(group, 0) < most
    ]
    numbers = {group: max(found.get(group, 0), known.get(group, 0)) for group in GROUPS}
    return f"{spec}: " + ", ".join(f"{number} {group}" for group, number in numbers.items() if number), less


def main() -> int:
    """The exit status: whether anything became less."""
    rows = [line_of(spec) for spec in sorted(manifest_in(FOLDER).specs)]
    source = TABLE.read_text()
    lines = "\n".join(line for line, _ in rows)
    TABLE.write_text(
        re.sub(r'(TABLE = """\n).*?(\n""")', lambda match: match[1] + lines + match[2], source, flags=re.DOTALL)
    )
    less = [one for _, found in rows for one in found]
    print("\n".join(less) or f"{len(rows)} specs hold at least what they have")
    return int(bool(less))


if __name__ == "__main__":
    sys.exit(main())
