# SPDX-License-Identifier: Apache-2.0
"""Recordings of the demo's room, as folders, videos and bags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.geometry import quat_xyzw_from_rotation, quaternion_from_rotation
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.types import Frame

ROS2 = get_typestore(Stores.ROS2_HUMBLE)
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
TF = "tf2_msgs/msg/TFMessage"


ROOM = ProceduralRoom(frames=120, width=160, height=120)
_coming = ROOM.frames()
_rendered: list[Frame] = []


def shots(frames: int = 12) -> list[Frame]:
    """Return the first frames of the room; each is rendered once."""
    while len(_rendered) < frames:
        _rendered.append(next(_coming))
    return _rendered[:frames]


def image_folder(path: Path, frames: int = 12, *, truth: bool = True) -> Path:
    """Write the room as a folder with rgb/ and optionally groundtruth.txt."""
    (path / "rgb").mkdir(parents=True)
    lines = []
    for index, frame in enumerate(shots(frames)):
        assert cv2.imwrite(str(path / "rgb" / f"{index:04d}.png"), frame.rgb[..., ::-1])
        T = ROOM.T_world_camera(index)
        values = " ".join(repr(float(v)) for v in (*T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3])))
        lines.append(f"{frame.stamp_ns // 10**9}.{frame.stamp_ns % 10**9:09d} {values}\n")
    if truth:
        (path / "groundtruth.txt").write_text("".join(lines))
    return path


def video(path: Path, frames: int = 12) -> Path:
    """Write the room as Motion JPEG, which has only key frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (160, 120))
    assert writer.isOpened()
    for frame in shots(frames):
        writer.write(np.ascontiguousarray(frame.rgb[..., ::-1]))
    writer.release()
    return path


def room_bag(
    path: Path,
    frames: int = 12,
    plugin: StoragePlugin = StoragePlugin.MCAP,
    *,
    calibrated: bool = True,
    topics: tuple[str, ...] = ("/camera/image_raw",),
    transforms: tuple[tuple[str, str, str, Any], ...] = (),
) -> Path:
    """Record the room; transforms are (topic, parent, child, T of a frame's index)."""
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        images = [writer.add_connection(topic, IMAGE, typestore=ROS2) for topic in topics]
        infos = (
            [writer.add_connection("/camera/camera_info", INFO, typestore=ROS2)] if calibrated else []
        )
        tf = {
            topic: writer.add_connection(topic, TF, typestore=ROS2)
            for topic in sorted({entry[0] for entry in transforms})
        }
        for index, frame in enumerate(shots(frames)):
            for topic, parent, child, T_at in transforms:
                if topic == "/tf" or index == 0:
                    message = transform_message(frame.stamp_ns, parent, child, T_at(index))
                    writer.write(tf[topic], frame.stamp_ns, ROS2.serialize_cdr(message, TF))
            for info in infos:
                writer.write(info, frame.stamp_ns, ROS2.serialize_cdr(info_message(frame), INFO))
            for image in images:
                writer.write(image, frame.stamp_ns, ROS2.serialize_cdr(image_message(frame), IMAGE))
    return path


def new_message(name: str, **values: Any) -> Any:
    return ROS2.types[name](**values)


def header(stamp_ns: int, frame_id: str) -> Any:
    stamp = new_message("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return new_message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(frame: Frame) -> Any:
    height, width = frame.rgb.shape[:2]
    return new_message(
        IMAGE, header=header(frame.stamp_ns, frame.camera_frame), height=height, width=width,
        encoding="rgb8", is_bigendian=0, step=3 * width, data=frame.rgb.ravel(),
    )  # fmt: skip


def info_message(frame: Frame) -> Any:
    camera = frame.intrinsics
    assert camera is not None
    region = new_message(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    K = camera.matrix()
    return new_message(
        INFO, header=header(frame.stamp_ns, frame.camera_frame), height=camera.height, width=camera.width,
        distortion_model="plumb_bob", d=np.zeros(5), k=K.ravel(), r=np.eye(3).ravel(),
        p=np.hstack((K, np.zeros((3, 1)))).ravel(), binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


def transform_message(stamp_ns: int, parent: str, child: str, T: np.ndarray) -> Any:
    x, y, z, w = quaternion_from_rotation(T)
    transform = new_message(
        "geometry_msgs/msg/Transform",
        translation=new_message("geometry_msgs/msg/Vector3", **dict(zip("xyz", map(float, T[:3, 3]), strict=True))),
        rotation=new_message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
    )  # fmt: skip
    stamped = new_message(
        "geometry_msgs/msg/TransformStamped",
        header=header(stamp_ns, parent), child_frame_id=child, transform=transform,
    )  # fmt: skip
    return new_message(TF, transforms=[stamped])
