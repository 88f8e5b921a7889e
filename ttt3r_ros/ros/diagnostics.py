# SPDX-License-Identifier: Apache-2.0
"""The node's status on /diagnostics."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ttt3r_ros.ros.statistics import PROBLEM_WINDOW_S

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time

    from ttt3r_ros.ros.statistics import Statistics

# Every key that the node publishes, with its meaning. Durations are means over the last 100 images.
KEYS = {
    "received": "images received",
    "refused": "images that cannot be converted, or whose stamp is out of order",
    "dropped": "images displaced in the queue by newer ones, or discarded by pause, reset or deactivation",
    "skipped": "images taken from the queue but not mapped; the log has the reason",
    "processed": "images mapped",
    "lost": "images published but never received: lost on the way, or overwritten in the reader's queue",
    "rate_hz": "images mapped per second",
    "decode_ms": "conversion of the message to RGB, and rectification",
    "preprocess_ms": "scaling and cropping to the network's input",
    "network_ms": "the network",
    "visual_odometry_ms": "tracking, camera pose and depth refinement",
    "step_ms": "preprocessing, network and visual odometry together",
    "transforms_ms": "lookup of odometry and measured depth",
    "map_ms": "integration into voxel map and occupancy grid",
    "publish_ms": "building and publishing the messages of a frame",
    "latency_ms": "from reception of the image to its last message",
    "peak_memory_mib": "largest resident memory of the process so far",
    "cuda_memory_mib": "memory that torch has reserved on the CUDA device",
    "segment": "network segment of the first camera; counts state resets",
    "scale": "scale correction in use: meters per network unit",
    "scale_source": "sensor that the scale comes from",
    "map_voxels": "voxels in all maps",
    "fused_pixel_percent": "pixels of the newest frame that were fused into the map",
    "landmarks": "landmarks from which the newest pose was estimated; 0: the pose is the network's",
    "trajectory_poses": "poses in all trajectories",
    "paused": "true while images are dropped on request",
    "weights": "name and origin of the network's weights",
    "device": "device that runs the network",
    "precision": "number format of the network's weights and operations",
    "compiled": "how the network is executed",
    "pose_source": "source of the poses: network or visual_odometry",
    "viewer": "URL of the viewer, or why it stopped",
    "viewer_dropped": "frames that the viewer did not show in order to keep up",
}


def diagnostic_array(
    stamp: Time,
    name: str,
    hardware_id: str,
    statistics: Statistics,
    facts: dict[str, str],
    problem: str = "",
) -> DiagnosticArray:
    """Return counts, rate, stage durations, memory and ``facts`` as one status; `KEYS` describes the keys.

    A ``problem`` of the node's surroundings is a warning with this text.
    """
    level, message = (DiagnosticStatus.WARN, problem) if problem else _summarize(statistics)
    values = {
        **{key: str(count) for key, count in vars(statistics.counts).items()},
        "rate_hz": f"{statistics.rate_hz():.2f}",
        **{f"{stage}_ms": f"{mean:.1f}" for stage, mean in statistics.stage_means_ms().items()},
        "peak_memory_mib": f"{_peak_memory_mib():.0f}",
        **facts,
    }
    status = DiagnosticStatus(
        level=level,
        name=f"{name}: mapping",
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def _summarize(statistics: Statistics) -> tuple[bytes, str]:
    counts = statistics.counts
    if not counts.received:
        return DiagnosticStatus.STALE, "waiting for images"
    if pause_s := statistics.stalled_s():
        return DiagnosticStatus.STALE, f"no images for {pause_s:.0f} s"
    if problems := statistics.recent_problems():
        window = f"the last {PROBLEM_WINDOW_S:.0f} s"
        return DiagnosticStatus.WARN, f"{problems} images refused or skipped in {window}"
    if counts.dropped:
        return DiagnosticStatus.OK, f"mapping; {counts.dropped} images dropped to stay current"
    return DiagnosticStatus.OK, "mapping"


def _peak_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
