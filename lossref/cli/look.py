"""What there is: `lossref list`, `lossref show`, and `lossref table`: the specs as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossref.cli.common import SpecFiles, SpecGlob, app, globs, plain_errors, stop

if TYPE_CHECKING:
    from lossref.core.nouns import Spec

BEGIN, END = "<!-- lossref table -->", "<!-- end of lossref table -->"


@app.command("list")
def list_specs(specs: SpecFiles = None) -> None:
    """List the specs, the public names, the checks and the built-in targets."""
    from lossref import losses as catalog
    from lossref.checks.table import CHECKS
    from lossref.report.terminal import console, table
    from lossref.targets.listing import rows
    from lossref.targets.resolve import adapters

    screen = console()
    for head, lines in (
        ("spec what_it_is source", [(one.name, one.summary, one.cite) for one in catalog.specs().values()]),
        ("public_name method signature checked_by", list(rows())),
        ("check what_it_asserts dtypes", [(one.name, one.doc, " ".join(one.dtypes)) for one in CHECKS]),
    ):
        screen.print(table(head, lines), "", sep="\n")
    screen.print(f"Targets: {', '.join(adapters())}, a module, a file.py, or module:function with --as SPEC")


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help="Name of a spec, see `lossref list`.")],
    text: Annotated[bool, typer.Option("--spec", help="The sections of lossref/spec that it cites, instead.")] = False,
    specs: SpecFiles = None,
) -> None:
    """Show one spec: formula, inputs, parameters, laws, corners, known mistakes."""
    from lossref import losses as catalog

    with plain_errors():
        one = catalog.spec(spec)
    for line in _cited(one) if text else _described(one):
        typer.echo(line)


def _cited(one: Spec) -> Iterator[str]:
    from lossref.spec import sections

    found = sections(one.cite)
    yield "\n\n".join(found) or f"{one.name} cites no section of lossref/spec: {one.cite or 'nothing'}"


def _described(one: Spec) -> Iterator[str]:
    from lossref import losses as catalog

    yield f"{one.name}: {one.summary}"
    arguments = [*one.inputs, *(f"{name}={param.default!r}" for name, param in one.params.items())]
    yield f"source: {one.cite}\ncall:   {catalog.called(one)}\nyours:  def my_{one.name}({', '.join(arguments)})"
    yield f"        returns {one.returns}\n"
    yield catalog.doc(one).strip() + "\n\ninputs:"
    for name, domain in one.inputs.items():
        yield f"  {name} ({', '.join(domain.axes.split())})  {domain.units}; families: {', '.join(domain.families)}"
    yield "parameters:"
    for name, param in one.params.items():
        yield f"  {name}={param.default!r}  {param.doc}; also tried: {', '.join(map(repr, param.others))}"
        values = [value for value in (param.default, *param.others) if param.meaning(value)]
        yield from (f"    {value!r}: {param.meaning(value)}" for value in values)
    yield f"gradient to: {', '.join(one.wrt)}"
    yield f"laws: {', '.join(law.__name__.replace('_', ' ') for law in one.laws)}"
    yield "corners:" + "".join(f"\n  {case.id}: {case.why}" for case in one.corners)
    yield "known mistakes (each must be rejected):"
    for wrong in one.impostors:
        yield f"  {wrong.label}: {wrong.note} [{', '.join(wrong.known)}]"


@app.command("table")
def markdown_table(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help=f"Replace what stands between {BEGIN} and {END} in it.")
    ] = None,
    spec: SpecGlob = None,
    specs: SpecFiles = None,
) -> None:
    """Print the table of specs for a README, or put it there: lossref's own specs, or those that --spec names."""
    from lossref import losses as catalog
    from lossref.run.atomic import write_text

    with plain_errors():
        table = catalog.markdown(catalog.matching(globs(spec)) if spec else None)
        if file is None:
            typer.echo(table)
            return
        write_text(file, _replaced(file, table))
    typer.echo(f"{file}: {len(table.splitlines()) - 2} specs")


def _replaced(file: Path, table: str) -> str:
    """The text of the file with another table."""
    text = file.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        stop(f"{file} has no place for the table; write two lines where it belongs: {BEGIN} and {END}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"
