# SPDX-License-Identifier: Apache-2.0
"""Cameras and bodies of the node: name, reconstructor, publishers and files of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.pipeline.rig import Rig
from ttt3r_ros.ros.publishers import BodyOutputs, CameraOutputs, MapOutputs
from ttt3r_ros.ros.result_files import ResultFiles
from ttt3r_ros.ros.tf_output import TransformOutput

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.robot_sensors import RobotSensors
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Frame, Update


class TrackedBody:
    """Body with one map: a single camera, or a rig of several cameras."""

    def __init__(
        self,
        node: Node,
        config: Config,
        backend: AnyBackend,
        robot: RobotSensors,
        warnings: ThrottledWarnings,
        camera: str,
        *,
        sends_tf: bool,
    ) -> None:
        self.name = camera
        self.map_frame = map_frame_of(config, camera)
        robot.map_frames.add(self.map_frame)
        self.reconstructor: Reconstructor[Any] = (Rig if config.rig else Reconstructor)(backend, config)
        self.files = ResultFiles(config.output_directory, self.reconstructor, camera)
        self.outputs = BodyOutputs(node, config, robot, camera, self.map_frame)
        self.maps = MapOutputs(node, self.reconstructor.map, camera, self.map_frame)
        self.transforms = (
            TransformOutput(node, config, robot, warnings, self.map_frame) if sends_tf else None
        )
        self.newest_stamp_ns = 0
        self.fused_fraction = 0.0  # of the newest frame's pixels
        self.landmarks = 0  # inliers of the newest pose; 0: the pose is the network's

    def configure(self, config: Config) -> None:
        """Apply changed parameters."""
        if self.transforms is not None:
            self.transforms.config = config

    def reset_outputs(self, *, time_jump: bool = False) -> None:
        """Clear the path; after a jump back in time also the stamps of published transforms."""
        self.outputs.reset()
        if time_jump and self.transforms is not None:
            self.transforms.reset()

    def publish(self, update: Update) -> None:
        """Publish where the body is after a frame of the camera that it moves with."""
        if not self.reconstructor.is_reference_camera(update.frame):
            return
        self.landmarks = update.landmarks
        if self.transforms is not None:
            self.transforms.publish(update)
        self.outputs.publish(update)

    def publish_map(self) -> None:
        """Publish path, map and grid as of the newest frame."""
        self.outputs.publish_path()
        if self.newest_stamp_ns:
            self.maps.publish(self.newest_stamp_ns)


@dataclass(frozen=True)
class MappedCamera:
    """A camera and the body that it belongs to."""

    name: str
    body: TrackedBody
    outputs: CameraOutputs

    def publish(self, update: Update) -> None:
        """Publish what a frame brought."""
        self.body.publish(update)
        self.outputs.publish(update)
        self.body.newest_stamp_ns = update.frame.stamp_ns
        self.body.fused_fraction = update.fused_fraction


@dataclass(frozen=True)
class Job:
    """A frame on its way to the worker."""

    camera: MappedCamera
    frame: Frame
    received_s: float  # perf_counter when its message was taken
    decode_s: float
    session_id: int  # of the node when the frame arrived


def mapped_cameras(
    node: Node,
    config: Config,
    backend: AnyBackend,
    robot: RobotSensors,
    warnings: ThrottledWarnings,
) -> list[MappedCamera]:
    """Return the cameras that the configuration names, each with a body of its own, or all on one rig."""

    def body(camera: str, *, sends_tf: bool) -> TrackedBody:
        return TrackedBody(node, config, backend, robot, warnings, camera, sends_tf=sends_tf)

    names = config.cameras or ("",)
    if config.rig or len(names) == 1:
        shared = body("" if config.rig else names[0], sends_tf=True)
        bodies = [shared] * len(names)
    else:
        # One robot is moved by one camera; cameras that are held by hand move each by itself.
        alone = not config.on_robot
        bodies = [body(name, sends_tf=alone or name == names[0]) for name in names]
    return [
        MappedCamera(name, owner, CameraOutputs(node, config, robot, name))
        for name, owner in zip(names, bodies, strict=True)
    ]


def map_frame_of(config: Config, camera: str) -> str:
    """Return the map frame of a body: one for the robot, one for each camera that moves by itself."""
    alone = not config.on_robot and not config.rig
    return f"{camera}/{config.map_frame}" if camera and alone else config.map_frame
