"""The formulas in lossref/spec: every citation finds its place, and every parameter of a spec is described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossref import losses
from lossref.cli import app
from lossref.core.nouns import Spec
from lossref.spec import CODE, Place, documents, home, places, read, sections

ROOT = Path(__file__).parents[1]
SPECS = losses.specs()
ROOMS = ("lossref", "property_tests", "regression")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if path.name != Path(__file__).name]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *FILES)}
OWN = {f"lossref/spec/{name}": text for name, text in documents().items()}
REVERSED = re.compile(r"sections? (\d+(?:\.\d+)*) of (\d\d-[a-z]+\.md)")
ELSEWHERE = re.compile(r"(?<!lossref)/spec/\d\d-[a-z]+\.md")
WITHOUT_THE_WORD = re.compile(r"\d\d-[a-z]+\.md,? \d")


def faults(text: str) -> Iterator[str]:
    """What is wrong with the citations in a text."""
    flat = " ".join(re.sub(r"\n\s*#", "\n", text).replace("`", "").split())
    backwards = [Place(file, number) for number, file in REVERSED.findall(flat)]
    for place in (*places(flat), *backwards):
        if not read(place):
            yield f"there is no {place.item or 'text'} in {place.file}"
        elif re.fullmatch(CODE, place.item) and home(place.item) != place.file:
            yield f"{place.item} is defined in {home(place.item)}, not in {place.file}"
    yield from (f"no file defines {code}" for code in sorted(set(re.findall(CODE, flat))) if not home(code))
    yield from (f"{found!r}: the word section is missing" for found in WITHOUT_THE_WORD.findall(flat))
    yield from (f"{found!r} is another folder" for found in ELSEWHERE.findall(flat))


@pytest.mark.parametrize("name", [*TEXTS, *OWN])
def test_every_citation_finds_its_place(name: str) -> None:
    assert not list(faults({**TEXTS, **OWN}[name]))


PLANTED = [
    ("spec/10-geometry.md section 14", "there is no 14 in 10-geometry.md"),
    ("spec/10-geometry.md section\n    14.", "there is no 14 in 10-geometry.md"),
    ("# spec/10-geometry.md\n# section 14.", "there is no 14 in 10-geometry.md"),
    ("spec/40-yolo.md sections 3.2 and 4.9; arXiv 2204.06806", "there is no 4.9 in 40-yolo.md"),
    ("spec/40-yolo.md, section 3.9, D8", "there is no 3.9 in 40-yolo.md"),
    ("spec/30-elementary.md sections 8 to 12", "there is no 12 in 30-elementary.md"),
    ("spec/60-api.md sections 1.4 to 1.6", "there is no 1.6 in 60-api.md"),
    ("spec/11-geometry.md section 3", "there is no 3 in 11-geometry.md"),
    ("spec/70-other.md, its table", "there is no text in 70-other.md"),
    ("`section 13.1 of `10-geometry.md`", "there is no 13.1 in 10-geometry.md"),
    ("spec/30-elementary.md section 3, D99", "no file defines D99"),
    ("zeros (QY40)", "no file defines QY40"),
    ("spec/05-decisions.md D8 to D99", "there is no D99 in 05-decisions.md"),
    ("spec/00-conventions.md QE1", "there is no QE1 in 00-conventions.md"),
    ("spec/50-detr.md QE1", "QE1 is defined in 30-elementary.md, not in 50-detr.md"),
    ("spec/50-detr.md 1.3", "'50-detr.md 1': the word section is missing"),
    ("../shared/spec/50-detr.md", "'/spec/50-detr.md' is another folder"),
]


@pytest.mark.parametrize(("text", "fault"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_wrong_citation_is_seen(text: str, fault: str) -> None:
    assert fault in list(faults(text))


RIGHT = [
    ("spec/40-yolo.md sections 3.2 and 4.2; arXiv 2204.06806", [("40-yolo.md", "3.2"), ("40-yolo.md", "4.2")]),
    ("spec/50-detr.md section 1; arXiv 2005.12872, 2304.08069", [("50-detr.md", "1")]),
    ("lossref/spec/30-elementary.md section 3, D8, D9.", [("30-elementary.md", "3")]),
    ("spec/60-api.md sections 1.1 to 1.3, in words", [("60-api.md", f"1.{i}") for i in (1, 2, 3)]),
    ("spec/10-geometry.md sections 2 and 9 to 11", [("10-geometry.md", i) for i in ("2", "9", "10", "11")]),
    ("spec/05-decisions.md, D2 and D8 to D10", [("05-decisions.md", i) for i in ("D2", "D8", "D9", "D10")]),
    ("`20-assignment.md`, table of mistakes", [("20-assignment.md", "")]),
    ("arXiv 1911.08287", []),
]


@pytest.mark.parametrize(("cite", "want"), RIGHT, ids=[row[0] for row in RIGHT])
def test_places(cite: str, want: list[tuple[str, str]]) -> None:
    assert places(cite) == want
    assert not list(faults(cite))


def test_a_section_ends_where_the_next_one_begins() -> None:
    whole, part = sections("spec/40-yolo.md sections 3 and 3.2")
    assert whole.startswith("## 3. v8PoseLoss")
    assert part.startswith("### 3.2 kpts_decode")
    assert part in whole
    assert "### 3.4" in whole
    assert "### 3.3" not in part
    assert "## 4." not in whole
    assert sections("spec/60-api.md section 3")[0] in documents()["60-api.md"]  # the last one of its file


def test_a_code_is_its_row() -> None:
    assert [text.partition(" ")[2][:10] for text in sections("spec/05-decisions.md D1, D14")] == [
        "D1 (QG5) |",
        "D14 (zero-",
    ]
    assert home("QA12") == "20-assignment.md"  # which says QUIRK; the row of D2 only mentions it


# The specs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_spec_cites_a_section_that_names_its_parameters(spec: Spec) -> None:
    text = "\n".join(sections(spec.cite))
    assert text.startswith("##")
    assert [name for name in spec.params if not re.search(rf"\b{name}\b", text)] == []


PARTS = [
    read(Place(file, number))
    for file, text in documents().items()
    for number in re.findall(r"^##+ ([\d.]*\d)", text, re.M)
]
CHOICES = {
    name: tuple(value for value in (param.default, *param.others) if isinstance(value, str))
    for spec in SPECS.values()
    for name, param in spec.params.items()
}


def described(name: str, values: tuple[str, ...], parts: list[str]) -> bool:
    """Whether one section has the parameter and all its values as code."""
    return any(all(f"`{word}`" in part or f'"{word}"' in part for word in (name, *values)) for part in parts)


@pytest.mark.parametrize("name", [name for name, values in CHOICES.items() if values])
def test_every_choice_is_described_where_the_formula_is(name: str) -> None:
    formulas = [part for part in PARTS if part not in documents()["05-decisions.md"]]
    assert described(name, CHOICES[name], formulas)
    assert not described(name, (*CHOICES[name], "another"), formulas)


# lossref show --spec ------------------------------------------------------------------------------------


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, ["show", *words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["ciou", "kpts_decode", "crop_mask"])
def test_show_prints_the_sections(name: str) -> None:
    text = shown(name, "--spec")
    assert all(section in text for section in sections(SPECS[name].cite))
    assert "known mistakes" not in text


def test_show_without_the_option_is_as_before() -> None:
    assert "known mistakes (each must be rejected):" in shown("ciou")
    assert "## 3. bbox_iou" not in shown("ciou")


@pytest.mark.parametrize("cite", ["arXiv 1911.08287", "", "docs/11-mine.md section 2"])
def test_a_stranger_may_cite_no_section(cite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "spec", lambda name: replace(SPECS["ciou"], name=name, cite=cite))
    text = shown("mine", "--spec")
    assert text.splitlines() == [f"mine cites no section of lossref/spec: {cite or 'nothing'}"]


def test_every_value_of_a_named_convention_has_words() -> None:
    silent = [
        (spec.name, name, value)
        for spec in losses.specs().values()
        for name, param in spec.params.items()
        for value in (param.default, *param.others)
        if (isinstance(value, str) or param.convention) and not param.meaning(value)
    ]
    assert not silent
