"""Exceptions and other people's texts as one line that is safe to send and to print."""

from __future__ import annotations

from types import TracebackType

LONGEST = 200
ADAPTERS = "lossref.targets."
PASSED_OVER = ("torch", "numpy")
"""Packages in which an exception is raised for whoever called them."""


def one_line(error: BaseException) -> str:
    """Type and first line of an exception, whatever it does when it is asked for its text."""
    name = plain(type(error).__name__)[:100]
    try:
        text = str(error)[: 100 * LONGEST].strip().splitlines()
    except BaseException as broken:  # a __str__ may raise anything
        return f"{name} (its text cannot be had: {plain(type(broken).__name__)[:100]})"
    return f"{name}: {plain(text[0])[:LONGEST]}" if text else name


def told(error: BaseException) -> str:
    """The same for what a target raised; what an adapter of lossref raised unawares has its file and line with it."""
    place = "" if getattr(type(error), "deliberate", False) else _in_adapter(error.__traceback__)
    return f"{one_line(error)} (raised in lossref's adapter, {place})" if place else one_line(error)


def _in_adapter(trace: TracebackType | None) -> str:
    """File and line of the adapter whose own code raised; an empty string where it was the code of the target."""
    place = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith(ADAPTERS):
            file = trace.tb_frame.f_code.co_filename.replace("\\", "/")
            place = f"{file[file.rfind('lossref/targets/') :]}:{trace.tb_lineno}"
        elif module.partition(".")[0] not in PASSED_OVER:
            place = ""
        trace = trace.tb_next
    return place


def plain(text: str) -> str:
    """Text without surrogates and control characters, which a terminal would act on."""
    kept = text.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in kept)


def printable(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(plain, text.split("\n")))


def short(text: str, most: int = 80) -> str:
    """The same for a name, which is cut where it is long."""
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def ends(text: str, most: int = 4096) -> str:
    """Beginning and end of a long text."""
    return text if len(text) <= 2 * most else f"{text[:most]}\n[... {len(text) - 2 * most} more ...]\n{text[-most:]}"
