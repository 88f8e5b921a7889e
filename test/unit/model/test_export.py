# SPDX-License-Identifier: Apache-2.0
"""The ONNX graphs as those meet them who run them elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_networks import DPT, LINEAR, images

from ttt3r_ros.cli.main import main
from ttt3r_ros.errors import ConfigError, OutputError
from ttt3r_ros.io.atomic import atomic_write_folder
from ttt3r_ros.model.checkpoints.checkpoint import save_checkpoint
from ttt3r_ros.model.checkpoints.networks import load_network, seeded_network
from ttt3r_ros.model.network.view import View
from ttt3r_ros.model.runtime.backend import TorchBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "export.md"
SHALLOW = {"enc_depth": 1, "dec_depth": 2}
BATCH, WIDTH, HEIGHT = 2, 64, 48


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    network = seeded_network(replace(DPT, **SHALLOW), seed=3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, dict(network.state_dict()), network.config, 12)
    return path


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory) -> Path:
    for package in PACKAGES:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("exported") / "new" / "onnx"
    assert main([*arguments(weights, folder), "--batch", str(BATCH)]) == 0
    return folder


@pytest.fixture
def network(weights):
    return load_network(weights).network


@pytest.fixture(scope="module")
def walk() -> list[torch.Tensor]:
    return [images(BATCH, seed, HEIGHT, WIDTH) for seed in range(5)]


def arguments(weights: Path, folder: Path, size: str = f"{WIDTH}x{HEIGHT}") -> list[str]:
    return ["export", "--weights", str(weights), "--size", size, "--output", str(folder)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["encoder", "step", "heads"])
def test_the_graphs_neither_branch_nor_loop_and_their_rotary_factors_are_constants(exported, name):
    import onnx

    model = onnx.load(exported / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert not {node.op_type for node in model.graph.node} & {
        "If", "Loop", "Scan", "Sin", "Cos", "Range", "Shape", "Einsum",
    }  # fmt: skip
    assert not model.functions
    assert [entry.domain for entry in model.opset_import] == [""]
    assert [entry.version for entry in model.opset_import] == [18]
    for value in (*model.graph.input, *model.graph.output):
        assert all(side.dim_value > 0 for side in value.type.tensor_type.shape.dim), value.name


def test_the_weights_that_are_used_are_stored_once(exported, network):
    import onnx

    stored = sum(
        int(np.prod(weight.dims))
        for name in ("encoder", "step", "heads")
        for weight in onnx.load(exported / f"{name}.onnx").graph.initializer
    )
    unused = ("ray_map", "dpt_cross", "dpt_rgb", "final_transform")
    used = sum(
        t.numel() for name, t in network.state_dict().items() if not any(u in name for u in unused)
    )
    assert 0.8 * used < stored < 1.2 * used  # folded products come and go, and rotary factors


def test_five_chained_images_equal_pytorch(exported, network, walk):
    from ttt3r_ros.model.onnx.chain import TOLERANCE, OnnxChain, compute_deviations

    found = compute_deviations(network, OnnxChain(exported), walk)
    assert found.keys() == {"pose", "points", "confidence", "next_state", "next_memory"}
    assert max(found.values()) < TOLERANCE / 5


def test_the_graphs_of_other_weights_are_distinguished(exported, walk):
    from ttt3r_ros.model.onnx.chain import OnnxChain, compute_deviations
    from ttt3r_ros.offline.onnx_export import require_agreement

    other = seeded_network(replace(DPT, **SHALLOW), seed=4)
    found = compute_deviations(other, OnnxChain(exported), walk[:2])
    with pytest.raises(
        OutputError, match=r"differ from PyTorch by .* expected at most 1e-04. Nothing was"
    ):
        require_agreement(found)


@pytest.mark.parametrize("deviation", [2e-4, float("nan"), float("inf")])
def test_a_deviation_over_the_tolerance_names_the_output(deviation):
    for package in PACKAGES:
        pytest.importorskip(package)
    from ttt3r_ros.offline.onnx_export import require_agreement

    require_agreement({"pose": 1e-5, "points": 9e-5})
    with pytest.raises(OutputError, match="in points; expected"):
        require_agreement({"pose": 1e-5, "points": deviation, "confidence": 1e-6})


def test_a_stream_of_the_batch_restarts_where_fresh_is_set(exported, network, walk):
    from ttt3r_ros.model.onnx.chain import OnnxChain

    chain = OnnxChain(exported)
    first, second, third = walk[:3]
    chain.step(first.numpy())
    kept = chain.step(second.numpy())
    chain.fresh[0] = True
    found = chain.step(third.numpy())
    fresh, _ = network.step(View(image=third), network.initial_state(BATCH))
    assert np.allclose(found["pose"][0], fresh.pose[0], atol=1e-5)
    assert not np.allclose(found["pose"][1], fresh.pose[1], atol=1e-5)
    assert not found["next_fresh"].any()
    assert not np.array_equal(found["next_state"], kept["next_state"])


def test_the_lines_of_the_guide_give_the_poses_of_pytorch(exported, network, walk):
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {"folder": exported, "images": [image.numpy() for image in walk]}
    exec(code, names)
    state = network.initial_state(BATCH)
    for image, pose in zip(walk, names["poses"], strict=True):
        output, state = network.step(View(image=image), state)
        assert np.allclose(pose, output.pose, atol=1e-5)


def test_the_metadata_describe_the_files(exported, weights, network):
    import onnxruntime

    facts = json.loads((exported / "metadata.json").read_text(encoding="utf-8"))
    assert facts["weights_id"] == TorchBackend(network).weights_id
    assert weights.name in facts["weights"]
    assert (facts["update_rule"], facts["reset_interval"], facts["opset"]) == ("ttt3r", 12, 18)
    assert facts["image"] == {"width": WIDTH, "height": HEIGHT}
    assert facts["batch"] == BATCH
    assert facts["carried"] == {f"next_{name}": name for name in ("state", "memory", "fresh")}
    kinds = {"float32": "tensor(float)", "bool": "tensor(bool)"}
    for graph in facts["graphs"]:
        session = onnxruntime.InferenceSession(exported / graph["file"])
        for side, entries in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            expected = [(entry["name"], kinds[entry["dtype"]], entry["shape"]) for entry in graph[side]]
            assert expected == [(entry.name, entry.type, entry.shape) for entry in entries]
    for entry in facts["files"]:
        written = (exported / entry["name"]).read_bytes()
        assert (len(written), hashlib.sha256(written).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert content(exported).keys() == {"metadata.json", *(entry["name"] for entry in facts["files"])}


@pytest.fixture(scope="module")
def linear_heads():
    """The heads of a network with linear ones, and what the exporter makes of them."""
    for package in PACKAGES:
        pytest.importorskip(package)
    from ttt3r_ros.model.onnx.graphs import export_program, graphs

    _, step, heads = graphs(seeded_network(replace(LINEAR, **SHALLOW), seed=3), WIDTH, HEIGHT)
    assert [*step.outputs] == [*heads.inputs, "next_state", "next_memory", "next_fresh"]
    return heads, export_program(heads, 18)


def test_linear_heads_need_the_last_layer_alone(linear_heads, tmp_path):
    import onnxruntime

    from ttt3r_ros.model.onnx.graphs import save_onnx

    heads, program = linear_heads
    save_onnx(program, tmp_path / "heads.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "heads.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["layer_end"]
    found = session.run(None, {"layer_end": heads.inputs["layer_end"].numpy()})
    for array, tensor in zip(found, heads.outputs.values(), strict=True):
        assert np.allclose(array, tensor, atol=1e-5)


def test_the_weights_of_a_large_graph_lie_beside_it_and_move_with_it(linear_heads, tmp_path):
    import onnxruntime

    from ttt3r_ros.model.onnx.graphs import save_onnx

    with atomic_write_folder(tmp_path, last="none") as staging:
        save_onnx(linear_heads[1], staging / "heads.onnx", external_data_bytes=10_000)
    assert {path.name for path in tmp_path.iterdir()} == {"heads.onnx", "heads.onnx.data"}
    assert (
        (tmp_path / "heads.onnx").stat().st_size < 50_000 < (tmp_path / "heads.onnx.data").stat().st_size
    )
    onnxruntime.InferenceSession(tmp_path / "heads.onnx")


def test_a_point_of_depth_zero_may_be_its_own_opposite():
    pytest.importorskip("onnxruntime")
    from ttt3r_ros.model.onnx.chain import deviation

    points = np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 2.0]], np.float32)
    turned = points * np.array([[-1.0], [1.0]], np.float32)
    assert deviation(turned, points, mirrored=True) == 0.0
    assert deviation(turned, points) == 2.0
    assert deviation(-points, points, mirrored=True) == 1.0


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("70x48", "network image is 70x48; both sides must be positive multiples of 16"),
        ("64x8", "network image is 64x8"),
    ],
)
def test_a_size_the_network_cannot_be_shown_is_one_readable_line(
    weights, tmp_path, capsys, size, expected
):
    for package in PACKAGES:
        pytest.importorskip(package)
    assert main(arguments(weights, tmp_path / "out", size)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ttt3r_ros: {expected}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["64", "64x", "0x48", "-64x48", "9999x48", "64 x 48", "axb"])
def test_an_invalid_size_is_a_usage_error(weights, tmp_path, capsys, size):
    with pytest.raises(SystemExit) as caught:
        main([*arguments(weights, tmp_path)[:3], f"--size={size}", "--output", str(tmp_path)])
    assert caught.value.code == 2
    assert "such as 512x384" in capsys.readouterr().err


def test_an_operator_set_that_cannot_be_written_is_refused(weights, tmp_path, capsys):
    for package in PACKAGES:
        pytest.importorskip(package)
    assert main([*arguments(weights, tmp_path / "out"), "--opset", "17"]) == 1
    assert capsys.readouterr().err == "ttt3r_ros: opset is 17; expected 18 to 23\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_its_extra_in_one_line(
    weights, tmp_path, capsys, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for name in ("ttt3r_ros.offline.onnx_export", "ttt3r_ros.model.onnx.chain"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for other in PACKAGES[: PACKAGES.index(package)]:
        pytest.importorskip(other)
    assert main(arguments(weights, tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert f" {package}: " in error
    assert error.endswith("ttt3r_ros[export]\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file become larger than ``size`` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("beside", [10_000, 10**9], ids=["weights beside", "in one file"])
@pytest.mark.parametrize("earlier", [False, True], ids=["in a new folder", "over an earlier export"])
def test_a_full_disk_leaves_nothing_half_written(linear_heads, tmp_path, earlier, beside):
    from ttt3r_ros.model.onnx.graphs import save_onnx

    def export() -> None:
        with atomic_write_folder(folder, "all.json") as staging:
            (staging / "encoder.onnx").write_text("newer")
            save_onnx(linear_heads[1], staging / "heads.onnx", beside)

    folder = tmp_path / "out"
    before = {"encoder.onnx": b"earlier", "all.json": b"earlier"} if earlier else {}
    for name, text in before.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(text)
    with (
        room_for(50_000),
        pytest.raises(OutputError, match=r"cannot write .*out: (File too large|problem writing)"),
    ):
        export()
    assert folder.exists() == earlier
    assert not earlier or content(folder) == before


def test_a_file_in_the_way_of_the_folder_is_one_readable_line(weights, tmp_path, capsys):
    for package in PACKAGES:
        pytest.importorskip(package)
    (tmp_path / "file").touch()
    assert main(arguments(weights, tmp_path / "file" / "out")) == 1
    assert capsys.readouterr().err.startswith(f"ttt3r_ros: cannot write {tmp_path / 'file' / 'out'}: ")
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_a_graph_that_branches_is_refused():
    onnx_ir = pytest.importorskip("onnx_ir")
    from ttt3r_ros.model.onnx.graphs import check_no_control_flow

    text = """<ir_version: 10, opset_import: ["": 18]> branching (float[2] x, bool yes) => (float[2] y) {
        y = If (yes) <then_branch = one () => (float[2] a) { a = Neg (x) },
                      else_branch = other () => (float[2] b) { b = Identity (x) }> }"""
    with pytest.raises(
        ConfigError, match="the step graph has If; expected a graph without control flow"
    ):
        check_no_control_flow("step", onnx_ir.from_onnx_text(text))
