# SPDX-License-Identifier: Apache-2.0
"""Every setting, once: default, meaning and range.

ROS parameters, command-line flags, ``config/ttt3r.yaml`` and the README table derive from these classes
or are tested equal to them. A nested class gives its settings a prefix: ``map.voxel_size``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ttt3r_ros.settings import Setting, overridden, setting, settings_of, yaml_of

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
        "32FC1", "32FC1: meters, NaN invalid; 16UC1: millimeters, 0 invalid.", choices=("32FC1", "16UC1")
    )
    resolution: str = setting(
        "network",
        "Resolution: the network's, or input: resized to the image's.",
        choices=("network", "input"),
    )


@dataclass(frozen=True)
class ScaleConfig:
    """Where meters come from."""

    source: str = setting(
        "network",
        "Sensor used to correct the metric scale. network: no correction.",
        choices=("network", "fixed", "odometry", "camera_height", "depth"),
    )
    fixed: float = setting(
        1.0, "Factor on the network's lengths for source fixed.", ge=0.001, le=1000.0, live=True
    )
    camera_height: float = setting(
        0.0, "Height of the camera over the floor [m]; 0: from base_frame to camera.", ge=0.0, le=100.0
    )
    ema_weight: float = setting(
        0.05,
        "Weight of one new measurement of the scale, on a logarithmic scale.",
        ge=0.001,
        le=1.0,
        live=True,
    )
    min_translation: float = setting(
        0.1, "Odometry must have moved this far for a measurement [m].", ge=0.001, le=100.0, live=True
    )


@dataclass(frozen=True)
class OdometryConfig:
    """Covariance of pose and twist: see docs/frames.md."""

    translation_noise_ratio: float = setting(
        0.08, "Standard deviation of a step's length, as a share of it.", ge=0.0, le=10.0, live=True
    )
    rotation_noise_ratio: float = setting(
        0.05, "Standard deviation of a step's turn, as a share of it.", ge=0.0, le=10.0, live=True
    )


@dataclass(frozen=True)
class MapConfig:
    """Voxel map."""

    voxel_size: float = setting(0.05, "Edge of a voxel [m].", ge=0.001, le=10.0)
    min_confidence: float = setting(
        1.5, "Points below this confidence (1 to infinity) are not fused.", ge=1.0, le=1e6, live=True
    )
    max_range: float = setting(
        10.0, "Points farther from the camera are not fused [m].", ge=0.1, le=1e5, live=True
    )
    max_voxels: int = setting(
        500_000, "Upper bound of the map; the voxels unseen for longest go.", ge=1000, le=50_000_000
    )
    max_radius: float = setting(
        0.0, "Voxels farther from the camera are forgotten [m]; 0: none.", ge=0.0, le=1e6, live=True
    )
    max_age: float = setting(
        0.0, "Voxels unseen for longer are forgotten [s]; 0: none.", ge=0.0, le=1e9, live=True
    )
    carve_free_space: bool = setting(
        default=True,
        help="Wear down voxels that the camera sees through: ghosts of what has moved.",
        live=True,
    )
    publish_period: float = setting(1.0, "Seconds between two map clouds [s].", ge=0.05, le=3600.0)


@dataclass(frozen=True)
class GridConfig:
    """Occupancy grid for navigation."""

    resolution: float = setting(0.05, "Edge of a cell [m].", ge=0.01, le=10.0)
    min_height: float = setting(
        0.1, "What is lower over the floor is no obstacle [m].", ge=-100.0, le=100.0, live=True
    )
    max_height: float = setting(
        1.5, "What is higher over the floor is no obstacle [m].", ge=-100.0, le=100.0, live=True
    )
    max_range: float = setting(
        5.0, "Points farther from the camera do not mark or clear [m].", ge=0.1, le=1e4, live=True
    )
    max_size: float = setting(
        100.0, "Longest side of the grid [m]; it moves on with the camera.", ge=1.0, le=2000.0
    )


@dataclass(frozen=True)
class Config:
    """The mapping node."""

    model_path: str = setting("", "Weights, .pth or .safetensors. Empty: the small ones of the package.")
    device: str = setting("auto", "auto, cpu, cuda or cuda:N. Only auto may fall back to the processor.")
    threads: int = setting(
        0,
        "Processor threads of each of the network's operations; 0: one for each core, or parts that run at once.",
        ge=0,
        le=256,
    )
    precision: str = setting(
        "auto",
        "Arithmetic of the network; state, gate and pose stay float32. auto: the fastest that keeps the accuracy.",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    compile: str = setting(
        "auto",
        "graph: recorded, runs without Python. auto: that, but for wide networks on a processor. inductor: compiled.",
        choices=("auto", "none", "graph", "inductor"),
    )
    encode_ahead: str = setting(
        "auto",
        "Encode the next queued image while the current one is mapped. auto: on if the network uses several threads.",
        choices=("auto", "off", "on"),
    )
    image_size: int = setting(
        0, "Long side of the network's image [px]; 0: the one of the weights.", ge=0, le=4096
    )
    update_rule: str = setting("ttt3r", "How the state learns.", choices=("ttt3r", "cut3r"))
    reset_interval: int = setting(
        -1, "Frames between state resets; 0: never, -1: as the weights were made for.", ge=-1, le=10**9
    )
    pose_source: str = setting(
        "auto",
        "network: poses of the network. visual_odometry: tracked corners with network depth. auto: by weights.",
        choices=("auto", "network", "visual_odometry"),
    )
    refine_depth: bool = setting(
        default=True,
        help="With visual_odometry: align depth with the landmarks and smooth patch borders.",
    )
    autostart: bool = setting(
        default=True, help="Configure and activate by itself; false: a lifecycle manager does."
    )

    cameras: tuple[str, ...] = setting(
        (),
        "Names of several cameras; each prefixes its topics (front/image). Empty: one camera, no prefix.",
    )
    rig: bool = setting(
        default=False,
        help="The cameras are one rigid rig: one shared state; their baselines give meters.",
    )
    image_transport: str = setting(
        "raw", "raw subscribes to image, compressed to image/compressed.", choices=("raw", "compressed")
    )
    image_qos: str = setting(
        "sensor_data",
        "Quality of service of the image subscription.",
        choices=("sensor_data", "reliable", "system_default"),
    )
    queue_policy: str = setting(
        "keep_last",
        "keep_last: drop images under overload. keep_all: map every image and apply back-pressure.",
        choices=("keep_last", "keep_all"),
    )
    on_time_jump: str = setting(
        "reset",
        "When time goes back: reset everything (map and trajectory are saved first), or keep_map.",
        choices=("reset", "keep_map"),
    )
    rectify: bool = setting(
        default=True,
        help="Undistort images whose camera_info has a distortion (plumb_bob, rational, equidistant).",
    )

    tf_mode: str = setting(
        "camera",
        "map_odom: others publish odom -> base; odom_base: we do; camera: handheld; none.",
        choices=("map_odom", "odom_base", "camera", "none"),
    )
    publish_tf: bool = setting(default=True, help="Publish transforms on /tf.")
    invert_odom_tf: bool = setting(
        default=False, help="Publish our transforms child -> parent, to hang below an existing tree."
    )
    map_frame: str = setting(
        "map", "Fixed frame, z up. The same as odom_frame: somebody else owns the map."
    )
    odom_frame: str = setting("odom", "Continuous frame of tf_mode map_odom and odom_base.")
    base_frame: str = setting("base_link", "Body of the robot.")
    camera_frame: str = setting("", "Frame of the camera. Empty: header.frame_id of the image.")
    camera_frame_convention: str = setting(
        "optical",
        "Axes of the camera's frame: optical (z forward) or body (x forward, such as usb_cam's default_cam).",
        choices=("optical", "body"),
    )
    transform_tolerance: float = setting(
        0.1, "How far map -> odom is dated ahead [s].", ge=0.0, le=10.0, live=True
    )
    tf_publish_rate: float = setting(
        30.0, "Transforms are sent again at this rate [Hz].", ge=20.0, le=1000.0
    )
    transform_timeout: float = setting(
        0.2, "How long to wait for the transforms of an image [s].", ge=0.0, le=10.0, live=True
    )
    level_source: str = setting(
        "auto",
        "Gravity direction: extrinsics (TF), imu, floor (fitted plane), or none (the first camera is level).",
        choices=("auto", "extrinsics", "imu", "floor", "none"),
    )

    min_confidence: float = setting(
        1.0, "Depth and points below this confidence are NaN or left out.", ge=1.0, le=1e6, live=True
    )
    path_max_poses: int = setting(1000, "Poses kept in the path; the oldest go.", ge=1, le=10**6)
    diagnostics_period: float = setting(
        1.0, "Seconds between two diagnostics messages [s].", ge=0.1, le=3600.0
    )
    output_directory: str = setting(
        "~/.ros/ttt3r_ros", "Where maps, trajectories and states are written."
    )

    viewer: bool = setting(
        default=False, help="Show map, cameras and images in the browser; needs ttt3r_ros[viewer]."
    )
    viewer_host: str = setting(
        "127.0.0.1", "Address that the viewer listens on. 0.0.0.0: anyone on the network may look."
    )
    viewer_port: int = setting(
        8080, "Port that the viewer listens on; 0: any that is free.", ge=0, le=65535
    )

    depth: DepthConfig = field(default_factory=DepthConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    map: MapConfig = field(default_factory=MapConfig)
    grid: GridConfig = field(default_factory=GridConfig)

    @property
    def on_robot(self) -> bool:
        """Tell whether the camera is mounted on a base that stands on the floor, not held by hand."""
        return self.tf_mode in ("map_odom", "odom_base")


def settings() -> tuple[Setting, ...]:
    """List the settings in the order of their declaration."""
    return settings_of(Config)


def from_mapping(values: Mapping[str, object], base: Config | None = None) -> Config:
    """Return ``base`` (default: the defaults) with dotted names overridden.

    Raises:
        ConfigError: a name is unknown or a value does not fit.
    """
    return overridden(base or Config(), values)


def setting_values(config: Config) -> dict[str, Any]:
    """Return the value of every setting by its dotted name, as JSON holds it."""
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
    """Return the parameter file of the node with every setting at its default."""
    return yaml_of(Config)
