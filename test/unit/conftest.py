# SPDX-License-Identifier: Apache-2.0
"""Property-based tests that behave the same on every machine, however busy it is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ttt3r_ros", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("ttt3r_ros")
