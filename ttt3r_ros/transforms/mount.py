# SPDX-License-Identifier: Apache-2.0
"""Mount of the camera and external odometry from transforms: the same rules in the node and in offline runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.types import Float64Array

# Returns T_parent_child (4, 4) for (parent, child, stamp_ns); raises `TransformError`.
Lookup: TypeAlias = Callable[[str, str, int], "Float64Array"]

FALLBACK_CAMERA_FRAME = "camera_optical_frame"  # for drivers that leave header.frame_id empty


class CameraMount:
    """Frame names and mount of a camera according to the parameters.

    The caller decides how transforms are found: ``lookup`` may wait for /tf or read a recording. ``wait_for_parent``
    gives the camera's own tree time to appear before the first image is mapped without it.
    """

    def __init__(
        self,
        config: Config,
        lookup: Lookup,
        root_of: Callable[[str], str],
        wait_for_parent: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.config = config
        self._lookup = lookup
        self._root_of = root_of
        self._wait_for_parent = wait_for_parent
        self._waited_for: set[str] = set()  # camera frames

    def camera_frame(self, header_frame: str) -> str:
        """Return the frame of the camera on /tf for the header.frame_id of its images."""
        return self.config.camera_frame or header_frame.lstrip("/") or FALLBACK_CAMERA_FRAME

    def optical_frame(self, header_frame: str) -> str:
        """Return the frame of images, depths and points (z forward)."""
        frame = self.camera_frame(header_frame)
        return frame if self._is_optical else f"{frame}_optical_frame"

    def body_frame(self, header_frame: str) -> str:
        """Return the frame that moves in odom or map: the robot's base, or the root of the camera's own tree."""
        if self.config.on_robot:
            return self.config.base_frame
        if self.config.tf_mode == "none":
            return self.optical_frame(header_frame)
        return self._root_of(self.camera_frame(header_frame))

    @property
    def T_camera_optical(self) -> Float64Array:
        """Return the optical frame in the camera's frame (4, 4)."""
        return np.eye(4) if self._is_optical else T_BODY_OPTICAL

    def T_base_camera(self, header_frame: str, stamp_ns: int) -> Float64Array | None:
        """Return the optical camera in the body (4, 4); None: the camera is the body.

        Raises:
            TransformError: the mount is unknown at that stamp.
        """
        if self.config.tf_mode == "none":
            return None
        camera, body = self.camera_frame(header_frame), self.body_frame(header_frame)
        if self.config.tf_mode == "camera":
            body = self._body_after_wait(camera, body, header_frame)
            if body == camera:
                return None if self._is_optical else self.T_camera_optical
        try:
            T_body_camera = self._lookup(body, camera, stamp_ns)
        except TransformError as error:
            msg = f"no transform {body} -> {camera}: {error}"
            raise TransformError(msg) from error
        return T_body_camera @ self.T_camera_optical

    def T_ext_odom_base(self, stamp_ns: int) -> Float64Array:
        """Return the robot's own odometry (4, 4) from its transform.

        Raises:
            TransformError: it is unknown at that stamp.
        """
        return self._lookup(self.config.odom_frame, self.config.base_frame, stamp_ns)

    @property
    def _is_optical(self) -> bool:
        return self.config.camera_frame_convention == "optical"

    def _body_after_wait(self, camera: str, body: str, header_frame: str) -> str:
        if body != camera or camera in self._waited_for:
            return body
        self._waited_for.add(camera)
        self._wait_for_parent(camera)
        return self.body_frame(header_frame)
