# SPDX-License-Identifier: Apache-2.0
"""However a step is run, it gives what the network as written gives; an image shown twice is encoded once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from small_networks import DPT, LINEAR

from ttt3r_ros.model.checkpoints.networks import seeded_network
from ttt3r_ros.model.network.config import NetworkConfig
from ttt3r_ros.model.runtime.backend import TorchBackend, _pack, _unpack, copy_to_host_sync
from ttt3r_ros.model.runtime.compilation import compile_modules
from ttt3r_ros.model.runtime.execution import (
    CudaGraphFunction,
    Execution,
    ExecutionOptions,
    NetworkOutputs,
    _all_finite,
    build_execution,
    resolve_compile,
)
from ttt3r_ros.odometry.session import StreamingSession

if TYPE_CHECKING:
    from ttt3r_ros.types import Prediction, UInt8Array

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def needs_cuda(test):
    return pytest.mark.gpu(no_cuda(test))


def noise(seed: int, height: int = 60, width: int = 80) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each run of the encoder got."""
    counts: list[int] = []
    encode = Execution.encode

    def counted(self, images):
        counts.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(Execution, "encode", counted)
    return counts


def test_the_image_of_a_reset_is_encoded_once_though_it_is_shown_twice(encoded):
    session = StreamingSession(TorchBackend(seeded_network(LINEAR)), reset_interval=2)
    for seed in range(4):
        session.step(noise(seed))
    assert session.segment == 2
    assert sum(encoded) == 4


def test_an_image_changed_in_place_is_encoded_again(encoded):
    backend = TorchBackend(seeded_network(LINEAR))
    rgb = noise(1)
    backend.step(rgb, backend.initial_state())
    rgb[:] = noise(2)
    found, _ = backend.step(rgb, backend.initial_state())
    fresh = TorchBackend(seeded_network(LINEAR))
    expected, _ = fresh.step(noise(2), fresh.initial_state())
    np.testing.assert_array_equal(found.points_camera, expected.points_camera)
    assert encoded == [1, 1, 1]


def test_in_a_batch_only_the_images_that_are_new_are_encoded(encoded):
    backend = TorchBackend(seeded_network(LINEAR))
    backend.step(noise(1), backend.initial_state())
    backend.step_batch([noise(1), noise(2), noise(3)], [backend.initial_state()] * 3)
    assert encoded == [1, 2]


def test_known_features_give_the_same_answer_as_new_ones():
    backend = TorchBackend(seeded_network(DPT))
    first = backend.step(noise(1), backend.initial_state())[0]
    again = backend.step(noise(1), backend.initial_state())[0]
    np.testing.assert_array_equal(first.points_camera, again.points_camera)
    np.testing.assert_array_equal(first.T_segment_camera, again.T_segment_camera)


@pytest.mark.parametrize(
    ("requested", "device", "of_wide_network", "of_narrow_network"),
    [
        ("auto", "cpu", "none", "graph"),
        ("auto", "cuda", "graph", "graph"),
        ("none", "cuda:1", "none", "none"),
        ("none", "cpu", "none", "none"),
        ("inductor", "cpu", "inductor", "inductor"),
        ("inductor", "cuda", "inductor, graph", "inductor, graph"),
        ("graph", "cuda", "graph", "graph"),
        ("graph", "cpu", "graph", "graph"),
    ],
)
def test_the_mode_follows_from_the_device_and_the_network(
    requested, device, of_wide_network, of_narrow_network
):
    wide, narrow = NetworkConfig.published_512_dpt(), LINEAR
    assert resolve_compile(requested, device, wide) == of_wide_network
    assert resolve_compile(requested, device, narrow) == of_narrow_network


def shown(batch: int, device: str = "cpu") -> NetworkOutputs:
    generator = torch.Generator().manual_seed(batch)
    points, confidence, pose = (
        torch.rand(batch, *shape, generator=generator).to(device) for shape in ((6, 8, 3), (6, 8), (7,))
    )
    return NetworkOutputs(points, confidence, pose, torch.arange(batch, device=device) % 2 == 0)


