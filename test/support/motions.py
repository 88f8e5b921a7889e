# SPDX-License-Identifier: Apache-2.0
"""Rigid motions for tests."""

from __future__ import annotations

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL, so3_exp


def motion(turn=(0.0, 0.0, 0.0), move=(0.0, 0.0, 0.0)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = so3_exp(np.array(turn, float)), move
    return T


# Half a meter above and 0.2 m ahead of the base, with the optical axis ahead and 20 degrees down.
MOUNT = motion(move=(0.2, 0.0, 0.5)) @ motion(turn=(0.0, np.radians(20.0), 0.0)) @ T_BODY_OPTICAL
