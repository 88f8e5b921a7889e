# SPDX-License-Identifier: Apache-2.0
"""A start that fails for any reason: one readable line, the transition fails, exit status 1 with autostart."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import FakeBackend
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from ttt3r_ros.errors import ConfigError, SourceError, describe_error
from ttt3r_ros.ros import address_space, mapping_node

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["front-left"], "front-left"),
        (["1st"], "1st"),
        (["left", "robot/right"], "robot/right"),
        (["left", "right", "left"], "left"),
        (["caméra"], "caméra"),
        (["a b"], "a b"),
        (["~cam"], "~cam"),
    ],
)
def test_a_camera_name_that_is_no_topic_or_occurs_twice_is_refused_by_name(start, names, named):
    with pytest.raises(ConfigError, match=named):
        start(cameras=names)


FOREIGN = [
    MemoryError(),
    MemoryError("Unable to allocate 3.00 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes\nframe #0"),
    OSError(12, "Cannot allocate memory"),
    ValueError("two\nlines"),
    KeyError("name"),
]


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
def test_a_foreign_error_fails_the_configuration_with_its_reason(start, monkeypatch, error):
    def fail(_: object) -> None:
        raise error

    node, peer = start(autostart=False)
    node._given_backend = None
    monkeypatch.setattr(mapping_node, "load_backend", fail)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not peer.call_service(ChangeState, "change_state", request).success
    response = peer.call_service(GetState, "get_state", GetState.Request())
    assert response.current_state.id == State.PRIMARY_STATE_UNCONFIGURED
    assert str(node.start_error) == describe_error(error)
    assert "\n" not in str(node.start_error)
    node._given_backend = FakeBackend()  # the cause is gone
    assert peer.call_service(ChangeState, "change_state", request).success


def test_an_error_late_in_the_configuration_leaves_no_publishers(start, monkeypatch):
    def fail() -> None:
        raise MemoryError

    node, peer = start(autostart=False)
    monkeypatch.setattr(mapping_node, "require_address_space", fail)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not peer.call_service(ChangeState, "change_state", request).success
    assert not [p.topic_name for p in node.publishers if p.topic_name.startswith("/mapping_node/pose")]


def test_with_autostart_the_node_is_not_created(start, monkeypatch):
    def fail() -> None:
        raise MemoryError

    monkeypatch.setattr(mapping_node, "require_address_space", fail)
    with pytest.raises(ConfigError, match="memory is short"):
        start()


def test_an_address_space_without_room_for_an_image_is_refused_with_both_sizes(monkeypatch):
    used_mib = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() >> 20
    limit = (used_mib + address_space.REQUIRED_MIB // 2) << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    with pytest.raises(ConfigError, match=f"{limit >> 20} MiB"):
        address_space.require_address_space()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4 * limit, 4 * limit))
    address_space.require_address_space()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SourceError("bag is empty"), "bag is empty"),
        (MemoryError(), "memory is short"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (TypeError(), "TypeError"),
    ],
)
def test_an_error_is_described_in_one_line(error, line):
    assert describe_error(error) == line


def run(code: str, domain_id: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ROS_DOMAIN_ID": str(domain_id)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def during_import(action: str) -> str:
    """Return a script that runs the node's entry point and an action while the node is imported."""
    return (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'ttt3r_ros.ros.mapping_node': {action}\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from ttt3r_ros.ros.main import main\n"
        "sys.exit(main())\n"
    )


def test_an_interrupt_during_the_imports_is_one_line(domain_id):
    done = run(during_import("os.kill(os.getpid(), signal.SIGINT)"), domain_id)
    assert done.returncode == 128 + signal.SIGINT
    assert len(done.stderr.splitlines()) == 1


def test_a_library_that_cannot_be_loaded_is_one_line_with_its_name(domain_id):
    done = run(during_import("raise ImportError('libtorch_cpu.so: failed to map segment')"), domain_id)
    assert done.returncode == 1
    assert "libtorch_cpu.so" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_parameter_file_is_one_line_with_its_name(domain_id, tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("mapping_node:\n  ros__parameters: [\n")
    code = (
        "import sys\nfrom ttt3r_ros.ros.main import main\n"
        f"sys.exit(main(['--ros-args', '--params-file', {str(file)!r}]))\n"
    )
    done = run(code, domain_id)
    assert done.returncode == 1
    assert "broken.yaml" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
