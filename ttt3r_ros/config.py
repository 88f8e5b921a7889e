# SPDX-License-Identifier: Apache-2.0
"""Every setting: default, meaning and range.

ROS parameters, command-line options, ``config/ttt3r.yaml`` and the README table derive from these classes
or are tested equal to them. A nested class gives its settings a prefix: ``map.voxel_size``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ttt3r_ros.settings import Setting, declared_settings, setting, to_yaml, with_overrides

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Config",
    "Setting",
    "changed_settings",
    "from_mapping",
    "parameters_yaml",
    "setting_values",
    "settings",
]


@dataclass(frozen=True)
class DepthConfig:
    """Depth images."""

    encoding: str = setting(
        "32FC1",
        "Depth images: 32FC1 (meters, invalid: NaN) or 16UC1 (millimeters, invalid: 0).",
        choices=("32FC1", "16UC1"),
    )
    resolution: str = setting(
        "network",
        "Size of depth images: network, or input (that of the camera image).",
        choices=("network", "input"),
    )


@dataclass(frozen=True)
class ScaleConfig:
    """Scale of the network, in meters per unit."""

    source: str = setting(
        "network",
        "Metric scale: network, fixed, odometry, camera_height or depth.",
        choices=("network", "fixed", "odometry", "camera_height", "depth"),
    )
    fixed: float = setting(
        1.0, "Meters per unit of the network, with scale.source fixed.", ge=0.001, le=1000.0, live=True
    )
    camera_height: float = setting(
        0.0,
        "Height of the camera above the floor [m]. 0: use TF.",
        ge=0.0,
        le=100.0,
    )
    ema_weight: float = setting(
        0.05,
        "Weight of a new measurement in the average of log scale.",
        ge=0.001,
        le=1.0,
        live=True,
    )
    min_translation: float = setting(
        0.1,
        "Minimum odometry translation per measurement [m].",
        ge=0.001,
        le=100.0,
        live=True,
    )


@dataclass(frozen=True)
class OdometryConfig:
    """Covariance of pose and twist; the model is in docs/frames.md."""

    translation_noise_ratio: float = setting(
        0.08,
        "Standard deviation per step length [m/m].",
        ge=0.0,
        le=10.0,
        live=True,
    )
    rotation_noise_ratio: float = setting(
        0.05,
        "Standard deviation per step angle [rad/rad].",
        ge=0.0,
        le=10.0,
        live=True,
    )


@dataclass(frozen=True)
class MapConfig:
    """Voxel map."""

    voxel_size: float = setting(0.05, "Edge length of a voxel [m].", ge=0.001, le=10.0)
    min_confidence: float = setting(
        1.5, "Minimum confidence of fused points.", ge=1.0, le=1e6, live=True
    )
    max_range: float = setting(
        10.0, "Maximum distance of fused points from the camera [m].", ge=0.1, le=1e5, live=True
    )
    max_voxels: int = setting(
        500_000,
        "Maximum number of voxels. The oldest are removed.",
        ge=1000,
        le=50_000_000,
    )
    max_radius: float = setting(
        0.0, "Remove voxels farther from the camera [m]. 0: never.", ge=0.0, le=1e6, live=True
    )
    max_age: float = setting(
        0.0, "Remove voxels not observed for this time [s]. 0: never.", ge=0.0, le=1e9, live=True
    )
    carve_free_space: bool = setting(
        default=True,
        help="Remove voxels in observed free space.",
        live=True,
    )
    publish_period: float = setting(1.0, "Period of the map cloud [s].", ge=0.05, le=3600.0)


@dataclass(frozen=True)
class GridConfig:
    """Occupancy grid for navigation."""

    resolution: float = setting(0.05, "Edge length of a cell [m].", ge=0.01, le=10.0)
    min_height: float = setting(
        0.1, "Minimum height of obstacles above the floor [m].", ge=-100.0, le=100.0, live=True
    )
    max_height: float = setting(
        1.5, "Maximum height of obstacles above the floor [m].", ge=-100.0, le=100.0, live=True
    )
    max_range: float = setting(
        5.0, "Maximum distance of points that mark or clear cells [m].", ge=0.1, le=1e4, live=True
    )
    max_size: float = setting(
        100.0, "Maximum side length of the grid [m]. It moves with the camera.", ge=1.0, le=2000.0
    )


@dataclass(frozen=True)
class Config:
    """Settings of the mapping node and of offline runs."""

    model_path: str = setting(
        "", "Weights file, .pth or .safetensors. Empty: the small weights of the package."
    )
    device: str = setting("auto", "Device: auto, cpu, cuda or cuda:N. Only auto falls back to the CPU.")
    threads: int = setting(
        0,
        "CPU threads per operation. 0: automatic.",
        ge=0,
        le=256,
    )
    precision: str = setting(
        "auto",
        "Number format of the network: auto, float32, bfloat16, float16 or int8 (CPU only).",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    compile: str = setting(
        "auto",
        "Compilation: none, graph (TorchScript, CUDA graph), inductor, auto (CPU: none if large).",
        choices=("auto", "none", "graph", "inductor"),
    )
    encode_ahead: str = setting(
        "auto",
        "Encode the next image early: on, off, or auto (on for small networks on a CPU).",
        choices=("auto", "off", "on"),
    )
    image_size: int = setting(
        0, "Long side of the network image [px]. 0: as recommended by the weights.", ge=0, le=4096
    )
    update_rule: str = setting(
        "ttt3r", "Update rule of the recurrent state: ttt3r or cut3r.", choices=("ttt3r", "cut3r")
    )
    reset_interval: int = setting(
        -1, "Frames between state resets. 0: never. -1: as recommended.", ge=-1, le=10**9
    )
    pose_source: str = setting(
        "auto",
        "Source of poses: network, visual_odometry (corners, network depth) or auto (by weights).",
        choices=("auto", "network", "visual_odometry"),
    )
    refine_depth: bool = setting(
        default=True,
        help="With visual_odometry: align depth with landmarks, smooth patch borders.",
    )
    autostart: bool = setting(
        default=True, help="Configure and activate at start. false: leave that to a lifecycle manager."
    )

    cameras: tuple[str, ...] = setting(
        (),
        "Names of several cameras, used as topic prefixes. Empty: one camera, no prefix.",
    )
    rig: bool = setting(
        default=False,
        help="Cameras share one state. Their baselines give the scale.",
    )
    image_transport: str = setting(
        "raw",
        "Subscribed topic: raw (image) or compressed (image/compressed).",
        choices=("raw", "compressed"),
    )
    image_qos: str = setting(
        "sensor_data",
        "QoS of images: sensor_data, reliable or system_default.",
        choices=("sensor_data", "reliable", "system_default"),
    )
    queue_policy: str = setting(
        "keep_last",
        "Under overload: keep_last (drop images) or keep_all (back-pressure).",
        choices=("keep_last", "keep_all"),
    )
    on_time_jump: str = setting(
        "reset",
        "If time jumps back: reset (saves the map first) or keep_map.",
        choices=("reset", "keep_map"),
    )
    worker_timeout: float = setting(
        60.0,
        "Limit for one image [s], at least 10 times the slowest. 0: none.",
        ge=0.0,
        le=86400.0,
    )
    rectify: bool = setting(
        default=True,
        help="Undistort images (plumb_bob, rational_polynomial, equidistant).",
    )
    images_rectified: str = setting(
        "auto",
        "Images are rectified (P of camera_info): on, off or auto (by topic: image_rect).",
        choices=("auto", "off", "on"),
    )

    tf_mode: str = setting(
        "camera",
        "Published transforms: map_odom, odom_base (no robot odometry), camera (handheld), none.",
        choices=("map_odom", "odom_base", "camera", "none"),
    )
    publish_tf: bool = setting(default=True, help="Publish transforms on /tf.")
    invert_odom_tf: bool = setting(
        default=False,
        help="Publish transforms as child -> parent, below an existing tree.",
    )
    map_frame: str = setting(
        "map", "World frame, z up. Equal to odom_frame: another node publishes map -> odom."
    )
    odom_frame: str = setting("odom", "Odometry frame, with tf_mode map_odom or odom_base.")
    base_frame: str = setting("base_link", "Robot frame.")
    camera_frame: str = setting("", "Camera frame. Empty: header.frame_id of the image.")
    camera_frame_convention: str = setting(
        "optical",
        "Axes of the camera frame: optical (z forward) or body (x forward).",
        choices=("optical", "body"),
    )
    transform_tolerance: float = setting(
        0.1, "Offset added to the stamp of map -> odom [s].", ge=0.0, le=10.0, live=True
    )
    tf_publish_rate: float = setting(30.0, "Publishing rate of map -> odom [Hz].", ge=20.0, le=1000.0)
    transform_timeout: float = setting(
        0.2, "Maximum wait for the transforms of an image [s].", ge=0.0, le=10.0, live=True
    )
    level_source: str = setting(
        "auto",
        "Source of gravity: auto, extrinsics (TF), imu, floor (plane) or none (first camera).",
        choices=("auto", "extrinsics", "imu", "floor", "none"),
    )

    min_confidence: float = setting(
        1.0, "Minimum confidence of published depth and points.", ge=1.0, le=1e6, live=True
    )
    path_max_poses: int = setting(
        1000, "Maximum number of poses in the path. The oldest are removed.", ge=1, le=10**6
    )
    diagnostics_period: float = setting(
        1.0, "Period of the diagnostics messages [s].", ge=0.1, le=3600.0
    )
    output_directory: str = setting("~/.ros/ttt3r_ros", "Folder of saved maps, trajectories and states.")

    viewer: bool = setting(
        default=False, help="Show map, cameras and images in a browser. Needs ttt3r_ros[viewer]."
    )
    viewer_host: str = setting(
        "127.0.0.1", "Address of the viewer. 0.0.0.0 allows access from the network."
    )
    viewer_port: int = setting(8080, "Port of the viewer. 0: any free port.", ge=0, le=65535)

    depth: DepthConfig = field(default_factory=DepthConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    map: MapConfig = field(default_factory=MapConfig)
    grid: GridConfig = field(default_factory=GridConfig)

    @property
    def on_robot(self) -> bool:
        """Return whether the camera is mounted on a robot, not handheld."""
        return self.tf_mode in ("map_odom", "odom_base")


def settings() -> tuple[Setting, ...]:
    """Return the settings in the order of their declaration."""
    return declared_settings(Config)


def from_mapping(values: Mapping[str, object], base: Config | None = None) -> Config:
    """Return ``base`` (default: all defaults) with the values of dotted names replaced.

    Raises:
        ConfigError: a name is unknown or a value is invalid.
    """
    return with_overrides(base or Config(), values)


def setting_value(name: str, value: object) -> Any:
    """Return ``value`` in the type of a setting; raise `ConfigError` if it is invalid."""
    return next(entry for entry in settings() if entry.name == name).validate(value)


def setting_values(config: Config) -> dict[str, Any]:
    """Return the value of every setting by its dotted name; tuples become lists, as in JSON."""
    values: dict[str, Any] = {}
    for entry in settings():
        value: Any = config
        for part in entry.name.split("."):
            value = getattr(value, part)
        values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def changed_settings(config: Config) -> dict[str, Any]:
    """Return the values of the settings that differ from their defaults."""
    defaults = setting_values(Config())
    return {name: value for name, value in setting_values(config).items() if value != defaults[name]}


def parameters_yaml() -> str:
    """Return the parameter file of the node with all defaults."""
    return to_yaml(Config)
