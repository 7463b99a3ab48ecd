"""Another environment, another device: what runs there needs torch and numpy alone, and its tensors are there."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lossref.checks.table import cases_for, named
from lossref.cli import app
from lossref.core.nouns import Target
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import ask, call_of, itself, on_device
from lossref.hosts.process import Lodging, ProcessHost
from lossref.hosts.worker import carry, state, tensors
from lossref.losses import own, spec
from lossref.run.plan import plan
from lossref.targets.adapters import dropin
from lossref.targets.resolve import adapters

# Imports ------------------------------------------------------------------------------------------------

REFUSING = """
import importlib, importlib.metadata as about, re, sys

def plain(name):
    return re.sub("[-_.]+", "-", name).lower()

def needed(name, seen):
    if plain(name) not in seen:
        seen.add(plain(name))
        for line in installed.get(plain(name), ()):
            if "extra ==" not in line:
                needed(re.match(r"[A-Za-z0-9._-]+", line)[0], seen)
    return seen

installed = {plain(one.name): one.requires or () for one in about.distributions()}

kept = needed("torch", {"numpy"})
refused = {top for top, names in about.packages_distributions().items() if not {*map(plain, names)} & kept}
refused -= {"lossref", *sys.stdlib_module_names}
assert {"flint", "hypothesis", "scipy", "pandas", "typer", "safetensors", "psutil", "rich"} <= refused, refused

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuses())
"""


def alone(code: str) -> str:
    """What the code prints in a process that has torch, numpy, what these need, and lossref."""
    done = subprocess.run([sys.executable, "-c", REFUSING + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_adapters_and_marks_need_torch_and_numpy_alone(tmp_path: Path) -> None:
    marked = tmp_path / "marked.py"
    marked.write_text(
        'import lossref\n@lossref.target("iou")\ndef f(box1, box2): return lossref.bbox_iou(box1, box2)\n'
    )
    words = [word for word in adapters() if word != "reference"]
    code = f"""
for word in {words}:
    importlib.import_module(f"lossref.targets.adapters.{{word}}")
import torch
from lossref.targets.adapters import dropin
sys.path.insert(0, {str(tmp_path)!r})
import marked
from lossref.targets.marks import marks
answers = marked.f(torch.ones(1, 4), torch.ones(1, 4)), lossref.FocalLoss()(torch.ones(1, 2), torch.ones(1, 2))
print(len(dropin.targets()), marks(marked.f)[0].spec, len(answers))
"""
    assert alone("import lossref\n" + code).split() == [str(len(own())), "iou", "2"]


def test_a_stranger_s_spec_is_read_there_too(tmp_path: Path) -> None:
    """Its oracle is not tried where there is no flint: a host judges nothing."""
    CliRunner().invoke(app, ["new", "mine", "--file", str(tmp_path / "mine.py")])
    code = f"import os\nos.environ['LOSSREF_SPECS'] = {str(tmp_path / 'mine.py')!r}\n"
    assert alone(code + "from lossref.losses import spec\nprint(spec('mine').name)").strip() == "mine"


def test_the_report_names_the_environment_of_the_host(tmp_path: Path) -> None:
    words = ["validate", "torch", "--spec", "dfl", "--check", "dtype", "--jobs", "1", "--python", sys.executable]
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path)]).exit_code == 0
    (host,) = json.loads((tmp_path / "run.json").read_text())["hosts"]
    assert host == {
        "interpreter": sys.executable,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
    } | ({"cuda": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})
    assert f"Python {host['python']}, torch {host['torch']}" in (tmp_path / "index.html").read_text()


def test_the_judge_s_lossref_is_asked_whichever_else_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one, say, that knows no `only`; here it is even imported before anything is asked."""
    older = tmp_path / "older"
    (older / "lossref").mkdir(parents=True)
    (older / "lossref" / "__init__.py").write_text("import builtins\nbuiltins.older_was_here = True\n")
    (older / "sitecustomize.py").write_text("import lossref\n")
    mine = tmp_path / "mine.py"
    only = "import builtins\nassert builtins.older_was_here\nimport lossref\n"
    only += '@lossref.target("iou", only={"box1": "far"})\n'
    mine.write_text(only + "def f(box1, box2): return box1\n")
    monkeypatch.setenv("PYTHONPATH", str(older))
    host = ProcessHost(Lodging())
    assert host.load(str(mine))["things"][0]["mark"]["only"] == {"box1": "far"}
    assert {"only", "where"} <= host.load("torch", adapter=True)["things"][0].keys()
    host.close()


# Devices ------------------------------------------------------------------------------------------------


def ours() -> list[Target]:
    """References, and the drop-in classes as they are asked."""
    return [*map(itself, own().values()), *(one for one in dropin.targets() if not one.unsupported)]


@pytest.mark.parametrize("target", ours(), ids=lambda one: f"{one.label} {one.spec}")
def test_nothing_is_made_on_the_default_device(target: Target) -> None:
    """Inputs are on the CPU, the default is a device without numbers: what is made there cannot be computed with."""
    one = spec(target.spec)
    for case in cases_for(named("dtype"), one, target, "quick", 0)[:3]:
        params = {name: value for name, value in case.params.items() if name in target.accepts}
        call = call_of(one, case.inputs, "float32", one.wrt)
        inputs = tensors.given(call, "cpu")
        want = carry.terms_of(target.build(**params)(*inputs.values()), one.terms)
        factors = tensors.upstream(want, call)
        with torch.device("meta"):
            outs = carry.terms_of(target.build(**params)(*inputs.values()), one.terms)
            ends = [(out, w) for out, w in zip(outs, factors, strict=True) if out.requires_grad]
            leaves, found = [inputs[name] for name in call.wrt], ()
            if ends:
                found = torch.autograd.grad([out for out, _ in ends], leaves, [w for _, w in ends], allow_unused=True)
        assert {x.device.type for x in (*outs, *found) if x is not None} == {"cpu"}


