"""Losses of one's own as they are: classes on a model, sums of terms, forks, hints for what comes in another form."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from typer.testing import CliRunner

from lossref.checks.material import fixed_of, material
from lossref.cli import app
from lossref.core.nouns import Target
from lossref.hosts.probe import Result, TargetRaised, applicable, call, itself
from lossref.hosts.process import Lodging
from lossref.losses import spec as find
from lossref.run.ask import asked
from lossref.run.plan import Job, plan, rows_of
from lossref.targets.hints import hint
from lossref.targets.lodged import lodged, settled, version
from lossref.targets.resolve import UnknownTarget, fork_of

HEAD = "import torch\nimport lossref\n"


def targets_of(tmp_path: Path, body: str, name: str = "mine.py", as_spec: str | None = None) -> list[Target]:
    file, _, attribute = name.partition(":")
    (tmp_path / file).write_text(HEAD + dedent(body))
    return lodged(f"{tmp_path / file}{attribute and ':'}{attribute}", as_spec, Lodging())


def both(target: Target, dtype: str = "float64", kind: str = "small") -> list[tuple[Result, Result]]:
    """What a target and the reference say to two cases."""
    spec = find(target.spec)
    found = material(spec, kind, "quick", 0, fixed_of(spec, target.fixed))
    cases = [case for case in found if applicable(spec, target, case)][:2]
    assert cases
    return [
        (call(spec, target, case, dtype, grad=True), call(spec, itself(spec), case, dtype, grad=True)) for case in cases
    ]


def same(one: Result, other: Result) -> None:
    np.testing.assert_allclose(one.value, other.value, rtol=1e-9, atol=1e-9)
    for name, gradient in other.gradient.items():
        got = one.gradient[name]
        np.testing.assert_allclose(0.0 if got is None else got, 0.0 if gradient is None else gradient, atol=1e-9)


# Recognised by signature ------------------------------------------------------------------------------------

IMITATIONS = """
class Inner:
    def __init__(self, net):
        self.inner = lossref.v8DetectionLoss(net)
    def __call__(self, preds, batch):
        return self.give(*self.inner(preds, batch))

@lossref.target("v8_detection")
class Pair(Inner):
    def give(self, loss, items): return loss, items

@lossref.target("v8_detection")
class Sum(Inner):
    def give(self, loss, items): return loss.sum()

@lossref.target("v8_detection")
class SumAndItems(Inner):
    def give(self, loss, items): return loss.sum(), items

@lossref.target("v8_detection")
class Vector(Inner):
    def give(self, loss, items): return loss

@lossref.target("v8_detection")
class Dict(Inner):
    def give(self, loss, items): return dict(zip("abc", loss))

@lossref.target("v8_detection")
class Starred(lossref.v8DetectionLoss):
    def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs)
    def __call__(self, *args): return super().__call__(*args)

@lossref.target("v8_detection", edition="8.3")
class Maps:
    def __init__(self, model): self.inner = lossref.edition("8.3").v8DetectionLoss(model)
    def __call__(self, preds, batch): return self.inner([*preds], batch)
