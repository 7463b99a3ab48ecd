"""The page in a browser: it asks nobody, says no error, is short before anything is opened, and its links land."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossref.checks.table import CHECKS
from lossref.core.nouns import Failure, Verdict
from lossref.losses import specs
from lossref.report import page
from lossref.run.findings.words import MANNERS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium; apt-get install chromium")

TALLEST, LARGEST = 6000, 1_200_000
FINDINGS = 24
SCENE = {
    "schema": 1, "why": "", "spec": "v8_detection", "check": "value", "dtype": "float64", "target": "mine", "as": None,
    "params": {"imgsz": [32, 64], "strides": [8, 16]},
    "inputs": {
        "boxes": {"shape": [1, 4, 40], "values": np.ones((1, 4, 40)).tolist()},
        "batch_idx": {"shape": [1], "values": [0.0]},
        "bboxes": {"shape": [1, 4], "values": [[0.5, 0.5, 0.25, 0.25]]},
    },
    "flags": [], "id": "", "problem": "box: got 2, want 1",
    "detail": {"what": "box", "index": [], "got": 2.0, "want": 1.0, "error": 1.0, "budget": 1e-9},
    "snippet": "import torch\nprint(1 < 2)\n",
}  # fmt: skip
RUN = {
    "target": "mine", "version": "1.2", "command": "lossref validate mine", "seed": 7, "tier": "quick",
    "started": "2025-01-31T14:02:11+00:00", "seconds": 3.5, "python": "3.11", "torch": "2.5",
    "lossref": "0.1", "platform": "Linux", "threads": 2, "notes": [],
    "families": {name: {"pred=touching": 1, "pred=far": 3} for name in specs()},
}  # fmt: skip
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const shown = what => [...document.querySelectorAll(what)].filter(one => one.getClientRects().length).length;
  const links = [...document.querySelectorAll('a[href^="#"]')];
  const found = {
    height: document.documentElement.scrollHeight,
    wide: document.documentElement.scrollWidth - innerWidth,
    lost: links.filter(one => !document.getElementById(one.getAttribute("href").slice(1))).length,
    links: links.length,
    requests: performance.getEntriesByType("resource").length,
    pictures: shown(".finding svg.picture"),
    findings: shown(".finding"),
    columns: document.querySelectorAll(".matrix thead th").length,
  };
  document.querySelector("#k-dialect").click();
  found.dialects = shown(".finding");
  document.querySelector("#k-all").click();
  const field = document.querySelector("#findings .search");
  for (const word of field ? ["spec-unknown-7 ", ""] : []) {
    field.value = word;
    field.dispatchEvent(new Event("input"));
    found.searched = found.searched || shown(".finding");
  }
  document.querySelector("#only-failing").click();
  found.failing = shown(".matrix tbody tr");
  document.querySelector("td a.s-pass").click();
  setTimeout(() => {
    const one = document.querySelector("tr:target");
    found.landed = Boolean(one && one.getClientRects().length);
    document.body.innerHTML = "";
    const told = { id: "probe", textContent: JSON.stringify(found) };
    document.body.append(Object.assign(document.createElement("pre"), told));
  }, 200);
}, 100));
</script>
"""


def verdicts() -> list[Verdict]:
    """A run of every spec and check, in which a dialect and many findings stand behind failing rows."""
    found = []
    for spec in specs():
        for check in CHECKS:
            for dtype in check.dtypes:
                found.append(Verdict(spec, "mine", check.name, dtype, "pass", 10, 0.2, seconds=0.1))
    apart = [at for at, row in enumerate(found) if row.check not in MANNERS]  # those of manners would be one finding
    for n in range(0, 4 * FINDINGS, 4):
        problem = f"spec-unknown-{n // 4} value changes the value"
        one = Failure(f"law {'x' * (n // 4)}", problem, case="cases/scene.json", cases=1, of=3)
        if n == 0:
            one = Failure(
                "value box", "box: got 2, want 1", settings=("small_boxes='raised'",), case="cases/scene.json"
            )
        row = found[apart[7 * n]]
        status = "fail" if n else "dialect"
        found[apart[7 * n]] = Verdict(
            row.spec, "mine", row.check, row.dtype, status, 3, 9.0, 0, problem, failures=(one,)
        )
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = verdicts()
    (folder / "cases").mkdir()
    (folder / "cases" / "scene.json").write_text(json.dumps(SCENE))
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    (folder / "run.json").write_text(json.dumps({**RUN, "planned": len(rows)}))
    return page.write(folder)


def browsed(path: Path, width: int) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser wrote to its log."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--window-size={width},1000", "--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


def probed(path: Path, width: int) -> dict[str, Any]:
    """What a script finds out in the page."""
    probing = path.with_name(f"probe-{width}.html")
    text = path.read_text(encoding="utf-8")
    probing.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    document, log = browsed(probing, width)
    assert "CONSOLE" not in log, log
    found = re.search(r'<pre id="probe">(.*?)</pre>', document, re.DOTALL)
    assert found, document[-2000:]
    return dict(json.loads(found.group(1)))


@pytest.fixture(scope="module")
def wide(written: Path) -> dict[str, Any]:
    return probed(written, 1400)


def test_it_is_short_and_small(written: Path, wide: dict[str, Any]) -> None:
    assert wide["height"] <= TALLEST
    assert written.stat().st_size <= LARGEST


@pytest.mark.parametrize("name", ["requests", "lost", "wide"])
def test_it_asks_nobody_loses_no_link_and_fits(wide: dict[str, Any], name: str) -> None:
    assert wide["links"] > 500
    assert wide[name] <= 0


def test_findings_are_pictured_filtered_and_found(wide: dict[str, Any]) -> None:
    assert (wide["findings"], wide["pictures"]) == (FINDINGS, FINDINGS)
    assert (wide["dialects"], wide["searched"]) == (1, 1)


def test_the_matrix_has_all_columns_and_a_cell_leads_to_its_row(wide: dict[str, Any]) -> None:
    assert wide["columns"] == 1 + len(CHECKS)
    assert 0 < wide["failing"] < len(specs())
    assert wide["landed"]


def test_a_phone_need_not_scroll_sideways(written: Path) -> None:
    assert probed(written, 500)["wide"] <= 0


def test_filters_and_links_need_no_script(written: Path) -> None:
    own = re.compile(r"<script>.*?</script>", re.DOTALL)
    without = written.with_name("without.html")
    without.write_text(own.sub("", written.read_text(encoding="utf-8")), encoding="utf-8")
    found = probed(without, 1400)
    assert "searched" not in found
    assert found["dialects"] == 1
    assert 0 < found["failing"] < len(specs())
    assert found["landed"]
