# SPDX-License-Identifier: Apache-2.0
"""The node's health on /diagnostics."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ttt3r_ros.ros.statistics import RECENT_S

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time

    from ttt3r_ros.ros.statistics import Statistics


def diagnostic_array(
    stamp: Time, name: str, hardware_id: str, statistics: Statistics, facts: dict[str, str]
) -> DiagnosticArray:
    """Report counts, rate, stage times, memory and further facts."""
    level, message = _verdict(statistics)
    counts = vars(statistics.counts)
    times = {f"{stage}_ms": f"{mean:.1f}" for stage, mean in statistics.stage_means_ms().items()}
    values = {
        **{key: str(value) for key, value in counts.items()},
        "rate_hz": f"{statistics.rate_hz():.2f}",
        **times,
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


def _verdict(statistics: Statistics) -> tuple[bytes, str]:
    counts = statistics.counts
    if not counts.received:
        return DiagnosticStatus.STALE, "waiting for images"
    if statistics.has_stalled():
        return DiagnosticStatus.STALE, "images ceased"
    if problems := statistics.recent_problems():
        return DiagnosticStatus.WARN, f"{problems} images could not be used in the last {RECENT_S:.0f} s"
    if counts.dropped:
        return DiagnosticStatus.OK, f"mapping; {counts.dropped} images dropped to stay current"
    return DiagnosticStatus.OK, "mapping"


def _peak_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
