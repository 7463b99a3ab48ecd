"""Started by path, `python .../hosts/worker READ WRITE`, with any interpreter that has torch and numpy.

With `--nursery NAME` it is no host, but forks hosts.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "_lossref_worker"  # a name of its own: lossref need not be installed here, and is not imported


def main() -> None:
    """Load the folder as a package, and serve on the two pipes that the command line names, or nurse."""
    folder = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if not place or Path(place).resolve() != folder]
    if "" not in sys.path:
        sys.path.insert(0, "")
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    if sys.argv[1] == "--nursery":
        importlib.import_module(f"{NAME}.nursery").nurse(sys.argv[2])
        return
    serve = importlib.import_module(f"{NAME}.serve").serve
    serve(int(sys.argv[1]), int(sys.argv[2]))


main()
