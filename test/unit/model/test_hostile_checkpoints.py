# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that try to exhaust time or memory load normally or raise `CheckpointError` at once."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from test_pickle_reader import write_container, write_pickle

from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.inert_pickle import read_pickle
from ttt3r_ros.model.checkpoints.pickle_reader import read_container

MAX_GROWTH_KIB = 300_000
MAX_TIME_RATIO = 5  # relative to the longest plain pickle that is parsed
CHILD = """
import json, resource, sys, time
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.pickle_reader import read_container

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

for path in sys.argv[1:]:
    held, start = peak_kib(), time.process_time()
    try:
        outcome = "loaded " + ",".join(read_container(path).tensors)
    except CheckpointError as error:
        outcome = "refused " + str(error)
    print(json.dumps([path, outcome, time.process_time() - start, peak_kib() - held]), flush=True)
"""


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def doubled(times):
    """Nested pairs, five bytes each, with 2**times leaves."""
    return b"K\x01" + b"q\x01h\x01\x86" * times


def doubled_lists(times):
    return b"]" + b"q\x01]h\x01ah\x01a" * times


def doubled_calls(times):
    return b"N" + b"q\x010cm\nn\nh\x01h\x01\x86R" * times


def integer(value):
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tensor(shape=b"K\x06\x85", kind=b"ctorch\nFloatStorage\n", count=b"K\x06", key=None):
    storage = b"(" + text("storage") + kind + (key or text("0")) + text("cpu") + count + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"K\x01\x85\x89NtR"


def root(record=None, *, name=None, args=b"N", more=b""):
    state = b"}" + (name or text("x")) + (record or tensor()) + b"s"
    return b"\x80\x04}(" + text("args") + args + text("model") + state + more + b"u."


