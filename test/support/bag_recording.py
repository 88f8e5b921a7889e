# SPDX-License-Identifier: Apache-2.0
"""Small bags with images, calibration, poses and transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

if TYPE_CHECKING:
    from pathlib import Path


ROS2 = get_typestore(Stores.ROS2_HUMBLE)


HEIGHT, WIDTH, PADDING = 6, 8, 5


IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"


COMPRESSED, POSE = "sensor_msgs/msg/CompressedImage", "geometry_msgs/msg/PoseStamped"


Recording = tuple[str, str, Any]  # topic, type, message


def make_message(name: str, **values: Any) -> Any:
    return ROS2.types[name](**values)


def make_header(k: int) -> Any:
    stamp = make_message("builtin_interfaces/msg/Time", sec=1785000000, nanosec=k)
    return make_message("std_msgs/msg/Header", stamp=stamp, frame_id="left_optical")


def pixels(k: int) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


def raw_image(k: int, **changes: Any) -> Any:
    padded = np.pad(pixels(k).reshape(HEIGHT, -1), ((0, 0), (0, PADDING)), constant_values=77)
    values = {
        "header": make_header(k), "height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "is_bigendian": 0,
        "step": 3 * WIDTH + PADDING, "data": padded.ravel(),
    }  # fmt: skip
    return make_message(IMAGE, **{**values, **changes})


def png(k: int) -> Any:
    data = cv2.imencode(".png", pixels(k)[..., ::-1])[1].ravel()
    return make_message(COMPRESSED, header=make_header(k), format="rgb8; png compressed bgr8", data=data)


def camera_info(fx: float = 30.0) -> Any:
    region = make_message(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return make_message(
        INFO,
        header=make_header(0), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob",
        d=np.array([0.1, -0.2, 0.0, 0.0, 0.0]),
        k=np.array([fx, 0, 3.5, 0, 31.0, 2.5, 0, 0, 1]), r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


def pose(k: int) -> Any:
    position = make_message("geometry_msgs/msg/Point", x=float(k), y=2.0, z=3.0)
    quarter = np.sqrt(0.5)
    orientation = make_message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=quarter, w=quarter)
    return make_message(
        POSE,
        header=make_header(k),
        pose=make_message("geometry_msgs/msg/Pose", position=position, orientation=orientation),
    )


def tf(parent: str, child: str, k: int, x: float) -> Any:
    translation = make_message("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0)
    rotation = make_message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    transform = make_message("geometry_msgs/msg/Transform", translation=translation, rotation=rotation)
    stamp = make_message("builtin_interfaces/msg/Time", sec=k, nanosec=0)
    head = make_message("std_msgs/msg/Header", stamp=stamp, frame_id=parent)
    stamped = make_message(
        "geometry_msgs/msg/TransformStamped", header=head, child_frame_id=child, transform=transform
    )
    return make_message("tf2_msgs/msg/TFMessage", transforms=[stamped])


def record(
    path: Path,
    messages: list[Recording],
    plugin: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression != CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        kinds = dict.fromkeys((topic, kind) for topic, kind, _ in messages)
        topics = {key: writer.add_connection(*key, typestore=ROS2) for key in kinds}
        for k, (topic, kind, message) in enumerate(messages):
            writer.write(topics[topic, kind], k * 10**6, ROS2.serialize_cdr(message, kind))
    return path


def images(topic: str = "/cam/image_raw", count: int = 3) -> list[Recording]:
    return [(topic, IMAGE, raw_image(k)) for k in range(count)]


def storage_file(bag: Path) -> Path:
    return next(file for file in bag.iterdir() if file.suffix != ".yaml")


def truncate(bag: Path, share: float) -> None:
    content = storage_file(bag).read_bytes()
    storage_file(bag).write_bytes(content[: int(len(content) * share)])
