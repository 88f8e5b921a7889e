# SPDX-License-Identifier: Apache-2.0
"""Run tests with the optional ROS packages as installed, and without them."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest

from ttt3r_ros.ros import compat


@contextmanager
def plain():
    """Disable the optional packages."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cv_bridge", "create_cloud", "tf_transformations", "broadcaster_class"):
            patch.setattr(compat, name, None)
        yield


BRANCHES = pytest.mark.parametrize("packages", [nullcontext, plain], ids=["as_installed", "plain"])


def skip_without(purpose, package):
    """Skip a comparison if the genuine package is not in use."""
    provider = compat.providers()[purpose]
    if provider != package:
        pytest.skip(f"nothing to compare with; {purpose}: {provider}")
