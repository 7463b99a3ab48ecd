"""Implementations in other languages, asked over pipes: honest ones, and one lie after the other."""

from __future__ import annotations

import csv
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from lossref.cli import app
from lossref.core.nouns import Target
from lossref.hosts.command import CannotAnswer, CommandHost
from lossref.hosts.endings import TargetEnded
from lossref.hosts.probe import TargetRaised, call_of, call_on, itself
from lossref.hosts.process import Lodging, Unimportable
from lossref.hosts.worker.messages import Call, Question
from lossref.losses import spec

ROOT = Path(__file__).parents[1]
RUNTIMES = ROOT / "regression" / "runtimes"
Row = dict[str, str]


def peer(name: str) -> str:
    return shlex.join([sys.executable, str(RUNTIMES / name)])


def rows(folder: Path, command: str, *more: str) -> tuple[list[Row], str]:
    """The verdicts on everything that a peer offers, and what was printed."""
    words = ["validate", "--command", command, "--out", str(folder), "--jobs", "1", *more]
    output = CliRunner().invoke(app, words).output
    with (folder / "summary.csv").open() as file:
        return list(csv.DictReader(file)), output


# Honest peers -------------------------------------------------------------------------------------------

WANT_GRADIENTS = {"gradient", "kinks", "connected", "upstream"}
WITHOUT = {
    "it is always given eps",
    "it has no gradients",
    "where a call stands is a matter of torch's, which it does not run in",
}


def test_numpy_has_values_and_declares_no_gradients(tmp_path: Path) -> None:
    found, output = rows(tmp_path, peer("numpy_peer.py"), "--spec", "giou")
    giou = {(row["check"], row["dtype"]): row for row in found if row["target"] == "numpy giou"}
    unsupported = {check for (check, _), row in giou.items() if row["status"] == "unsupported"}
    assert unsupported == {*WANT_GRADIENTS, "contexts", "defaults"}
    assert {row["note"] for row in giou.values() if row["status"] == "unsupported"} == WITHOUT
    assert {row["status"] for row in giou.values()} == {"pass", "unsupported"}, output


def test_a_mistake_of_a_peer_is_seen_by_every_check_of_values(tmp_path: Path) -> None:
    asked = ("--spec", "dice", "--check", "value,reduced,bulk,single")
    found, output = rows(tmp_path, peer("numpy_peer.py"), *asked)
    assert {row["check"] for row in found if row["status"] == "fail"} == {"value", "reduced", "bulk", "single"}, output
    assert {row["status"] for row in found} == {"fail"}


def test_jax_has_values_and_gradients(tmp_path: Path) -> None:
    assert find_spec("jax"), "JAX is not installed: pip install -c constraints.txt -e '.[runtimes]', as make test does"
    checks = ("value", "gradient", "upstream", "refuses")
    found, output = rows(
        tmp_path, peer("jax_peer.py"), "--timeout", "60", *(word for one in checks for word in ("--check", one))
    )
    assert {row["target"] for row in found} == {"jax giou", "jax dice"}
    assert {row["status"] for row in found} == {"pass"}, output


# Liars --------------------------------------------------------------------------------------------------

# A peer that answers one ask after the other with what `LIE` says; `answer` is the honest one.
LIAR = """
import io, json, os, sys, time
import numpy as np
source, sink = sys.stdin.buffer, sys.stdout.buffer

def say(body, *arrays):
    files = []
    for array in arrays:
        file = io.BytesIO()
        np.save(file, np.asarray(array))
        files.append(file.getvalue())
    sink.write(json.dumps({**body, "arrays": [len(file) for file in files]}).encode() + b"\\n" + b"".join(files))
    sink.flush()

def one(value=0, gradient=1, **more):
    return {"returned": [{"values": {"loss": {"array": value}}, "gradients": {"pred": {"array": gradient}}, **more}]}

def raw(content):
    sink.write(content)
    sink.flush()

OFFER = {"spec": "focal", "params": ["gamma", "alpha"]}
for line in iter(source.readline, b""):
    message = json.loads(line)
    files = [source.read(size) for size in message["arrays"]]
    if message["do"] == "stop":
        break
    if message["do"] == "describe":
        DESCRIBE
    else:
        ASK
"""
HONEST_OFFER = 'say({"protocol": 1, "losses": [OFFER]})'
VALUE, SLOPE = "np.zeros(())", "np.zeros((1, 2))"
FOCAL, INPUTS = spec("focal"), {"pred": np.array([[0.5, -1.0]]), "label": np.array([[1.0, 0.0]])}
QUICK = Lodging(timeout=3.0, memory=2**29)


