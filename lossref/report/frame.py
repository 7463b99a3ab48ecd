"""The frame that all pages of lossref have in common, templates/base.html, filled in by the template of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader


def filled(template: str, filters: Mapping[str, Callable[..., Any]], **content: Any) -> str:
    """The page that this template makes of the content; `filters` turn numbers into text. All text is escaped."""
    environment = Environment(
        loader=PackageLoader("lossref.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    return environment.get_template(template).render(**content)
