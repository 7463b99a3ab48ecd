"""What the commands share: the application, exit statuses, options, and how an error becomes one sentence."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

import lossref

CONFORMS, DOES_NOT, USAGE, INCOMPLETE = 0, 1, 2, 3
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # of a disk, not of what was asked

app = typer.Typer(
    name="lossref",
    help="Is this loss implementation right, where is it not, and how far off is it?",
    epilog="Exit status: 0 conforms, 1 does not, 2 usage, 3 incomplete.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lossref {lossref.__version__}")
        raise typer.Exit


@app.callback()
def before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and stop.")
    ] = False,
) -> None:
    """Options that stand before a command."""


def plain_output() -> None:
    """Letters that the terminal does not have are written as escapes, whatever a target is called or says."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stop(message: str, status: int = USAGE) -> NoReturn:
    """One sentence on stderr, and the exit status."""
    from lossref.hosts.worker.words import printable

    typer.echo(f"lossref: {printable(message)}", err=True)
    raise typer.Exit(status)


def read_specs(context: typer.Context, files: list[str] | None) -> None:
    """Read the specs of others: a file that gives none is an error, a broken plugin is a line of warning."""
    from lossref import losses

    with plain_errors(), losses.using(files or ()):
        warnings = losses.catalogue().warnings
    for warning in warnings:
        typer.echo(f"lossref: warning: {warning}", err=True)
    context.with_resource(losses.using(files or ()))


def _without_cache(context: typer.Context, wanted: bool) -> None:
    """Switch the cache off until the command has ended, in the processes that it starts, too."""
    from lossref.oracle import cache

    if wanted:
        context.with_resource(cache.switched_off())


NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Work out every answer and cause anew. Also: LOSSREF_CACHE=off; LOSSREF_CACHE=FOLDER says where they are.",
        callback=_without_cache,
        expose_value=False,
    ),
]
"""Every command that asks the oracle about a target takes it."""

SpecGlob = Annotated[list[str] | None, typer.Option("--spec", help="Only specs that match ('*iou'); may be repeated.")]

_SPECS: dict[str, Any] = {
    "metavar": "FILE",
    "help": f"A file that declares specs of your own; may be repeated. Also: LOSSREF_SPECS=FILE{os.pathsep}FILE.",
}
SpecFiles = Annotated[list[str] | None, typer.Option("--specs", **_SPECS, callback=read_specs, expose_value=False)]
"""Every command that deals with specs takes it; reading the files is all that it does."""

UnreadSpecFiles = Annotated[list[str] | None, typer.Option("--specs", **_SPECS)]
"""The same for a command that calls `read_specs` where it wants them: that imports every loss, and torch."""


def globs(words: list[str] | None) -> str:
    """The words of a repeated option as one pattern; everything where there are none."""
    return ",".join(words or ["*"])


def listed(words: list[str] | None, *otherwise: str) -> tuple[str, ...]:
    """The words of an option that may be repeated, and take several words with commas between them; each once."""
    given = [one for word in words or () for one in word.split(",") if one]
    return tuple(dict.fromkeys(given or otherwise))


def only(allowed: str, *words: str) -> None:
    """Stop at the first word that is not among the allowed ones."""
    for word in words:
        if word not in allowed.split():
            stop(f"{word!r} is not one of {', '.join(allowed.split())}")


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can cause becomes one sentence; a package that cannot be imported is incomplete."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except OSError as error:
        stop(sentence(error), INCOMPLETE if error.errno in FULL else USAGE)
    except Exception as error:
        _stop_at(error)
        raise


def _stop_at(error: Exception) -> None:
    """Stop if it is an error that a user can cause. Their kinds are imported here: all together bring torch."""
    from lossref.checks.table import UnknownCheck
    from lossref.core.plugins import SpecsError
    from lossref.losses import UnknownSpec
    from lossref.report.between.kept import HistoryError
    from lossref.report.stored import ReportError
    from lossref.run.causes.dialect_files import BadDialect
    from lossref.run.saved import SavedCaseError
    from lossref.run.saved.shards import ShardError
    from lossref.targets.resolve import Unavailable, UnknownTarget

    if isinstance(error, Unavailable):
        stop(f"{error} (nothing was checked; this is {sys.executable})", INCOMPLETE)
    unknown = SpecsError | UnknownSpec | UnknownCheck | UnknownTarget
    if isinstance(error, unknown | ReportError | HistoryError | SavedCaseError | BadDialect | ShardError):
        stop(str(error))


def sentence(error: OSError) -> str:
    """Which file it is, and what is the matter with it; what is written to a file has the name of that with it."""
    return f"{error.filename or 'standard output'}: {error.strerror or error}"


@contextmanager
def heard() -> Iterator[None]:
    """Around a whole command: what cannot be printed, on a full disk say, is one sentence, too."""
    try:
        yield
    except OSError as error:
        with open(os.devnull, "w") as nowhere:  # what is left to be printed, at the end of the process, goes there
            os.dup2(nowhere.fileno(), 1)
        print(f"lossref: {sentence(error)}", file=sys.stderr)
        sys.exit(INCOMPLETE)
