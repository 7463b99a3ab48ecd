"""`lossref new`: a file that declares a spec of one's own, and its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossref.cli.common import SpecFiles, app, plain_errors, stop

NEXT = """wrote {file} and {test}; both pass as they are. Change them into your loss, and then:
  lossref show {name} --specs {file}
  lossref validate reference --specs {file} --spec {name}
  lossref impostors --specs {file} --spec {name}
  python -m pytest {test}"""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the spec: letters, digits and _.")],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PATH", help="Where it is written [NAME.py]; never overwritten.")
    ] = None,
    specs: SpecFiles = None,
) -> None:
    """Write a file that declares a spec of your own and passes as it is, and a test beside it."""
    from lossref.run.atomic import write_text

    path = file or Path(f"{name}.py")
    test = path.with_name(f"test_{path.name}")
    _refuse(name, path, test)
    with plain_errors():
        write_text(path, _filled("own_spec.txt", name, path))
        write_text(test, _filled("own_spec_test.txt", name, path))
    typer.echo(NEXT.format(file=path, test=test, name=name))


def _refuse(name: str, path: Path, test: Path) -> None:
    """Stop, before anything is written, at a name or a place that does not do."""
    import keyword

    from lossref import losses

    if not name.isidentifier() or keyword.iskeyword(name):
        stop(f"{name!r} is no name for a spec; take letters, digits and _, as for a Python function")
    if name in losses.specs():
        stop(f"there is a spec {name!r} already; take another name, or read it: lossref show {name}")
    if path.suffix != ".py":
        stop(f"{path} is no name for a Python file; write --file {path.with_suffix('.py')}")
    if not path.parent.is_dir():
        stop(f"there is no folder {path.parent}; make it first")
    for one in (path, test):
        if one.exists():
            stop(f"{one} is there already and is not overwritten; move it, or name another place with --file")


def _filled(template: str, name: str, path: Path) -> str:
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("lossref.report"), keep_trailing_newline=True, autoescape=False)
    return pages.get_template(template).render(name=name, file=path.name)
