# SPDX-License-Identifier: Apache-2.0
"""What becomes of the images of a recording, with a network whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from fakes import FakeBackend, frame, image

from ttt3r_ros.config import Config, from_mapping
from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.io.frame_records import mapped_records, read_frames, write_frames
from ttt3r_ros.offline.mapper import RecordingMapper
from ttt3r_ros.offline.recorded_sensors import RecordedSensors
from ttt3r_ros.types import Frame

SECOND = 10**9


@dataclass
class Transforms:
    """Fixed links by (parent, child), known between two stamps."""

    links: dict[tuple[str, str], np.ndarray]
    known_ns: range = range(100 * SECOND)

    def lookup(self, parent: str, child: str, stamp_ns: int) -> np.ndarray | None:
        return self.links.get((parent, child)) if stamp_ns in self.known_ns else None

    def root_of(self, frame: str, below: set[str]) -> str:
        return next((p for p, child in self.links if child == frame and p not in below), frame)


@dataclass
class Source:
    """A recording without images of its own."""

    links: Transforms | None = None
    depths: dict[int, np.ndarray] = field(default_factory=dict)

    def transforms(self) -> Transforms | None:
        return self.links

    def true_depth_m(self, stamp_ns: int) -> np.ndarray | None:
        return self.depths.get(stamp_ns)


def new_mapper(config: Config | None = None, source: Source | None = None) -> RecordingMapper:
    config = config or Config()
    warnings: list[str] = []
    sensors = RecordedSensors(config, source or Source(), warnings.append)
    return RecordingMapper(FakeBackend(), config, sensors, warnings.append)


def map_frames(mapping: RecordingMapper, *frames: Frame) -> RecordingMapper:
    prepared = [mapping.prepare(entry) for entry in frames]
    for entry, upcoming in zip(prepared, [*prepared[1:], None], strict=True):
        mapping.process(entry, upcoming)
    return mapping


def at(stamp_s: float, mark: int = 0) -> Frame:
    return Frame(int(stamp_s * SECOND), "camera_optical_frame", image(mark))


def test_images_of_one_color_and_answers_that_are_not_finite_are_skipped_and_counted():
    black = Frame(2 * SECOND, "camera_optical_frame", np.zeros((24, 32, 3), np.uint8))
    mapping = map_frames(new_mapper(), at(1), black, at(3, mark=13), at(4))
    assert mapping.count_skipped() == {"of one color": 1, "not finite": 1}
    assert [bool(record.skipped) for record in mapping.records] == [False, True, True, False]
    assert mapping.mapped == len(mapping.reconstructor.trajectory) == 2
    assert [record.index for record in mapped_records(mapping.records)] == [0, 3]


def test_stamps_out_of_order_are_refused_as_the_node_refuses_them():
    mapping = map_frames(new_mapper(), at(5), at(4.5), at(5), at(6))
    assert mapping.count_skipped() == {"out of order": 2}
    assert len(mapping.reconstructor.trajectory) == 2


def test_when_time_goes_back_the_map_is_saved_before_a_new_one_starts():
    mapping, saved = new_mapper(), []
    mapping.before_reset = lambda m: saved.append(
        (m.newest_stamp_ns, len(m.reconstructor.trajectory), len(m.reconstructor.map.voxels))
    )
    map_frames(mapping, at(100), at(101), *(at(1 + k) for k in range(5)))
    ((stamp_ns, poses, voxels),) = saved
    assert (stamp_ns, poses) == (101 * SECOND, 2)
    assert voxels > 0
    assert len(mapping.reconstructor.trajectory) == len(mapped_records(mapping.records)) == 3
    assert [record.map_id for record in mapping.records] == [0] * 4 + [1] * 3


def test_when_time_goes_back_the_map_may_be_kept():
    mapping = new_mapper(from_mapping({"on_time_jump": "keep_map"}))
    map_frames(mapping, at(100), at(101), *(at(1 + k) for k in range(5)))
    assert len(mapping.reconstructor.trajectory) == len(mapped_records(mapping.records)) == 5


def test_the_mount_of_a_robots_camera_comes_from_the_transforms():
    T_base_camera = np.eye(4)
    T_base_camera[:3, 3] = 0.1, 0.0, 0.5
    T_base_camera[:3, :3] = T_BODY_OPTICAL[:3, :3]
    links = Transforms(
        {("base_link", "camera_optical_frame"): T_base_camera}, range(2 * SECOND, 90 * SECOND)
    )
    mapping = new_mapper(from_mapping({"tf_mode": "odom_base"}), Source(links))
    map_frames(mapping, at(1), at(2), at(3))
    assert mapping.count_skipped() == {"not placed": 1}
    _, poses = mapping.reconstructor.trajectory.poses()
    np.testing.assert_allclose(poses[:, :3], [[0.1, 0.0, 0.5], [1.1, 0.0, 0.5]], atol=1e-9)


def test_odometry_of_the_bag_gives_the_scale():
    """One meter per image by the network, half a meter by odometry."""

    class Moving(Transforms):
        def lookup(self, parent: str, child: str, stamp_ns: int) -> np.ndarray | None:
            T = np.eye(4)
            if (parent, child) == ("odom", "base_link"):
                T[0, 3] = 0.5 * stamp_ns / SECOND
            else:
                T[:3, :3] = T_BODY_OPTICAL[:3, :3]
            return T

    config = from_mapping({"tf_mode": "map_odom", "scale.source": "odometry"})
    mapping = map_frames(new_mapper(config, Source(Moving({}))), *(at(1 + k) for k in range(12)))
    assert mapping.records[-1].scale == pytest.approx(0.5, rel=0.05)


def test_measured_depth_of_the_source_gives_the_scale():
    """The predicted wall is two meters away, the measured one three, without a value in one corner."""
    depth = np.full((24, 32), 3.0, np.float32)
    depth[:5, :5] = 0.0
    mapping = new_mapper(from_mapping({"scale.source": "depth"}), Source(depths={SECOND: depth}))
    map_frames(mapping, at(1), at(2))
    assert mapping.records[1].scale == pytest.approx(1.5)


def test_records_come_back_as_they_were_written(tmp_path):
    black = Frame(2 * SECOND, "camera", np.zeros((24, 32, 3), np.uint8))
    mapping = map_frames(new_mapper(), frame(0), black, frame(4))
    write_frames(tmp_path / "frames.csv", mapping.records)
    assert read_frames(tmp_path / "frames.csv") == mapping.records


def test_an_invalid_table_of_frames_is_an_error(tmp_path):
    (tmp_path / "frames.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"frames\.csv"):
        read_frames(tmp_path / "frames.csv")