@pytest.mark.parametrize("batch", [1, 3])
def test_what_travels_from_a_device_as_one_tensor_arrives_as_it_was(batch):
    sent = shown(batch)
    flat = _pack(sent)
    assert flat.shape == (batch, 6 * 8 * 4 + 7 + 1)
    for arrived, expected in zip(_unpack(flat, sent), sent, strict=True):
        assert arrived.dtype == expected.dtype
        np.testing.assert_array_equal(arrived.numpy(), expected.numpy())


def stream(backend: TorchBackend, *, encode_ahead: bool = False) -> list[Prediction]:
    state = backend.initial_state()
    found = []
    for seed in range(6):
        if encode_ahead:
            backend.set_next_image_source(partial(noise, seed + 1))
        prediction, state = backend.step(noise(seed), state)
        found.append(prediction)
    return found


def close(found: list[Prediction], expected: list[Prediction]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.T_segment_camera, b.T_segment_camera, atol=1e-4)
        np.testing.assert_allclose(a.confidence, b.confidence, rtol=1e-3)


def same(found: list[Prediction], expected: list[Prediction]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.T_segment_camera, b.T_segment_camera)
        np.testing.assert_array_equal(a.points_camera, b.points_camera)
        np.testing.assert_array_equal(a.confidence, b.confidence)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("config", [LINEAR, DPT], ids=["linear", "dpt"])
def test_a_processor_s_graph_with_parts_at_once_gives_the_same_to_the_last_bit(config, precision):
    torch.set_num_threads(1)
    as_written = TorchBackend(seeded_network(config), ExecutionOptions(precision=precision))
    recorded = TorchBackend(
        seeded_network(config),
        ExecutionOptions(precision=precision, mode="graph", parallel_decoders=True, encode_ahead=True),
    )
    same(stream(recorded, encode_ahead=True), stream(as_written))


def test_streams_in_a_batch_of_a_processor_s_graph_equal_those_without_a_graph():
    torch.set_num_threads(1)
    images = [noise(1), noise(2), noise(3, 80, 60)]  # the last is of another shape

    def together(backend: TorchBackend) -> list[Prediction]:
        answers = backend.step_batch(images, [backend.initial_state()] * 3)
        return [answer[0] for answer in answers if isinstance(answer, tuple)]

    recorded = TorchBackend(seeded_network(DPT), ExecutionOptions(mode="graph", parallel_decoders=True))
    same(together(recorded), together(TorchBackend(seeded_network(DPT))))


def test_a_state_from_a_processor_s_graph_stays_as_it_was_when_the_next_image_is_shown():
    backend = TorchBackend(
        seeded_network(LINEAR), ExecutionOptions(mode="graph", parallel_decoders=True)
    )
    _, state = backend.step(noise(1), backend.initial_state())
    before = {name: array.copy() for name, array in backend.state_arrays(state).items()}
    backend.step(noise(2), state)
    np.testing.assert_equal(backend.state_arrays(state), before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor imports deprecated parts of torch
def test_a_compiled_encoder_gives_what_the_encoder_as_written_gives():
    network = seeded_network(replace(LINEAR, enc_depth=1))
    image = torch.linspace(-1, 1, 3 * 48 * 64).reshape(1, 3, 48, 64)
    with torch.inference_mode():
        expected = build_execution(network, "none").encode(image)
        compiled = build_execution(network, "inductor").encode(image)
    torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=0)
    assert not compiled.equal(expected), "nothing was compiled"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("config", [LINEAR, DPT], ids=["linear", "dpt"])
