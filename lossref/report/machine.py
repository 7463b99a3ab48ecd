"""A run for programs: JSON that holds all that a repair needs, JUnit XML, GitHub annotations, a badge."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lossref.core.nouns import Finding, Verdict
from lossref.hosts.worker.words import plain
from lossref.report.cards import Card, cards
from lossref.report.matrix import counts, failing
from lossref.run.findings import findings, headline, words

FORMATS = ("json", "junit", "github")
SCHEMA = 1  # of templates/machine.json
FACTS = ("target", "version", "command", "tier", "seed", "planned", "seconds", "lossref", "torch", "python", "platform")


def written(form: str, directory: Path, verdicts: Sequence[Verdict], run: Mapping[str, Any], status: int) -> str:
    """The run in one of `FORMATS`; `status` is the exit status."""
    if form == "json":
        return json.dumps(as_json(directory, verdicts, run, status), indent=1, allow_nan=False)
    if form == "junit":
        return junit(verdicts, run)
    return "\n".join(github(findings(verdicts)))


def as_json(directory: Path, verdicts: Sequence[Verdict], run: Mapping[str, Any], status: int) -> dict[str, Any]:
    """Findings with their smallest cases, and the rows, which refer to them by id; as templates/machine.json says."""
    found = findings(verdicts)
    ids: dict[Verdict, list[str]] = {}
    for one in found:
        for row in one.rows:
            ids.setdefault(row, []).append(one.id)
    content = {
        "schema": SCHEMA,
        "headline": headline(str(run["target"]), str(run["version"]), found, _word(status)),
        "status": status,
        "run": {name: run[name] for name in FACTS if name in run},
        "counts": counts(verdicts),
        "findings": [_finding(card) for card in cards(directory, found)],
        "rows": [_row(row, ids.get(row, [])) for row in verdicts],
    }
    return dict(_plain(content))


def _word(status: int) -> str:
    return {0: "conforms", 1: "does not conform"}.get(status, "incomplete")


def _finding(card: Card) -> dict[str, Any]:
    one, (file, line, name) = card.finding, card.place
    case = {key: card.case[key] for key in ("spec", "check", "dtype", "params", "inputs") if key in card.case}
    return {
        "id": one.id,
        "kind": one.kind,
        "target": one.target,
        "sentence": one.sentence,
        "size": one.size,
        "weight": one.weight,
        "look_for": one.look_for,
        "where": {"file": file, "line": line, "name": name},
        "specs": list(dict.fromkeys(row.spec for row in one.rows)),
        "rows": len(one.rows),
        "problem": one.smallest.problem if one.smallest else "",
        **{key: card.numbers.get(key) for key in ("what", "got", "want", "error", "budget")},
        "smallest_case": {"file": card.case_path, **case},
        "snippet": card.case.get("snippet", ""),
        "replay": card.replay,
    }


def _row(row: Verdict, ids: list[str]) -> dict[str, Any]:
    return {**{key: value for key, value in asdict(row).items() if key != "failures"}, "findings": ids}


def _plain(value: Any) -> Any:
    """What JSON can say: numbers that it does not know are words, and text has no surrogates."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# JUnit ----------------------------------------------------------------------------------------------------


def junit(verdicts: Sequence[Verdict], run: Mapping[str, Any]) -> str:
    """One test suite for each spec, one test case for each row; unsupported rows are skipped."""
    root = ElementTree.Element("testsuites", name=f"lossref {_xml(run['target'])}", tests=str(len(verdicts)))
    ids = {row: one for one in reversed(findings(verdicts)) for row in one.rows}
    for spec in dict.fromkeys(row.spec for row in verdicts):
        rows = [row for row in verdicts if row.spec == spec]
        numbers = {
            "tests": len(rows),
            "failures": sum(_outcome(row) == "failure" for row in rows),
            "errors": sum(_outcome(row) == "error" for row in rows),
            "skipped": sum(_outcome(row) == "skipped" for row in rows),
        }
        attributes = {"name": _xml(spec), **{name: str(number) for name, number in numbers.items()}}
        suite = ElementTree.SubElement(root, "testsuite", attributes)
        for row in rows:
            _test(suite, row, ids.get(row))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _test(suite: ElementTree.Element, row: Verdict, finding: Finding | None) -> None:
    name = f"{row.check} {row.dtype}{'' if row.device == 'cpu' else f' {row.device}'}"
    owner = f"{row.target}.{row.spec}"
    test = ElementTree.SubElement(suite, "testcase", name=_xml(name), classname=_xml(owner), time=f"{row.seconds:.3f}")
    outcome = _outcome(row)
    if outcome:
        sentence = finding.sentence if finding else row.note
        child = ElementTree.SubElement(test, outcome, message=_xml(sentence))
        if outcome != "skipped":
            child.set("type", _xml(finding.kind if finding else row.status))
            child.text = _xml("\n".join(filter(None, (row.note, row.explanation, row.where, row.case))))


def _outcome(row: Verdict) -> str:
    if row.status in ("crashed", "timeout", "blocked", "inconclusive"):
        return "error"
    return "failure" if failing(row) else "skipped" if row.status in ("unsupported", "known") else ""


def _xml(text: object) -> str:
    """Text of characters that XML has."""
    return "\n".join(map(plain, str(text).split("\n")))


# GitHub ---------------------------------------------------------------------------------------------------


def github(found: Sequence[Finding]) -> Iterator[str]:
    """A workflow command for each finding, at the line of the target; dialects are warnings."""
    for card in cards(Path(), found):
        one, (file, line, _) = card.finding, card.place
        level = "warning" if one.kind in ("dialect", "precision") else "error"
        place = f"file={_property(_relative(file))},line={line}," if file else ""
        title = _property(f"lossref {one.id}: {one.kind}")
        said = ". ".join(filter(None, (one.sentence, one.size, words.accounts(one), one.look_for)))
        yield f"::{level} {place}title={title}::{_data(said)}"


def _relative(file: str) -> str:
    path, here = Path(file), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else file


def _data(text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return plain(escaped)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# Badge ----------------------------------------------------------------------------------------------------


def badge(verdicts: Sequence[Verdict], run: Mapping[str, Any]) -> dict[str, Any]:
    """What shields.io takes as an endpoint."""
    found = findings(verdicts)
    done = len(verdicts) >= int(run["planned"]) and any(row.status in ("pass", "known") for row in verdicts)
    whole = done and not any(row.status == "inconclusive" for row in verdicts)
    settings = sum(one.kind == "dialect" for one in found)
    faults = len(found) - settings
    parts = [words.count(faults, "finding")] if faults else []
    parts += [f"dialect of {words.count(settings, 'setting')}"] if settings else []
    message = ", ".join(parts) or ("conforms" if whole else "incomplete")
    color = "red" if faults else "yellow" if settings or not whole else "brightgreen"
    return {"schemaVersion": 1, "label": "losses", "message": message, "color": color}