COLLIDING = b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(1, 50_000))
HARMLESS = {
    "pairs": root(args=doubled(60)),
    "lists": root(args=doubled_lists(60)),
    "calls": root(args=doubled_calls(60)),
    "pairs as a key": root(args=b"}" + doubled(60) + b"Ns"),
    "pairs as a key of an unknown class": root(args=b"cm\nn\n)R" + doubled(60) + b"Ns"),
    "pairs in a set": root(args=b"\x8f(" + doubled(60) + b"\x90"),
    "pairs in a frozen set": root(args=b"(" + doubled(60) + b"\x91"),
    "pairs as a top key": root(more=doubled(60) + b"N"),
    "pairs as keywords": root(args=b"cm\nn\n)" + doubled(60) + b"\x92"),
    "pairs as a state": root(args=b"cm\nn\n)\x81" + doubled(60) + b"b"),
    "deep pairs as a key": root(args=b"}" + b"K\x01" + b"\x85" * 300_000 + b"Ns"),
    "deep tuples": root(args=b"(" * 100_000 + b"K\x01" + b"t" * 100_000),
    "deep calls": root(args=b"cm\nn\nq\x010)" + b"q\x020h\x01h\x02\x85R" * 50_000),
    "a list inside itself": root(args=b"]q\x01h\x01a"),
    "a dictionary inside itself": root(args=b"}q\x01" + text("model") + b"h\x01s"),
    "keys of one hash": root(args=b"}(" + COLLIDING + b"u"),
    "one long string everywhere": root(
        args=b"](" + text("x" * 1_000_000) + b"q\x01" + b"h\x01" * 200_000 + b"e"
    ),
    "a memo of four billion": root(args=b"Nr\xff\xff\xff\xff"),
    "a frame of eight exbibytes": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + root()[2:],
}
REFUSED = {
    "shape of pairs": (root(tensor(shape=doubled(60))), "tensor 'x'"),
    "shape of lists": (root(tensor(shape=doubled_lists(60))), "tensor 'x'"),
    "shape of calls": (root(tensor(shape=doubled_calls(60))), "tensor 'x'"),
    "shape of a deep pair": (root(tensor(shape=b"K\x01" + b"\x85" * 100_000)), "tensor 'x'"),
    "shape of a long number": (root(tensor(shape=integer(2**2000) + b"\x85")), "tensor 'x'"),
    "kind of pairs": (root(tensor(kind=doubled(60))), "tensor 'x'"),
    "key of pairs": (root(tensor(key=doubled(60))), "tensor 'x'"),
    "count of pairs": (root(tensor(count=doubled(60))), "tensor 'x'"),
    "name of pairs": (root(name=doubled(60)), ".pth"),
    "name of calls": (root(name=doubled_calls(60)), ".pth"),
    "top key of pairs": (b"\x80\x04}" + doubled(60) + b"Ns.", ".pth"),
    "pairs": (b"\x80\x04" + doubled(60) + b".", ".pth"),
    "call of pairs": (b"\x80\x04" + doubled(60) + b")R.", ".pth"),
    "number of a million bytes": (
        b"\x80\x04\x8b" + (10**6).to_bytes(4, "little") + b"\x01" * 10**6 + b".",
        "LONG4",
    ),
    "number of claimed length": (b"\x80\x04\x8b\xff\xff\xff\x7f\x01.", ".pth"),
    "string of claimed length": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7fx.", ".pth"),
    "too many instructions": (b"\x80\x04](" + b"N" * 1_500_000 + b"e.", "1000000"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Outcome, CPU seconds and memory growth in KiB of every attack, measured in one child process."""
    folder = tmp_path_factory.mktemp("hostile")
    data = {f"loads {name}": content for name, content in HARMLESS.items()}
    data |= {f"refuses {name}": content for name, (content, _) in REFUSED.items()}
    paths = [str(write_attack(folder / f"{name}.pth", content)) for name, content in data.items()]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *paths],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    measured = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"after {measured[-1:]}: {child.stderr}"
    return dict(zip(data, (result for _, *result in measured), strict=True))


@pytest.fixture(scope="module")
def longest(outcomes):
    """CPU seconds for the maximum number of plain instructions."""
    outcome, seconds, _ = outcomes["refuses too many instructions"]
    assert outcome.startswith("refused ")
    return seconds


def write_attack(path, data):
    write_pickle(path, data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", torch.arange(6.0).numpy().tobytes())
    return path


@pytest.mark.parametrize("name", HARMLESS)
def test_an_attack_outside_the_weights_has_no_effect(outcomes, longest, name):
    outcome, seconds, growth_kib = outcomes[f"loads {name}"]
    assert outcome == "loaded x"
    assert seconds < MAX_TIME_RATIO * longest
    assert growth_kib < MAX_GROWTH_KIB


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_inside_the_weights_is_refused_at_once(outcomes, longest, name):
    outcome, seconds, growth_kib = outcomes[f"refuses {name}"]
    assert outcome.startswith("refused ")
    assert REFUSED[name][1] in outcome
    assert len(outcome) < 2000
    assert seconds < MAX_TIME_RATIO * longest
    assert growth_kib < MAX_GROWTH_KIB


def test_many_tensors_of_one_storage_are_refused_before_a_copy(tmp_path):
    names = b"".join(text(f"dec_blocks.{i}") + b"h\x01" for i in range(500))
    state = (
        b"}(" + text("y") + tensor(shape=b"M\x10\x27\x85", count=b"M\x10\x27") + b"q\x01" + names + b"u"
    )
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + text("model") + state + b"s.")
        archive.writestr("a/data/0", torch.zeros(10_000).numpy().tobytes())
    with pytest.raises(CheckpointError, match="20040000"):
        read_container(tmp_path / "weights.pth")


def test_entries_that_overlap_are_refused(tmp_path):
    path = write_container(tmp_path / "weights.pth", {"model": {}}, big="x" * 10_000)
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist += [archive.getinfo("a/big")] * 5
        archive.writestr("a/last", "")
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(path)


class Odd(list):
    """An object with arguments, state, members and entries."""

    def __reduce__(self):
        args = (1, -300, 70_000, "é", 2.5, 2**40, True, None, [2], (3, 4, 5, 6), ())
        return Odd, args, {"a": Odd}, iter([7, 8]), iter([("k", 9), (10, 11)])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_record_has_arguments_state_members_and_entries(protocol):
    first, second = read_pickle(pickle.dumps((Odd(),) * 2, protocol))
    assert first is second
    assert first.name == f"{__name__}.Odd"
    assert first.args == Odd().__reduce__()[1]
    assert first.state.entry("a").name == first.name
    assert first.members == [7, 8]
    assert first.entries == [("k", 9), (10, 11)]


def test_the_last_entry_of_a_repeated_key_is_returned():
    assert read_pickle(b"\x80\x02}(" + text("a") + b"K\x01" + text("a") + b"K\x02u.").entry("a") == 2


@pytest.mark.parametrize("protocol", [4, 5])
def test_sets_and_bytes_of_later_protocols_are_read(protocol):
    assert read_pickle(pickle.dumps([{8}, frozenset([9]), b"x"], protocol)) == [[8], [9], b"x"]