def liar(folder: Path, ask: str = "pass", describe: str = HONEST_OFFER) -> str:
    file = folder / "liar.py"
    file.write_text(LIAR.replace("DESCRIBE", describe).replace("ASK", ask))
    return shlex.join([sys.executable, str(file)])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CommandHost]:
    made = CommandHost(Lodging(command=liar(tmp_path), timeout=QUICK.timeout, memory=QUICK.memory))
    yield made
    made.close()


def asked(host: CommandHost) -> object:
    host.describe()
    target = Target("focal", lambda: None, "liar", ("gamma", "alpha"), host=host, thing=0)
    case = FOCAL.corners[0].__class__("focal", INPUTS, FOCAL.defaults())
    return call_on(FOCAL, target, case, call_of(FOCAL, INPUTS, "float32", ("pred",)))


ANSWERS = {
    "dies": ("os._exit(3)", "crashed", "the process ended with exit code 3"),
    "is killed": ("os.kill(os.getpid(), 9)", "crashed", "ended by SIGKILL"),
    "closes its output": ("os.close(1); time.sleep(30)", "crashed", "closed the pipe"),
    "stalls": ("time.sleep(60)", "timeout", "gave no answer within 1 s"),
    "stalls in the middle of a line": ("raw(b'{\"retur'); time.sleep(60)", "timeout", "gave no answer within 1 s"),
    "half an array": ("raw(b'{\"arrays\": [99]}\\nabc'); time.sleep(60)", "timeout", "gave no answer within 1 s"),
    "half an array, then dies": ("raw(b'{\"arrays\": [99]}\\nabc'); os._exit(0)", "crashed", "exit code 0"),
    "rubbish": ("raw(os.urandom(200) + b'\\n')", "crashed", "sent no line of JSON"),
    "no object": ("raw(b'[1, 2]\\n')", "crashed", "JSON that is no object"),
    "deep JSON": ("raw(b'[' * 200000 + b'\\n')", "crashed", "sent no line of JSON"),
    "floods its answer": ("while True: raw(b'x' * 65536)", "crashed", "a line of more than 16777216 bytes"),
    "a line that never ends, slowly": ("while True: raw(b'x'); time.sleep(0.01)", "timeout", "gave no answer within"),
    "two answers": (f"say(one(), {VALUE}, {SLOPE}); say(one(), {VALUE}, {SLOPE})", "crashed", "more than one answer"),
    "too many results": (
        f"say({{'returned': one()['returned'] * 2}}, {VALUE}, {SLOPE})",
        "crashed",
        "list of 1 results",
    ),
    "no results": ("say({})", "crashed", "list of 1 results"),
    "sizes that are none": ("raw(b'{\"arrays\": [-1]}\\n')", "crashed", "no list of sizes"),
    "an array of 2^40 bytes": ("raw(b'{\"arrays\": [1099511627776]}\\n')", "crashed", "no list of sizes"),
    "no .npy file": ("raw(b'{\"arrays\": [3]}\\nabc')", "crashed", "no .npy file"),
    "pickled objects": ("say(one(), np.array([object()], dtype=object), 0)", "crashed", "no .npy file"),
    "complex numbers": (f"say(one(), {VALUE} * 1j, {SLOPE})", "crashed", "no .npy file"),
    "text": (f"say(one(), np.array('a'), {SLOPE})", "crashed", "no .npy file"),
    "a number instead of an array": ("say({'returned': [{'values': {'loss': 0.5}}]})", "crashed", "loss: expected"),
    "an array that was not sent": (f"say(one(value=7), {VALUE}, {SLOPE})", "crashed", "loss: expected"),
    "another term": ("say({'returned': [{'values': {'cost': {'array': 0}}}]}, 0.0)", "crashed", "no values of loss"),
    "a gradient that nobody wants": (
        "say({'returned': [{'values': {'loss': {'array': 0}}, 'gradients': {'label': {'array': 0}}}]}, 0.0)",
        "crashed",
        "gradients that nobody asked for",
    ),
    "NaN in JSON": ('raw(b\'{"returned": [{"values": {"loss": NaN}}], "arrays": []}\\n\')', "crashed", "JSON"),
    "an unknown field": (f"say(one(extra=1), {VALUE}, {SLOPE})", "crashed", "an unknown field 'extra'"),
    "an unknown field beside": (
        f"say({{**one(), 'extra': 1}}, {VALUE}, {SLOPE})",
        "crashed",
        "an unknown field 'extra'",
    ),
    "too much memory": ("x = np.ones(2**27); time.sleep(9)", "crashed", "GiB of memory"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_lie_is_a_verdict(host: CommandHost, tmp_path: Path, name: str) -> None:
    ask, status, how = ANSWERS[name]
    liar(tmp_path, ask)
    host.lodging = replace(host.lodging, timeout=1.0 if status == "timeout" else QUICK.timeout)
    begin = time.monotonic()
    with pytest.raises(TargetEnded, match=how) as found:
        asked_often(host)
    assert found.value.status == status
    assert time.monotonic() - begin < 25
    assert not host_is_alive(tmp_path)


def asked_often(host: CommandHost) -> None:
    """A second answer may come late, and is then seen at the next question."""
    for _ in range(9):
        asked(host)
        time.sleep(0.1)


def host_is_alive(folder: Path) -> bool:
    """Whether a process runs the liar of this folder."""
    file = str(folder / "liar.py")
    found = (one.info for one in psutil.process_iter(["cmdline", "status"]))
    return any(file in (info["cmdline"] or ()) and info["status"] != psutil.STATUS_ZOMBIE for info in found)


def test_a_flood_on_stderr_does_not_keep_the_answer(host: CommandHost, tmp_path: Path) -> None:
    liar(tmp_path, f"os.write(2, b'y' * 10**7); say(one(), {VALUE}, {SLOPE})")
    assert asked(host).value == 0.0


def test_what_it_printed_is_shown(host: CommandHost, tmp_path: Path) -> None:
    liar(tmp_path, "sys.stderr.write('out of luck\\n'); sys.stderr.flush(); os._exit(1)")
    with pytest.raises(TargetEnded) as found:
        asked(host)
    assert "out of luck" in found.value.printed


ALLOWED = {
    "raises": ("say({'returned': [{'raised': 'ValueError: no\\x1b[31m'}]})", TargetRaised, "ValueError: no"),
    "raises whatever is asked": ("say({'raised': 'ValueError: never'})", TargetRaised, "ValueError: never"),
    "cannot": ("say({'unsupported': 'no float32'})", CannotAnswer, "no float32"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_peer_may_say_instead(host: CommandHost, tmp_path: Path, name: str) -> None:
    ask, kind, text = ALLOWED[name]
    liar(tmp_path, ask)
    with pytest.raises(kind, match=text) as found:
        asked(host)
    assert "\x1b" not in str(found.value)


def test_absent_and_zero_gradients_are_told_apart(host: CommandHost, tmp_path: Path) -> None:
    liar(tmp_path, "say({'returned': [{'values': {'loss': {'array': 0}}, 'gradients': {'pred': None}}]}, 0.0)")
    assert asked(host).gradient == {"pred": None}
    host.close()
    liar(tmp_path, "say({'returned': [{'values': {'loss': {'array': 0}}}]}, 0.0)")
    assert asked(host).gradient == {}


def test_a_peer_is_asked_only_what_it_says_that_it_can_take(tmp_path: Path) -> None:
    """Labels of 0 and 1, here; it refuses every other."""
    focal = """
        pred, label = (np.load(io.BytesIO(file)) for file in files)
        if not np.isin(label, (0, 1)).all():
            say({"returned": [{"raised": "ValueError: hard labels only"}] * len(message["calls"])})
        else:
            gamma, alpha = message["params"]["gamma"], message["params"]["alpha"]
            right = np.where(label == 1, pred, -pred)
            factor = np.where(label == 1, alpha, 1 - alpha) if alpha > 0 else 1
            loss = (np.logaddexp(0, -right) * (1 + np.exp(right)) ** -gamma * factor).mean(1).sum()
            say({"returned": [{"values": {"loss": {"array": 0}}}]}, loss)
    """
    offer = 'say({"protocol": 1, "losses": [{**OFFER, "gradients": False, "only": {"label": "hard"}}]})'
    command = liar(tmp_path, focal.strip(), describe=offer)
    found, output = rows(tmp_path / "out", command, "--check", "value", "--dtype", "float64")
    assert [(row["status"], "asked only where label is hard" in row["note"]) for row in found] == [("pass", True)], (
        output
    )


def test_a_term_that_is_absent_may_be_left_out(host: CommandHost, tmp_path: Path) -> None:
    """It is told which those are; a term that is not absent has to be there."""
    question = Question(("cls", "rle"), {}, (Call({}, {}),), absent=("rle",))
    liar(tmp_path, "assert message['absent'] == ['rle']; say({'returned': [{'values': {'cls': {'array': 0}}}]}, 2.0)")
    host.describe()
    (one,) = host.ask(0, question).returned
    assert [float(value) for value in one.values] == [2.0, 0.0]
    with pytest.raises(TargetEnded):
        host.ask(0, replace(question, absent=()))
    host.close()
    liar(tmp_path, "say({'returned': [{'values': {'rle': {'array': 0}}}]}, 2.0)")
    with pytest.raises(TargetEnded, match="no values of cls, rle"):
        host.ask(0, question)


OFFERS = {
    "protocol 2": ('say({"protocol": 2, "losses": [OFFER]})', "it speaks protocol 2, expected 1"),
    "no protocol": ('say({"losses": [OFFER]})', "it speaks protocol None, expected 1"),
    "no losses": ('say({"protocol": 1, "losses": []})', "it describes no losses"),
    "no spec": ('say({"protocol": 1, "losses": [{"name": "x"}]})', "has no 'spec'"),
    "an unknown field": ('say({"protocol": 1, "losses": [{**OFFER, "paramz": []}]})', "an unknown field 'paramz'"),
    "an unknown field beside": ('say({"protocol": 1, "losses": [OFFER], "more": 1})', "an unknown field 'more'"),
    "params that are no list": ('say({"protocol": 1, "losses": [{**OFFER, "params": "gamma"}]})', "'params'"),
    "gradients that are no bool": ('say({"protocol": 1, "losses": [{**OFFER, "gradients": "no"}]})', "'gradients'"),
    "an unknown dtype": ('say({"protocol": 1, "losses": [{**OFFER, "dtypes": ["float8"]}]})', "'dtypes'"),
    "only that is a word": ('say({"protocol": 1, "losses": [{**OFFER, "only": "hard"}]})', "'only'"),
    "dies": ("os._exit(4)", "exit code 4 while it was asked what it has"),
    "stalls": ("time.sleep(60)", "gave no answer within 3 s while it was asked what it has"),
}


@pytest.mark.parametrize("name", OFFERS)
def test_a_lie_about_what_it_has(host: CommandHost, tmp_path: Path, name: str) -> None:
    describe, how = OFFERS[name]
    liar(tmp_path, describe=describe)
    host.lodging = replace(host.lodging, timeout=1.0 if "no answer" in how else QUICK.timeout)
    with pytest.raises(TargetEnded, match=how):
        host.describe()
    assert not host_is_alive(tmp_path)


def test_a_peer_that_starts_slowly_once_only_is_described_once_more(host: CommandHost, tmp_path: Path) -> None:
    file = str(tmp_path / "slow")
    once = f"if not os.path.exists({file!r}): open({file!r}, 'w').close(); time.sleep(60)"
    liar(tmp_path, describe=f"{once}\n        {HONEST_OFFER}")
    host.lodging = replace(host.lodging, timeout=1.0)
    assert [one.spec for one in host.describe()] == ["focal"]


def test_starting_once_more_takes_nothing_of_the_time_for_an_answer(host: CommandHost, tmp_path: Path) -> None:
    """As with a runtime that takes longer to start than to answer."""
    file, answer = str(tmp_path / "crashed"), f"say(one(), {VALUE}, {SLOPE})"
    crash = f"not os.path.exists({file!r}) and (open({file!r}, 'w').close(), os._exit(3)); {answer}"
    liar(tmp_path, crash, describe=f"time.sleep(1.2); {HONEST_OFFER}")
    host.lodging = replace(host.lodging, timeout=1.0)
    with pytest.raises(TargetEnded, match="exit code 3"):
        asked(host)
    target = Target("focal", lambda: None, "liar", ("gamma", "alpha"), host=host, thing=0)
    case = FOCAL.corners[0].__class__("focal", INPUTS, FOCAL.defaults())
    assert call_on(FOCAL, target, case, call_of(FOCAL, INPUTS, "float32", ("pred",))).value == 0.0


def test_what_cannot_be_started() -> None:
    for command in ("/nowhere/peer", "", "'unclosed"):
        with pytest.raises(Unimportable, match="cannot be started"):
            CommandHost(Lodging(command=command)).describe()


UNKNOWN = {
    "an unknown spec": ('say({"protocol": 1, "losses": [{"spec": "nothing"}]})', "there is no spec 'nothing'", 2),
    "an unknown parameter": (
        'say({"protocol": 1, "losses": [{**OFFER, "params": ["gama"]}]})',
        "has no parameter 'gama'",
        2,
    ),
    "an unknown family": (
        'say({"protocol": 1, "losses": [{**OFFER, "only": {"label": "odd"}}]})',
        "label of focal has no family 'odd' for only=",
        2,
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_words_are_one_sentence(tmp_path: Path, name: str) -> None:
    describe, text, status = UNKNOWN[name]
    words = ["validate", "--command", liar(tmp_path, describe=describe), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, text in result.output, len(result.output.splitlines())) == (status, True, 1)


def test_a_wrong_shape_is_a_failure_and_the_other_rows_stand(tmp_path: Path) -> None:
    wrong = "say({'returned': [{'values': {'loss': {'array': 0}}}] * len(message['calls'])}, np.zeros((3, 3)))"
    command = liar(tmp_path, wrong)
    found, _ = rows(tmp_path / "out", command, "--check", "value,dtype,refuses", "--timeout", "10")
    assert {row["check"]: row["status"] for row in found if row["check"] == "value"} == {"value": "fail"}
    assert "shape" in next(row["note"] for row in found if row["check"] == "value")
    assert len(found) == 5


def test_a_gradient_of_another_shape_is_a_failure(host: CommandHost, tmp_path: Path) -> None:
    command = liar(tmp_path, "say(one(), np.zeros(()), np.zeros(7))")
    found, _ = rows(tmp_path / "out", command, "--check", "gradient", "--dtype", "float64")
    assert [row["status"] for row in found] == ["fail"]


def test_a_failure_of_a_peer_is_replayed_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names a command, which may do anything: that wants trust."""
    monkeypatch.chdir(tmp_path)
    command = liar(tmp_path, "say({'returned': [{'values': {'loss': {'array': 0}}}] * len(message['calls'])}, 7.0)")
    rows(tmp_path / "out", command, "--check", "value", "--dtype", "float64", "--timeout", "9")
    (case,) = (tmp_path / "out" / "cases").glob("*.json")
    content = json.loads(case.read_text())
    assert content["lodging"]["command"] == command
    assert content["why"] == f"found by `lossref validate --command {shlex.quote(command)}`, seed 0"
    said = CliRunner().invoke(app, ["replay", str(case)])
    assert (said.exit_code, f"the command {command!r}; if you trust it: --trust" in said.output) == (2, True)
    assert "got 7" in CliRunner().invoke(app, ["replay", str(case), "--trust"]).output
    other = CliRunner().invoke(app, ["replay", str(case), "--command", "/nowhere/peer"])
    assert (other.exit_code, "the command '/nowhere/peer' cannot be started" in other.output) == (3, True)


def test_the_rule_of_upstream_weights_is_that_of_the_peers() -> None:
    sys.path.insert(0, str(RUNTIMES))
    try:
        from peer import above
    finally:
        sys.path.remove(str(RUNTIMES))
    from lossref.hosts.worker.tensors import weights as ours

    weights = above({"upstream": "contiguous"})
    assert weights((11,)).tolist() == ours(11).tolist()
    assert weights((8,)).tolist() == [1.75, -1.5, 1.25, 1.0, -0.75, 1.75, 1.5, -1.25]
    assert itself(FOCAL).gradients
