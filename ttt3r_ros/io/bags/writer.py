# SPDX-License-Identifier: Apache-2.0
"""The topics of the node as a rosbag2 bag (MCAP) for RViz and Foxglove.

Differences to the live node: map -> odom has the stamp of its image; path, map and grid are written once, at the end;
external transforms (odometry, mount of the camera) are included, so that the bag has a complete tree. Log times are
the stamps of the images.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import T_BODY_OPTICAL, se3_inverse
from ttt3r_ros.images.depth import depth_intrinsics, encode_depth, masked_depth
from ttt3r_ros.images.point_fields import masked_points, pack_points
from ttt3r_ros.io.atomic import atomic_write_folder
from ttt3r_ros.io.bags.messages import TYPE_STORE, builder, serialize
from ttt3r_ros.transforms.edges import Edge, body_edge, correcting_edge, moving_edge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rosbags.interfaces import Connection

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.message_builder import Message
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Float32Array, UInt8Array, Update

NODE = "/mapping_node"  # replaces "~" in topics
_METADATA = "metadata.yaml"
_FORMAT: Literal[8] = 8  # newest version that every supported distribution reads
_FOREVER = QosTime(9223372036, 854775807)


class FrameNames(Protocol):
    """Names of the frames of a camera, by header.frame_id of its images."""

    def camera_frame(self, header_frame: str) -> str:
        """Return the camera's frame on /tf."""
        ...

    def optical_frame(self, header_frame: str) -> str:
        """Return the frame of images, depth and points."""
        ...

    def body_frame(self, header_frame: str) -> str:
        """Return the frame that moves in odom or map."""
        ...


