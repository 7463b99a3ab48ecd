"""`lossref bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lossref.cli.common import (
    CONFORMS,
    DOES_NOT,
    INCOMPLETE,
    NoCache,
    SpecFiles,
    SpecGlob,
    app,
    globs,
    only,
    plain_errors,
    stop,
)


@app.command()
def bench(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET... | diff A.csv B.csv", help="As for validate.")],
    spec: SpecGlob = None,
    specs: SpecFiles = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    size: Annotated[list[str] | None, typer.Option("--size", help="small or train [both].")] = None,
    vs: Annotated[str, typer.Option("--vs", metavar="TARGET", help="The baseline.")] = "reference",
    out: Annotated[Path, typer.Option("--out", help="Where CSV and page go.")] = Path("reports") / "bench",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the inputs.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time for everything, about.")] = 450,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Torch threads [torch's choice].")] = None,
    python: Annotated[str, typer.Option("--python", help="The Python that targets live in [this one].")] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one question may take.")] = 20.0,
    memory: Annotated[float, typer.Option("--memory", min=0, help="GiB that a target may use [half of all].")] = 0.0,
    no_cache: NoCache = False,
) -> None:
    """Time implementations against a baseline, only those whose answers are right; or compare two such CSV files."""
    if targets[0] == "diff":
        _difference(targets[1:])
    only("cpu cuda", device)
    only("small train", *(size or ()))
    with plain_errors():
        import torch

        from lossref.bench import contests as benching
        from lossref.bench.rows import Settings
        from lossref.hosts import keeper
        from lossref.hosts.endings import memory_for
        from lossref.hosts.process import Lodging

        limit = int(memory * 2**30) or memory_for(1)
        lodging = Lodging(python, timeout=timeout, memory=limit, threads=threads or torch.get_num_threads())
        sizes = tuple(size or ("small", "train"))
        settings = Settings(tuple(targets), globs(spec), device, sizes, vs, seed, seconds, lodging=lodging)
        with keeper.kept():
            contests = benching.plan(settings)
            if not contests:
                stop(f"{', '.join(targets)} has no implementation of {globs(spec)}")
            complete = benching.main(contests, settings, out)
    raise typer.Exit(CONFORMS if complete else INCOMPLETE)


def _difference(files: list[str]) -> NoReturn:
    if len(files) != 2:
        stop("say which two: lossref bench diff A.csv B.csv")
    with plain_errors():
        from lossref.bench.difference import difference, told
        from lossref.bench.rows import read
        from lossref.hosts.worker.words import printable

        rows = []
        for file in files:
            try:
                rows.append(read(Path(file)))
            except (TypeError, ValueError, UnicodeDecodeError) as error:
                stop(f"{file} is no CSV of lossref bench ({error}); it writes bench.csv into the folder of --out")
        found = difference(*rows)
        if not found.both:
            stop("the two have no comparison in common", INCOMPLETE)
    for line in told(found):
        typer.echo(printable(line))
    raise typer.Exit(DOES_NOT if found.differs else CONFORMS)
