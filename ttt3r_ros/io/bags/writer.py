# SPDX-License-Identifier: Apache-2.0
"""What the live node publishes, as a rosbag2 bag (MCAP) that RViz and Foxglove open as they are.

It differs where nobody listens yet: map -> odom carries the stamp of its image, not one ahead; the path, the map and
the grid come once, at the end; and what others say on a robot's /tf (its odometry, the mount of its camera) is in it,
so that its transforms are one tree. Log times are the stamps of the images.
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

NODE = "/mapping_node"  # the node's name, which "~" in its topics stands for
_METADATA = "metadata.yaml"
_FORMAT: Literal[8] = 8  # the newest that every supported distribution reads
_FOREVER = QosTime(9223372036, 854775807)


class FrameNames(Protocol):
    """What the frames of a camera are called, given header.frame_id of its images."""

    def camera_frame(self, header_frame: str) -> str:
        """Return the camera's frame on /tf."""
        ...

    def optical_frame(self, header_frame: str) -> str:
        """Return the frame of images, depths and points."""
        ...

    def body_frame(self, header_frame: str) -> str:
        """Return the frame that moves in odom or map."""
        ...


class OutputBag:
    """Writes a bag frame by frame; it appears under its name when it is closed."""

    def __init__(self, path: Path, config: Config, frames: FrameNames) -> None:
        """Begin a bag that becomes the folder ``path``.

        Raises:
            OutputError: it cannot be written.
        """
        self.path = path
        self._config = config
        self._frames = frames
        self._problem = ""
        self._connections: dict[str, Connection] = {}
        self._poses: deque[Any] = deque(maxlen=config.path_max_poses)
        self._axes: dict[str, Edge] = {}  # by the optical frame
        self._stamp_ns: int | None = None  # of the newest image
        self._log_ns = 0
        self._ending = ExitStack()
        staging = self._ending.enter_context(atomic_write_folder(path, _METADATA))
        self._content = staging / path.name
        self._writer = Writer(self._content, version=_FORMAT, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with self._reported():
            self._writer.open()

    def add(self, update: Update) -> None:
        """Write what a frame brought, all with the stamp of its image.

        Raises:
            OutputError: it cannot be written; nothing of the bag is left then.
        """
        self._require_open()
        with self._reported():
            seconds = self._advance(update.frame.stamp_ns)
            self._write_transforms(update)
            self._write_body(update, seconds)
            self._write_sight(update)

    def close(self, reconstructor: Reconstructor[Any]) -> None:
        """Write path, map and grid, and let the bag appear under its name.

        Raises:
            OutputError: it cannot be written; nothing of the bag is left then.
        """
        self._require_open()
        with self._reported():
            if self._stamp_ns is not None:
                self._write_map(reconstructor, self._stamp_ns)
            self._writer.close()
            for file in self._content.iterdir():
                file.replace(self._content.parent / file.name)
            self._content.rmdir()
        self._problem = f"cannot write {self.path}: it is closed"
        self._ending.close()

    def abandon(self) -> None:
        """Leave nothing of a bag that was not closed."""
        self._give_up(f"cannot write {self.path}: it was abandoned")

    # --- by frame -----------------------------------------------------------------------------------

    def _advance(self, stamp_ns: int) -> float:
        """Go on to the next image; return how long after the one before it was taken [s], 0 for the first."""
        before, self._stamp_ns = self._stamp_ns, stamp_ns
        if before is None:
            self._log_ns = stamp_ns
            return 0.0
        self._log_ns += max(0, stamp_ns - before)
        if stamp_ns < before and self._config.on_time_jump == "reset":
            self._poses.clear()
            return 0.0
        return (stamp_ns - before) * 1e-9

    def _write_transforms(self, update: Update) -> None:
        config, stamp_ns = self._config, update.frame.stamp_ns
        if not config.publish_tf or config.tf_mode == "none":
            return
        axes = self._axes_edge(update)
        if axes is not None and axes.child not in self._axes:
            self._axes[axes.child] = axes
            self._write("/tf_static", _tf_message(self._axes.values(), stamp_ns))
        edges = [*self._own_edges(update), *self._edges_of_others(update)]
        if edges:
            self._write("/tf", _tf_message(edges, stamp_ns))

    def _write_body(self, update: Update, seconds: float) -> None:
        config, stamp_ns = self._config, update.frame.stamp_ns
        placed = builder.pose_stamped(update.T_map_base, builder.make_header(stamp_ns, config.map_frame))
        self._poses.append(placed)
        self._write("~/pose", placed)
        edge = body_edge(config, update, config.map_frame, self._body_frame(update))
        header = builder.make_header(stamp_ns, edge.parent)
        self._write("~/odom", builder.odometry(update, seconds, edge.T_parent_child, header, edge.child))

    def _write_sight(self, update: Update) -> None:
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

    def _own_edges(self, update: Update) -> list[Edge]:
        """Return what the node says on /tf."""
        config = self._config
        edges = (
            correcting_edge(config, update, config.map_frame),
            moving_edge(config, update, config.map_frame, self._body_frame(update)),
        )
        sent = [edge for edge in edges if edge is not None]
        return [edge.inverted() for edge in sent] if config.invert_odom_tf else sent

    def _edges_of_others(self, update: Update) -> list[Edge]:
        """Return what others say there and the node goes by: a robot's odometry, the mount of the camera."""
        config, edges = self._config, []
        if config.tf_mode == "map_odom" and update.T_ext_odom_base is not None:
            edges.append(Edge(config.odom_frame, config.base_frame, update.T_ext_odom_base))
        body = self._body_frame(update)
        camera = self._frames.camera_frame(update.frame.camera_frame)
        if body != camera:
            edges.append(Edge(body, camera, update.T_base_camera @ se3_inverse(self._T_camera_optical)))
        return edges

    def _axes_edge(self, update: Update) -> Edge | None:
        """Return how the optical axes lie in the camera's frame, where they are not the same."""
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
    def _reported(self) -> Iterator[None]:
        """Give the bag up if the block fails; say of a file why it cannot be written."""
        try:
            yield
        except OSError as error:
            msg = f"cannot write {self.path}: {error.strerror or error}"
            self._give_up(msg)
            raise OutputError(msg) from error
        except BaseException:
            self.abandon()
            raise

    def _give_up(self, problem: str) -> None:
        if self._problem:
            return
        self._problem = problem
        with suppress(OSError):  # what is still in its buffers need not be written any more
            self._writer.abort()
        error = OutputError(problem)
        self._ending.__exit__(OutputError, error, None)


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
    """Return a reliable profile that keeps the last messages; the node's are in `ros.qos`."""
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