class OutputBag:
    """Writes a bag frame by frame; `close` moves it to its path."""

    def __init__(self, path: Path, config: Config, frames: FrameNames) -> None:
        """Start a bag, the later folder ``path``.

        Raises:
            OutputError: the bag cannot be written.
        """
        self.path = path
        self._config = config
        self._frames = frames
        self._problem = ""
        self._connections: dict[str, Connection] = {}
        self._poses: deque[Any] = deque(maxlen=config.path_max_poses)
        self._optical_edges: dict[str, Edge] = {}  # by optical frame
        self._stamp_ns: int | None = None  # of the newest image
        self._log_ns = 0
        self._exit_stack = ExitStack()
        staging = self._exit_stack.enter_context(atomic_write_folder(path, _METADATA))
        self._content = staging / path.name
        self._writer = Writer(self._content, version=_FORMAT, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with self._abort_on_error():
            self._writer.open()

    def add(self, update: Update) -> None:
        """Write the messages of one frame, with the stamp of its image.

        Raises:
            OutputError: the bag cannot be written; its files are deleted.
        """
        self._require_open()
        with self._abort_on_error():
            seconds = self._advance(update.frame.stamp_ns)
            self._write_transforms(update)
            self._write_pose(update, seconds)
            self._write_images(update)

    def close(self, reconstructor: Reconstructor[Any]) -> None:
        """Write path, map and grid, and move the bag to its path.

        Raises:
            OutputError: the bag cannot be written; its files are deleted.
        """
        self._require_open()
        with self._abort_on_error():
            if self._stamp_ns is not None:
                self._write_map(reconstructor, self._stamp_ns)
            self._writer.close()
            for file in self._content.iterdir():
                file.replace(self._content.parent / file.name)
            self._content.rmdir()
        self._problem = f"cannot write {self.path}: it is closed"
        self._exit_stack.close()

    def abort(self) -> None:
        """Delete the files of a bag that was not closed."""
        self._abort(f"cannot write {self.path}: it was aborted")

    # --- by frame -----------------------------------------------------------------------------------

    def _advance(self, stamp_ns: int) -> float:
        """Set the stamp of the next image; return the time since the image before [s], 0 for the first."""
        previous, self._stamp_ns = self._stamp_ns, stamp_ns
        if previous is None:
            self._log_ns = stamp_ns
            return 0.0
        self._log_ns += max(0, stamp_ns - previous)
        if stamp_ns < previous and self._config.on_time_jump == "reset":
            self._poses.clear()
            return 0.0
        return (stamp_ns - previous) * 1e-9

    def _write_transforms(self, update: Update) -> None:
        config, stamp_ns = self._config, update.frame.stamp_ns
        if not config.publish_tf or config.tf_mode == "none":
            return
        edge = self._optical_edge(update)
        if edge is not None and edge.child not in self._optical_edges:
            self._optical_edges[edge.child] = edge
            self._write("/tf_static", _tf_message(self._optical_edges.values(), stamp_ns))
        edges = [*self._node_edges(update), *self._external_edges(update)]
        if edges:
            self._write("/tf", _tf_message(edges, stamp_ns))

    def _write_pose(self, update: Update, seconds: float) -> None:
        config, stamp_ns = self._config, update.frame.stamp_ns
        pose = builder.pose_stamped(update.T_map_base, builder.make_header(stamp_ns, config.map_frame))
        self._poses.append(pose)
        self._write("~/pose", pose)
        edge = body_edge(config, update, config.map_frame, self._body_frame(update))
        header = builder.make_header(stamp_ns, edge.parent)
        self._write("~/odom", builder.odometry(update, seconds, edge.T_parent_child, header, edge.child))

    def _write_images(self, update: Update) -> None:
        config, prediction = self._config, update.prediction
        optical = self._frames.optical_frame(update.frame.camera_frame)
        header = builder.make_header(update.frame.stamp_ns, optical)
        depth = masked_depth(update, config.min_confidence)
        samples = encode_depth(depth, prediction.geometry, config.depth)
        info = builder.camera_info(depth_intrinsics(update, config.depth), header)
        self._write("~/depth/image", builder.image(samples, header))
        self._write("~/depth/camera_info", info)
        self._write("~/confidence/image", builder.image(prediction.confidence, header))
        self._write("~/points", _cloud(*masked_points(prediction, depth), header))

    def _write_map(self, reconstructor: Reconstructor[Any], stamp_ns: int) -> None:
        header = builder.make_header(stamp_ns, self._config.map_frame)
        self._write("~/path", builder.path(self._poses, header))
        cloud = reconstructor.map.voxels.point_cloud()
        self._write("~/map_cloud", _cloud(cloud.points, cloud.rgb, header))
        grid = reconstructor.map.grid.to_grid()
        if grid is not None:
            self._write("~/map", builder.occupancy_grid(grid, header))

    # --- transforms ---------------------------------------------------------------------------------

    def _node_edges(self, update: Update) -> list[Edge]:
        """Return the transforms that the node publishes on /tf."""
        config = self._config
        edges = (
            correcting_edge(config, update, config.map_frame),
            moving_edge(config, update, config.map_frame, self._body_frame(update)),
        )
        published = [edge for edge in edges if edge is not None]
        return [edge.invert() for edge in published] if config.invert_odom_tf else published

    def _external_edges(self, update: Update) -> list[Edge]:
        """Return the transforms that the node received: external odometry and the mount of the camera."""
        config, edges = self._config, []
        if config.tf_mode == "map_odom" and update.T_ext_odom_base is not None:
            edges.append(Edge(config.odom_frame, config.base_frame, update.T_ext_odom_base))
        body = self._body_frame(update)
        camera = self._frames.camera_frame(update.frame.camera_frame)
        if body != camera:
            edges.append(Edge(body, camera, update.T_base_camera @ se3_inverse(self._T_camera_optical)))
        return edges

    def _optical_edge(self, update: Update) -> Edge | None:
        """Return the transform from the camera's frame to its optical frame, None if they are the same."""
        if self._config.camera_frame_convention == "optical":
            return None
        header_frame = update.frame.camera_frame
        camera = self._frames.camera_frame(header_frame)
        return Edge(camera, self._frames.optical_frame(header_frame), T_BODY_OPTICAL)

    @property
    def _T_camera_optical(self) -> Any:
        optical = self._config.camera_frame_convention == "optical"
        return np.eye(4) if optical else T_BODY_OPTICAL

    def _body_frame(self, update: Update) -> str:
        return self._frames.body_frame(update.frame.camera_frame)

    # --- the bag ------------------------------------------------------------------------------------

    def _write(self, topic: str, message: Message) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic.replace("~", NODE, 1),
                message.__msgtype__,
                typestore=TYPE_STORE,
                offered_qos_profiles=[_QOS.get(topic, _STREAM)],
            )
        self._writer.write(self._connections[topic], self._log_ns, serialize(message))

    def _require_open(self) -> None:
        if self._problem:
            raise OutputError(self._problem)

    @contextmanager
    def _abort_on_error(self) -> Iterator[None]:
        """Delete the bag's files if the block raises; raise `OutputError` for an `OSError`."""
        try:
            yield
        except OSError as error:
            msg = f"cannot write {self.path}: {error.strerror or error}"
            self._abort(msg)
            raise OutputError(msg) from error
        except BaseException:
            self.abort()
            raise

    def _abort(self, problem: str) -> None:
        if self._problem:
            return
        self._problem = problem
        with suppress(OSError):  # of flushing the buffers of a deleted file
            self._writer.abort()
        error = OutputError(problem)
        self._exit_stack.__exit__(OutputError, error, None)


def _tf_message(edges: Iterable[Edge], stamp_ns: int) -> Message:
    return builder.tf_message(
        builder.transform_stamped(
            edge.T_parent_child, builder.make_header(stamp_ns, edge.parent), edge.child
        )
        for edge in edges
    )


def _cloud(points: Float32Array, rgb: UInt8Array, header: Message) -> Message:
    return builder.cloud(len(points), builder.to_bytes(pack_points(points, rgb)), header)


def _qos(depth: int, durability: QosDurability) -> Qos:
    """Return a reliable profile with history KEEP_LAST; `ros.qos` has those of the node."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


_STREAM = _qos(5, QosDurability.VOLATILE)
_LATCHED = _qos(1, QosDurability.TRANSIENT_LOCAL)
_QOS = {
    "/tf": _qos(100, QosDurability.VOLATILE),
    "/tf_static": _LATCHED,
    "~/map_cloud": _LATCHED,
    "~/map": _LATCHED,
}