def test_a_built_module_is_moved_to_the_device_of_the_inputs() -> None:
    """Meta is a device that every machine has."""
    seen = []

    class Built(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("gain", torch.ones(1))

        def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            seen.append((self.gain.device.type, pred.device.type))
            return (pred * self.gain).sum()

    one = spec("focal")
    target = Target("focal", Built, "built", device="meta")
    ask(one, target, one.corners[0], [call_of(one, one.corners[0].inputs, "float32")])
    assert seen == [("meta", "meta")]


def test_a_model_is_on_the_device_of_the_inputs() -> None:
    (target,) = [one for one in dropin.targets() if one.spec == "v8_detection"]
    case = cases_for(named("value"), spec("v8_detection"), target, "quick", 0)[0]
    built = target.build(**{name: value for name, value in case.params.items() if name in target.accepts})
    made = []
    built.thing = lambda model, **more: made.append(model)
    built.prepare({name: x.shape for name, x in case.inputs.items()}, "float32", "meta")
    assert made[0].model[0].stride.device.type == next(made[0].parameters()).device.type == "meta"


def test_a_convention_is_answered_for_the_device() -> None:
    crop = spec("crop_mask")
    case = next(case for case in crop.corners if case.params.get("crop") == "by_count")
    assert on_device(crop, case, "cpu") is case
    there = on_device(crop, case, "cuda")
    assert (there.params["crop"], there.asked) == ("exact", {"crop": "by_count"})
    given = {}
    target = Target("crop_mask", lambda **params: given.update(params), "t", ("crop",), device="meta")
    ask(crop, target, there, [call_of(crop, case.inputs, "float32")])
    assert given == {"crop": "by_count"}


no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no GPU")


@no_gpu
@pytest.mark.parametrize("word", ["torch", "reference"])
def test_without_a_gpu_every_row_is_unsupported(word: str) -> None:
    jobs = plan([word], "dfl", "value,dtype", devices=("cpu", "cuda"))
    said = {job.lodging.device: (job.status, job.reason) for job in jobs}
    assert said == {"cpu": ("", ""), "cuda": ("unsupported", "torch finds no CUDA device here")}


@no_gpu
def test_rows_and_pages_have_a_device(tmp_path: Path) -> None:
    words = [
        "validate",
        "reference",
        "--spec",
        "dfl",
        "--check",
        "dtype",
        "--jobs",
        "1",
        "--device",
        "cpu",
        "--device",
        "cuda",
        "--out",
    ]
    result = CliRunner().invoke(app, [*words, str(tmp_path)])
    assert result.exit_code == 0
    rows = list(csv.DictReader((tmp_path / "summary.csv").read_text().splitlines()))
    assert [(row["status"], row["device"]) for row in rows] == [
        *[("pass", "cpu")] * 2,
        *[("unsupported", "cuda")] * 2,
    ]
    assert "device" in result.output
    assert "<small>cuda</small>" in (tmp_path / "index.html").read_text()


@no_gpu
def test_a_case_of_a_gpu_is_not_replayed_without_one(tmp_path: Path) -> None:
    path = saved_case(tmp_path)
    assert CliRunner().invoke(app, ["replay", str(path), "--trust"]).exit_code == 1
    for words in ([str(path), "--device", "cuda"], [str(on_a_gpu(path))]):
        result = CliRunner().invoke(app, ["replay", *words, "--trust"])
        assert (result.exit_code, "torch finds no CUDA device here" in result.output) == (3, True)


def saved_case(folder: Path) -> Path:
    wrong = folder / "wrong.py"
    wrong.write_text('import lossref\n@lossref.target("dice")\ndef f(pred, target): return pred.mean() * 0\n')
    words = ["validate", str(wrong), "--check", "value", "--dtype", "float64", "--jobs", "1", "--out", str(folder)]
    assert CliRunner().invoke(app, words).exit_code == 1
    (path,) = (folder / "cases").glob("*.json")
    assert json.loads(path.read_text())["device"] == "cpu"
    return path


def on_a_gpu(path: Path) -> Path:
    content = json.loads(path.read_text())
    other = path.with_name("gpu.json")
    other.write_text(json.dumps({**content, "device": "cuda"}))
    return other


def test_a_lost_device_ends_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An assertion on a GPU spoils whatever is asked of the process later, so that there is no later."""

    def broken() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(state, "_synchronize", broken)
    assert state.lost("cpu") == ""
    said = {"lost": state.lost("cuda")}
    host = ProcessHost(Lodging())
    host.load("torch", adapter=True)
    monkeypatch.setattr("lossref.hosts.worker.wire.unpack", lambda read: said)
    lost = "the device was lost: RuntimeError: CUDA error: device-side assert triggered"
    with pytest.raises(TargetEnded, match=lost) as found:
        host.load("dropin", adapter=True)
    assert found.value.status == "crashed"


def test_tf32_is_off_unless_it_is_allowed() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        for on in (True, False):
            state.allow_tf32(on)
            assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (on, on)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    assert not Lodging().tf32