def test_every_part_that_is_compiled_is_one_graph_which_gives_the_same(config, precision):
    """What inductor is given; its own part takes a minute on a processor."""
    as_written, compiled = (
        TorchBackend(seeded_network(config), ExecutionOptions(precision=precision)) for _ in range(2)
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_modules(compiled._network, backend="eager")
    close(stream(compiled), stream(as_written))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    # A block of the encoder, one of each decoder, heads, pose memory read and written, state; some in two shapes.
    assert 7 <= graphs <= 9


@pytest.mark.slow
def test_without_a_compiler_one_line_is_logged_and_the_network_runs(tmp_path):
    program = (
        "from ttt3r_ros.config import Config\n"
        "from ttt3r_ros.model.runtime.loading import load_backend\n"
        "print(load_backend(Config(compile='inductor', threads=1))[1]['compiled'])"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {"PATH": "", "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "none\n", done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("compile inductor failed, the network runs without it: ")
    assert "compiler" in line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", range(2))
def test_one_bad_number_anywhere_spoils_its_stream_and_no_other(value, where):
    tensors = [torch.randn(3, 4, 5, 3), torch.randn(3, 7)]
    tensors[where][1].flatten()[-1] = value
    assert _all_finite(tuple(tensors)).tolist() == [True, False, True]


@needs_cuda
@pytest.mark.parametrize("ahead", [False, True])
def test_recorded_graphs_give_what_the_network_as_written_gives(ahead):
    recorded = TorchBackend(
        seeded_network(DPT), ExecutionOptions("cuda", mode="graph", encode_ahead=ahead)
    )
    plain = TorchBackend(seeded_network(DPT), ExecutionOptions("cuda"))
    close(stream(recorded, encode_ahead=ahead), stream(plain))


@needs_cuda
def test_a_state_from_a_recorded_graph_stays_as_it_was_when_the_next_image_is_shown():
    backend = TorchBackend(seeded_network(LINEAR), ExecutionOptions("cuda", mode="graph"))
    _, state = backend.step(noise(1), backend.initial_state())
    before = backend.state_arrays(state)
    backend.step(noise(2), state)
    np.testing.assert_equal(backend.state_arrays(state), before)


@needs_cuda
@pytest.mark.parametrize("batch", [1, 3])
def test_arrays_fetched_from_a_device_are_equal(batch):
    for arrived, expected in zip(copy_to_host_sync(shown(batch, "cuda")), shown(batch), strict=True):
        assert arrived.device.type == "cpu"
        torch.testing.assert_close(arrived, expected, rtol=0, atol=0)


@needs_cuda
@pytest.mark.parametrize("mode", ["none", "graph", "inductor, graph"])
def test_a_cuda_device_gives_what_the_processor_gives(mode):
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = stream(TorchBackend(seeded_network(DPT), ExecutionOptions("cuda", mode=mode)))
    close(found, stream(TorchBackend(seeded_network(DPT))))


@needs_cuda
def test_streams_in_a_batch_of_recorded_graphs_equal_single_streams():
    backend = TorchBackend(seeded_network(DPT), ExecutionOptions("cuda", mode="graph"))
    images = [noise(1), noise(2), noise(3, 80, 60)]  # the last is of another shape
    together = [answer[0] for answer in backend.step_batch(images, [backend.initial_state()] * 3)]
    alone = TorchBackend(seeded_network(DPT), ExecutionOptions("cuda"))
    close(together, [alone.step(image, alone.initial_state())[0] for image in images])


@needs_cuda
def test_a_recording_called_from_two_streams_answers_both():
    weight = torch.randn(2048, 2048, device="cuda") / 2048**0.5

    def slow(image):
        x = image
        for _ in range(50):
            x = x @ weight
        return (x + image,)  # its input is needed to the end

    recorded, other = CudaGraphFunction(slow), torch.cuda.Stream()
    first, second = (torch.randn(2048, 2048, device="cuda") for _ in range(2))
    expected = slow(first)[0], slow(second)[0]
    recorded(first)
    torch.cuda.synchronize()
    (of_first,) = recorded(first)
    with torch.cuda.stream(other):  # while the first is under way
        (of_second,) = recorded(second)
    torch.cuda.synchronize()
    torch.testing.assert_close(of_first, expected[0], rtol=0, atol=1e-2)
    torch.testing.assert_close(of_second, expected[1], rtol=0, atol=1e-2)