"""

OTHERS = {
    "v8_segmentation": "v8SegmentationLoss",
    "v8_pose": "v8PoseLoss",
    "pose26": "PoseLoss26",
    "v8_obb": "v8OBBLoss",
    "e2e": "E2ELoss",
    "e2e_detect": "E2EDetectLoss",
    "tvp_detect": "TVPDetectLoss",
    "tvp_segment": "TVPSegmentLoss",
    "detr": "DETRLoss",
    "rtdetr": "RTDETRDetectionLoss",
    "hungarian": "HungarianMatcher",
    "keypoint": "KeypointLoss",
    "classification": "v8ClassificationLoss",
    "realnvp": "RealNVP",
    "mask": "v8SegmentationLoss",
    "rle_keypoints": "PoseLoss26",
}


def test_what_imitates_a_class_on_a_model_is_asked_like_it(tmp_path: Path) -> None:
    found = targets_of(tmp_path, IMITATIONS)
    assert [one.label for one in found] == ["Pair", "Sum", "SumAndItems", "Vector", "Dict", "Starred", "Maps"]
    for target in found:
        assert "asked like v8DetectionLoss" in target.note
        for got, want in both(target):
            same(got, want)
    assert "tal_topk" in found[5].accepts
    assert "tal_topk" not in found[0].accepts


def test_subclasses_of_every_public_class_are_asked_like_it(tmp_path: Path) -> None:
    lines = (f'@lossref.target("{spec}")\nclass Mine_{spec}(lossref.{name}): pass\n' for spec, name in OTHERS.items())
    found = targets_of(tmp_path, "\n".join(lines))
    assert [one.spec for one in found] == [*OTHERS]
    for target in found:
        assert f"asked like {OTHERS[target.spec]}" in target.note
        for got, want in both(target):
            same(got, want)


def test_one_with_the_inputs_of_the_spec_is_asked_as_before(tmp_path: Path) -> None:
    body = """
    @lossref.target("v8_detection")
    class Flat:
        def __init__(self, tal_topk=10): pass
        def __call__(self, boxes, scores, batch_idx, cls, bboxes): return boxes.sum(), scores.sum(), boxes.sum()

    @lossref.target("focal")
    class Focal(torch.nn.Module):
        def __init__(self, gamma=1.5): super().__init__()
        def forward(self, pred, label): return pred.sum()
    """
    for target in targets_of(tmp_path, body):
        assert not target.note
        assert target.accepts in (("tal_topk",), ("gamma",))


def test_as_says_it_of_a_class_without_a_mark(tmp_path: Path) -> None:
    body = "class Mine(lossref.v8OBBLoss): pass"
    (target,) = targets_of(tmp_path, body, "mine.py:Mine", "v8_obb")
    assert "asked like v8OBBLoss" in target.note
    for got, want in both(target):
        same(got, want)


def test_a_class_of_ultralytics_says_what_its_adapter_says(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    names = {"v8_detection": "v8DetectionLoss", "v8_segmentation": "v8SegmentationLoss", "v8_obb": "v8OBBLoss"}
    lines = [f'@lossref.target("{spec}")\nclass A_{spec}({name}): pass\n' for spec, name in names.items()]
    body = f"from ultralytics.utils.loss import {', '.join(names.values())}\n" + "\n".join(lines)
    mine = targets_of(tmp_path, body)
    theirs = {one.spec: one for one in lodged("ultralytics", None, Lodging())}
    for target in mine:
        spec, other = find(target.spec), theirs[target.spec]
        assert (target.accepts, target.fixed) == (other.accepts, other.fixed)
        for case in [case for case in material(spec, "small", "quick", 0) if applicable(spec, target, case)][:2]:
            assert said_to(target, case) == said_to(other, case)


def said_to(target: Target, case: object) -> object:
    try:
        return call(find(target.spec), target, case, "float64").value.tolist()  # type: ignore[arg-type]
    except TargetRaised as error:
        return str(error)


# Sums of terms ----------------------------------------------------------------------------------------------


def test_a_function_that_adds_its_terms_is_asked_with_one_gain_at_a_time(tmp_path: Path) -> None:
    body = """
    from lossref.losses import spec

    @lossref.target("v8_detection")
    def flat(boxes, scores, batch_idx, cls, bboxes, box_gain=7.5, cls_gain=0.5, dfl_gain=1.5):
        gains = {"box_gain": box_gain, "cls_gain": cls_gain, "dfl_gain": dfl_gain}
        return sum(spec("v8_detection").reference(boxes, scores, batch_idx, cls, bboxes, **gains))
    """
    (target,) = targets_of(tmp_path, body)
    for got, want in both(target):
        same(got, want)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            """
            @lossref.target("v8_detection")
            class Deaf:
                def __init__(self, model): pass
                def __call__(self, preds, batch): return preds["boxes"].sum() + 1
            """,
            "takes no notice of model.args.box, model.args.cls, model.args.dfl",
        ),
        (
            """
            @lossref.target("v8_segmentation")
            class Shared(lossref.v8SegmentationLoss):
                def __call__(self, preds, batch): return super().__call__(preds, batch)[0].sum()
            """,
            "share a gain",
        ),
        (
            """
            @lossref.target("v8_detection")
            class Number:
                def __init__(self, model): pass
                def __call__(self, preds, batch): return 3.5
            """,
            "returned float, expected a tensor",
        ),
    ],
    ids=["deaf", "shared", "number"],
)
def test_a_sum_that_cannot_be_taken_apart_says_why(tmp_path: Path, body: str, said: str) -> None:
    (target,) = targets_of(tmp_path, body)
    with pytest.raises(TargetRaised, match=said) as error:
        both(target)
    assert "adapter" not in str(error.value)


def test_what_an_adapter_raises_unawares_names_its_line(tmp_path: Path) -> None:
    body = """
    @lossref.target("v8_detection")
    class Empty:
        def __init__(self, model): pass
        def __call__(self): return 3.5

    @lossref.target("v8_detection")
    class Its:
        def __init__(self, model): pass
        def __call__(self, preds, batch): return {}["x"]
    """
    ours, theirs = targets_of(tmp_path, body)
    with pytest.raises(TargetRaised, match=r"raised in lossref's adapter, lossref/targets/dropin/own.py:\d+"):
        both(ours)
    with pytest.raises(TargetRaised, match=r"KeyError: 'x'$"):
        both(theirs)


# Hints ------------------------------------------------------------------------------------------------------

CIOU = "def my(box1, box2, eps=1e-7): "
TRUE = "lossref.bbox_iou(box1, box2, xywh=False, CIoU=True, eps=eps)"
FORMS = {
    "one minus, flat": ("ciou", f"{CIOU}return 1 - {TRUE}[..., 0]", "value,shape"),
    "mean": ("iou", f"{CIOU}return {TRUE.replace('CIoU', 'GIoU').replace('GIoU=True, ', '')}.mean()", "empty,reduced"),
    "sum of one minus, of a class": (
        "giou",
        "class my(torch.nn.Module):\n    def forward(self, a, b):\n"
        "        return (1 - lossref.bbox_iou(a, b, xywh=False, GIoU=True)).sum()",
        "value,shape,empty",
    ),
}


def judged(tmp_path: Path, word: str, spec: str, checks: str) -> list[str]:
    rows = rows_of(find(spec), checks, ("float64",))
    (target,) = lodged(word, None, Lodging())
    job = Job(word, spec, target.label, rows, "quick", 0, str(tmp_path / "out"))
    found = asked(job, settled(target)).verdicts
    return [f"{one.check} {one.status} {one.note}" for one in found if one.status != "pass"]


@pytest.mark.parametrize("name", FORMS)
def test_the_line_of_a_hint_passes(tmp_path: Path, name: str) -> None:
    spec, body, checks = FORMS[name]
    (found,) = targets_of(tmp_path, body, "mine.py:my", spec)
    target = settled(found)
    said = [hint(find(spec), target, got.value, want.value) for got, want in both(target)]
    line = said[0].partition("my: ")[2]
    assert line, said
    (tmp_path / "pasted.py").write_text((tmp_path / "mine.py").read_text() + "\n" + line + "\n")
    assert judged(tmp_path, str(tmp_path / "pasted.py"), spec, checks) == []


@pytest.mark.parametrize(
    ("got", "line"),
    [
        ([[0.25], [0.75]], ""),
        ([[0.75], [0.25]], "1 - my(box1, box2)"),
        ([[-0.25], [-0.75]], "-my(box1, box2)"),
        ([0.25, 0.75], "my(box1, box2)[..., None]"),
        ([[[0.75], [0.25]]], "1 - my(box1, box2).reshape(-1, 1)"),
        (0.5, "by_row(my)(box1, box2)"),
        (1.0, "by_row(my)(box1, box2)"),
        ([[0.3], [0.8]], ""),
        ([[np.nan], [0.25]], ""),
    ],
)
def test_forms_of_numbers(got: object, line: str) -> None:
    target = Target("ciou", partial, "my", usage="from mine import my\nout = my(box1, box2)")
    said = hint(find("ciou"), target, np.array(got), np.array([[0.25], [0.75]]))
    assert said.endswith(f"lambda box1, box2: {line})") if line else not said


def test_numbers_that_are_right_or_unknown_have_no_hint(tmp_path: Path) -> None:
    for name, body in {"right": f"{CIOU}return {TRUE}", "other": f"{CIOU}return {TRUE} * 3 + 2"}.items():
        (target,) = targets_of(tmp_path, body, f"{name}.py:my", "ciou")
        assert not any(hint(find("ciou"), target, got.value, want.value) for got, want in both(target))


def test_a_sum_without_gains_is_told_what_to_return(tmp_path: Path) -> None:
    body = "def my(boxes, scores, batch_idx, cls, bboxes): return boxes.sum() + scores.sum()"
    (target,) = targets_of(tmp_path, body, "mine.py:my", "v8_detection")
    with pytest.raises(TargetRaised) as error:
        both(target)
    said = hint(find("v8_detection"), target, None, np.zeros(3), str(error.value))
    assert "return the terms before they are added, (box, cls, dfl)" in said
    assert "box_gain, cls_gain, dfl_gain" in said


@pytest.mark.parametrize(
    "takes", ["target, pred_dist, reg_max=16", "*, pred_dist, target, reg_max=16", "pred_dist, reg_max, target"]
)
def test_inputs_in_another_order_are_handed_over_by_name(tmp_path: Path, takes: str) -> None:
    body = f"def my({takes}): return lossref.DFLoss(reg_max)(pred_dist, target)"
    (target,) = targets_of(tmp_path, body, "mine.py:my", "dfl")
    line = target.note.partition("my: ")[2]
    (tmp_path / "pasted.py").write_text((tmp_path / "mine.py").read_text() + "\n" + line + "\n")
    assert judged(tmp_path, str(tmp_path / "pasted.py"), "dfl", "value") == []


@pytest.mark.parametrize(
    ("takes", "said"),
    [
        ("boxes", r"my takes \(boxes\), ciou gives \(box1, box2\)"),
        ("boxes, eps=1e-7", r"my takes \(boxes, eps\), ciou gives"),
        ("pred, target, size, eps=1e-7", r"my\(box1, box2, size=\.\.\.\)"),
        ("pred, target, eps=1e-7", "^$"),
        ("pred, target, size=3", "^$"),
        ("*boxes", "^$"),
        ("pred, target, **more", "^$"),
    ],
)
def test_arguments_that_do_not_fit_are_told(tmp_path: Path, takes: str, said: str) -> None:
    (target,) = targets_of(tmp_path, f"def my({takes}): return 0", "mine.py:my", "ciou")
    assert re.search(said, target.note), target.note


# Words ------------------------------------------------------------------------------------------------------


def test_one_object_counts_once_whatever_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mark = '@lossref.target("iou", xywh=False)\n'
    Path("first.py").write_text(f"{HEAD}{mark}def my(box1, box2, eps=1e-7): return box1 + box2\nalias = my\n")
    Path("second.py").write_text("from first import my\nother = my\n")
    wraps = "import functools\n@functools.wraps(my)\ndef copy(*args): return my(*args)\n"
    Path("third.py").write_text(f"from first import my\n{wraps}")
    assert [(one.word, one.label) for one in plan(["first.py", "second.py", "first"])] == [("first.py", "my")]
    assert [one.word for one in plan(["first.py", "third.py"])] == ["first.py", "third.py"]


FORK = """
import importlib, sys
import ultralytics
__version__ = "0.1"
class Alias:
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("likeyolo."):
            return None
        return importlib.util.spec_from_loader(name, self)
    def create_module(self, spec):
        return importlib.import_module("ultralytics." + spec.name.partition(".")[2])
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Alias())
"""


def test_a_fork_is_asked_as_the_package_that_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics")
    (tmp_path / "likeyolo").mkdir()
    (tmp_path / "likeyolo" / "__init__.py").write_text(FORK)
    monkeypatch.chdir(tmp_path)
    word = fork_of("likeyolo", "ultralytics")
    found = {one.spec: one for one in lodged(word, None, Lodging(python=sys.executable))}
    assert version(word, Lodging()) == "0.1"
    assert found["angle"].label == "likeyolo"
    for got, want in both(found["ciou"]):
        same(got, want)
    words = (
        f"validate likeyolo --as-package ultralytics --spec ciou --check value --dtype float64,float32 --out {tmp_path}"
    )
    result = CliRunner().invoke(app, [*words.split(), "-j", "1"])
    assert result.exit_code == 0, result.output
    assert "2 pass" in result.output


def test_a_package_without_forks_is_refused() -> None:
    with pytest.raises(UnknownTarget, match="takes ultralytics"):
        fork_of("mine", "monai")
