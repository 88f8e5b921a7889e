# SPDX-License-Identifier: Apache-2.0
"""torch.save files are read as data: no code in them is executed, and damage is reported."""

from __future__ import annotations

import argparse
import builtins
import collections
import os
import pickle
import sys
import types
import zipfile

import pytest
import torch

from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.pickle_reader import read_container

REBUILD_TENSOR = torch._utils._rebuild_tensor_v2
REBUILD_PARAMETER = torch._utils._rebuild_parameter
REBUILD_QUANTIZED = torch._utils._rebuild_qtensor
MODEL = "ARCroco3DStereo(ARCroco3DStereoConfig(enc_depth=1))"


class StorageReference:
    """The persistent id that torch.save writes for a storage: kind, key, element count."""

    def __init__(self, count, kind=torch.FloatStorage, key="0"):
        self.pid = ("storage", kind, key, "cpu", count)


class TensorRecord:
    """A tensor with an arbitrary layout."""

    def __init__(self, shape, strides, offset=0, storage=None):
        self.layout = (storage or StorageReference(6), offset, shape, strides)

    def __reduce__(self):
        return REBUILD_TENSOR, (*self.layout, False, collections.OrderedDict())


class Call:
    """An object that unpickling creates by calling a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class StoragePickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, StorageReference) else None


def write_container(path, value, *, compression=zipfile.ZIP_STORED, **records):
    """Write a torch.save zip by hand with one storage of six floats 0..5."""
    with zipfile.ZipFile(path, "w", compression) as archive, archive.open("a/data.pkl", "w") as stream:
        StoragePickler(stream, protocol=2).dump(value)
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("a/data/0", torch.arange(6.0).numpy().tobytes())
        for name, content in records.items():
            archive.writestr(f"a/{name}", content)
    return path


def write_pickle(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
    return path


def tensors_in(path, record):
    return read_container(write_container(path, {"model": {"x": record}})).tensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_come_back_as_torch_wrote_them(path, dtype):
    base = torch.arange(24).reshape(4, 6).to(dtype)
    state = {"plain": base, "view": base[1:, ::2], "turned": base.T, "scalar": base[2, 3]}
    torch.save({"model": state, "args": argparse.Namespace(model=MODEL)}, path)
    container = read_container(path)
    assert container.model_string == MODEL
    assert list(container.tensors) == list(state)
    for name, tensor in state.items():
        assert container.tensors[name].dtype == dtype
        assert torch.equal(container.tensors[name], tensor)


def test_parameters_ordered_dicts_and_empty_tensors_are_read(path):
    module = torch.nn.Linear(3, 2)
    state = module.state_dict(keep_vars=True)  # an OrderedDict with attributes, holding Parameters
    state["empty"] = torch.zeros(0, 5)
    torch.save({"model": state}, path)
    tensors = read_container(path).tensors
    assert torch.equal(tensors["weight"], module.weight)
    assert tensors["empty"].shape == (0, 5)


def test_a_plain_state_dict_has_no_model_string(path):
    torch.save({"a.weight": torch.ones(2)}, path)
    container = read_container(path)
    assert container.model_string is None
    assert torch.equal(container.tensors["a.weight"], torch.ones(2))


def test_writing_to_a_tensor_does_not_change_the_file(path):
    torch.save({"model": {"x": torch.zeros(4)}}, path)
    before = path.read_bytes()
    read_container(path).tensors["x"].fill_(1.0)
    assert path.read_bytes() == before


def test_the_model_string_is_found_inside_classes_that_are_not_installed(path, monkeypatch):
    module = types.ModuleType("unknown_settings")
    for name in ("DictConfig", "AnyNode", "Metadata"):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    node, root, decoy = module.AnyNode(), module.DictConfig(), module.AnyNode()
    metadata = module.Metadata()
    metadata.cache = collections.defaultdict(dict, {"a": {}})
    vars(node).update(_metadata=metadata, _val=MODEL, _parent=root)
    vars(decoy).update(_val="a note about ARCroco3DStereo(...)")
    vars(root).update(_content={"note": decoy, "model": node}, _parent=None)
    torch.save({"args": root, "model": {"x": torch.ones(1)}}, path)
    monkeypatch.delitem(sys.modules, module.__name__)
    assert read_container(path).model_string == MODEL
    assert module.__name__ not in sys.modules


def hostile_calls(marker):
    write = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(builtins.eval, write),
        "exec": Call(builtins.exec, write),
        "nested": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {marker}"))),
        "open": Call(open, str(marker), "w"),
    }


@pytest.mark.parametrize("attack", list(hostile_calls("")))
@pytest.mark.parametrize("place", ["args", "model", "tensor"])
def test_a_hostile_pickle_has_no_effect(path, tmp_path, attack, place):
    marker = tmp_path / "executed"
    call = hostile_calls(marker)[attack]
    state = {"x": torch.ones(2)} if place == "args" else {"x": torch.ones(2), "y": call}
    torch.save({"args": call, "model": state} if place != "model" else {"model": call}, path)
    if place == "args":
        assert torch.equal(read_container(path).tensors["x"], torch.ones(2))
    else:
        with pytest.raises(CheckpointError):
            read_container(path)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("attack", list(hostile_calls("")))
def test_the_hostile_pickles_run_in_an_ordinary_reader(path, tmp_path, attack):
    marker = tmp_path / "executed"
    torch.save({"args": hostile_calls(marker)[attack]}, path)
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_function_reached_through_getattr_has_no_effect(path, tmp_path):
    marker = tmp_path / "executed"
    # getattr(__import__("os"), "system")("touch ..."), as instructions
    data = (
        b"\x80\x02}X\x04\x00\x00\x00argscbuiltins\ngetattr\n(cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85R"
        b"X\x06\x00\x00\x00systemtR" + pickle.dumps(f"touch {marker}", 2)[2:-1] + b"\x85Rs."
    )
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(write_pickle(path, data))
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80\x02cos\nsystem\n}X\x01\x00\x00\x00ad(NdNb.",  # sets attributes of a class
        b"\x80\x02cos\nsystem\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
        b"\x80\x02]N}X\x01\x00\x00\x00aK\x01s\x86b.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02K\x01)\x81.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.",
    ],
)
def test_a_malformed_pickle_is_a_checkpoint_error(path, data):
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(write_pickle(path, data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02\x82\x01.", "EXT1 at byte 2"),
        (b"\x80\x05\x96" + (0).to_bytes(8, "little") + b".", "BYTEARRAY8"),
        (b"(ios\nsystem\n.", "INST"),
        (b"\x80\x02N." + b"x" * 2**24, "16777220 bytes"),
    ],
    ids=["registry", "buffer", "old instance", "huge"],
)
def test_instructions_that_torch_never_writes_are_refused_by_name(path, data, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_container(write_pickle(path, data))


def test_a_tensor_written_by_hand_is_read_with_its_layout(path):
    tensors = tensors_in(path, TensorRecord((2, 2), (1, 2), offset=1))
    assert tensors["x"].tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    "record",
    [
        TensorRecord((7,), (1,)),
        TensorRecord((2, 3), (4, 1)),
        TensorRecord((3,), (1,), offset=4),
        TensorRecord((3,), (1,), offset=-1),
        TensorRecord((3,), (-1,), offset=3),
        TensorRecord((-3,), (1,)),
        TensorRecord((10**12,), (0,)),
        TensorRecord((2**63,), (1,)),
        TensorRecord((2,), (2**62,)),
        TensorRecord((2,), (1, 1)),
        TensorRecord([2], [1]),
        TensorRecord((2.0,), (1,)),
        TensorRecord((True,), (1,)),
        TensorRecord((1,) * 100, (1,) * 100),
    ],
)
def test_a_layout_outside_its_storage_is_refused(path, record):
    with pytest.raises(CheckpointError, match="tensor 'x'"):
        tensors_in(path, record)


@pytest.mark.parametrize(
    "record",
    [
        TensorRecord((2,), (1,), storage=StorageReference(7)),
        TensorRecord((2,), (1,), storage=StorageReference(-1)),
        TensorRecord((2,), (1,), storage=StorageReference(6, torch.DoubleStorage)),
        TensorRecord((2,), (1,), storage=StorageReference(6, torch.ComplexFloatStorage)),
        TensorRecord((2,), (1,), storage=StorageReference(6, key="1")),
        TensorRecord((2,), (1,), storage=StorageReference(6, key="../data.pkl")),
        TensorRecord((2,), (1,), storage="0"),
        Call(REBUILD_TENSOR),
        Call(REBUILD_PARAMETER, 1, True, None),
        Call(REBUILD_QUANTIZED, 1, 2, 3, 4),
    ],
)
def test_a_storage_that_contradicts_its_record_is_refused(path, record):
    with pytest.raises(CheckpointError, match="tensor 'x'"):
        tensors_in(path, record)


def test_a_value_that_is_not_a_tensor_is_refused_by_name(path):
    torch.save({"model": {"x": torch.ones(1), "epoch": 3}}, path)
    with pytest.raises(CheckpointError, match=r"'epoch'.*int"):
        read_container(path)


def test_a_key_that_is_not_a_string_is_refused(path):
    torch.save({"model": {3: torch.ones(1)}}, path)
    with pytest.raises(CheckpointError, match="key 3"):
        read_container(path)


def test_every_truncation_is_reported(path):
    torch.save({"model": {"x": torch.arange(64.0)}, "args": argparse.Namespace(model=MODEL)}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"weights[.]pth"):
            read_container(path)


def test_a_flipped_bit_in_the_weights_is_reported(path):
    torch.save({"model": {"x": torch.full((64,), 1.5)}}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((64,), 1.5).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="data/0"):
        read_container(path)


def test_the_format_before_pytorch_1_6_is_refused(path):
    torch.save({"model": {"x": torch.ones(1)}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"PyTorch before 1[.]6"):
        read_container(path)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"version https://git-lfs", b"\x93NUMPY"])
def test_a_file_of_another_format_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(path)


def test_a_zip_file_without_a_pickle_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "x")
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(path)


def test_compressed_entries_are_refused(path):
    state = {"model": {"x": TensorRecord((2,), (1,))}}
    with pytest.raises(CheckpointError, match=r"data[.]pkl"):
        read_container(write_container(path, state, compression=zipfile.ZIP_DEFLATED))


def test_another_byte_order_is_refused(path):
    other = "big" if sys.byteorder == "little" else "little"
    state = {"model": {"x": TensorRecord((2,), (1,))}}
    with pytest.raises(CheckpointError, match=r"big|little"):
        read_container(write_container(path, state, byteorder=other))


@pytest.mark.parametrize("value", [{}, {"epoch": 1}, [torch.ones(1)], torch.ones(1), {"model": {}}])
def test_a_file_without_a_state_dict_is_refused(path, value):
    torch.save(value, path)
    with pytest.raises(CheckpointError, match=r"weights[.]pth"):
        read_container(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent[.]pth"):
        read_container(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match=tmp_path.name):
        read_container(tmp_path)
