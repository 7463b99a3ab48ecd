"""The releases at which losses changed: halves of the releases between two, all losses at once.

What two releases have in common is not looked into: a change that a later release takes back is seen only where a half
ends between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lossref.run.causes.beside.differences import Compared
from lossref.run.causes.beside.known import versions
from lossref.run.causes.beside.releases import RELEASE
from lossref.targets.resolve import Unavailable, UnknownTarget

Ask = Callable[[str, str], Compared]
"""(release, release) -> what is different between the two in one loss; a reason where one of them cannot be asked."""


@dataclass(frozen=True)
class Change:
    """One loss that is different in two neighbours: the last release as before, and the first that is not."""

    before: str
    after: str
    compared: Compared


def between(one: str, other: str) -> list[str]:
    """The releases from one to the other, both included, as pip knows them: words like "ultralytics==8.4.83".

    Raises `UnknownTarget` where they are no two releases of one package, `Unavailable` where pip has no list.
    """
    matches = [RELEASE.fullmatch(word) for word in (one, other)]
    packages = {match["package"] for match in matches if match}
    if None in matches or len(packages) != 1:
        raise UnknownTarget(
            f"--bisect goes from one release of a package to another, a==1.0 a==1.4 say; not {one} {other}"
        )
    (package,) = packages
    known = [f"{package}=={version}" for version in versions(package)]
    lacking = [word for word in (one, other) if word not in known]
    if lacking:
        raise Unavailable(f"pip knows no {lacking[0]}; it knows {len(known)} releases, {known[0]} to {known[-1]}")
    first, last = known.index(one), known.index(other)
    return known[first : last + 1] if first <= last else known[last : first + 1][::-1]


def changes(releases: Sequence[str], ask: Ask) -> Iterator[Change]:
    """Every pair of neighbours that differ, the first one first; `ask` is asked for some pairs more than once.

    A release that cannot be asked is left out, and a change then lies between its neighbours.
    """
    before, *inner, after = releases
    row = ask(before, after)
    if not row.differences:
        return
    if not inner:
        yield Change(before, after, row)
        return
    middle = releases.index(inner[len(inner) // 2])
    if ask(before, releases[middle]).reason:
        yield from changes([*releases[:middle], *releases[middle + 1 :]], ask)
    else:
        yield from changes(releases[: middle + 1], ask)
        yield from changes(releases[middle:], ask)
