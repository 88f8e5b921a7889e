# SPDX-License-Identifier: Apache-2.0
"""Services, live parameters and diagnostics of a running node."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import image
from graph import SECOND, map_images, wait_for_connection
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters

from ttt3r_ros.config import settings
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros.diagnostics import KEYS

pytestmark = pytest.mark.ros


def set_live(peer, name, value):
    kinds = {
        bool: (ParameterType.PARAMETER_BOOL, "bool_value"),
        float: (ParameterType.PARAMETER_DOUBLE, "double_value"),
        str: (ParameterType.PARAMETER_STRING, "string_value"),
    }
    kind, attribute = kinds[type(value)]
    request = SetParameters.Request(
        parameters=[ParameterMessage(name=name, value=ParameterValue(type=kind, **{attribute: value}))]
    )
    (result,) = peer.call_service(SetParameters, "set_parameters", request).results
    return result


def test_images_are_dropped_between_pause_and_resume(start):
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 2)
    assert peer.call("pause").success
    peer.publish(image(5), 5 * SECOND)
    peer.spin_until(lambda: peer.count("dropped") == 1, "the drop")
    assert peer.diagnostics()["paused"] == "true"
    assert peer.call("resume").success
    map_images(peer, 1, 6 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(2.0)


def test_clearing_the_map_keeps_state_and_trajectory(start):
    node, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 3)
    reconstructor = node.mapping.bodies[0].reconstructor
    assert peer.call("clear_map").success
    assert (len(reconstructor.map.voxels), len(reconstructor.trajectory)) == (0, 3)
    map_images(peer, 1, 9 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(3.0)


def test_saving_the_map_leaves_ply_pcd_pgm_and_yaml(start, tmp_path):
    _, peer = start(**{"grid.min_height": -1.0})
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    response = peer.call("save_map")
    assert response.success
    assert {path.name for path in tmp_path.iterdir()} >= {"map.ply", "map.pcd"}
    assert str(tmp_path) in response.message


def test_a_session_continues_after_a_restart_of_the_node(start, tmp_path):
    first, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 3)
    voxels = first.mapping.bodies[0].reconstructor.map.voxels.point_cloud().points
    assert peer.call("save_state").success
    assert (tmp_path / "state.npz").is_file()
    peer.close()
    first.destroy_node()

    second, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    response = peer.call("load_state")
    assert response.success, response.message
    reconstructor = second.mapping.bodies[0].reconstructor
    np.testing.assert_array_equal(
        np.sort(reconstructor.map.voxels.point_cloud().points, axis=0), np.sort(voxels, axis=0)
    )
    map_images(peer, 1, 9 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(3.0)
    assert peer.call("save_trajectory").success
    assert len(read_tum(tmp_path / "trajectory.txt")) == 4


def test_an_absent_or_damaged_state_is_refused_and_mapping_continues(start, tmp_path):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    absent = peer.call("load_state")
    assert not absent.success
    assert "state.npz" in absent.message
    (tmp_path / "state.npz").write_bytes(b"PK no archive")
    damaged = peer.call("load_state")
    assert not damaged.success
    assert "damaged" in damaged.message
    peer.call("save_state")
    whole = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(whole[: len(whole) // 2])
    assert not peer.call("load_state").success
    map_images(peer, 1, 9 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(2.0)


def test_no_state_can_be_saved_before_the_first_image(start, tmp_path):
    _, peer = start()
    response = peer.call("save_state")
    assert not response.success
    assert "state.npz" in response.message
    assert not (tmp_path / "state.npz").exists()


def test_a_live_parameter_acts_on_the_next_image(start):
    _, peer = start()
    peer.subscribe("pose", "depth")
    wait_for_connection(peer)
    peer.wait_until_matched("depth")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth"], "depth")
    assert set_live(peer, "min_confidence", 5.0).successful
    map_images(peer, 1, 9 * SECOND)
    peer.spin_until(lambda: len(peer.received["depth"]) == 2, "depth")
    seen = [
        np.isfinite(np.frombuffer(message.data, np.float32)).any() for message in peer.received["depth"]
    ]
    assert seen == [True, False]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("min_confidence", 0.0, "1"),
        ("map.max_range", float("nan"), "map.max_range"),
        ("tf_mode", "none", "read-only|fixed while"),
        ("grid.min_height", 9.0, "grid.max_height"),
    ],
)
def test_a_refused_value_has_a_reason(start, name, value, why):
    node, peer = start()
    before = node.config
    result = set_live(peer, name, value)
    assert not result.successful
    assert any(word in result.reason for word in why.split("|")), result.reason
    assert node.config == before


def test_descriptors_have_help_range_and_read_only(start):
    _, peer = start()
    entries = list(settings())
    request = DescribeParameters.Request(names=[entry.name for entry in entries])
    described = peer.call_service(DescribeParameters, "describe_parameters", request).descriptors
    for entry, descriptor in zip(entries, described, strict=True):
        assert descriptor.description == entry.help
        assert descriptor.read_only is not entry.live, entry.name
        if entry.kind is float and entry.ge is not None:
            assert descriptor.floating_point_range[0].from_value == entry.ge


def test_every_diagnostics_key_of_a_mapping_node_is_described(start):
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 2)
    peer.spin_until(lambda: peer.count("processed") == 2, "diagnostics")
    assert not peer.diagnostics().keys() - {"level", "message"} - KEYS.keys()
