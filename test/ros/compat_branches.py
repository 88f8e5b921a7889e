# SPDX-License-Identifier: Apache-2.0
"""Both branches of the compat module, for the tests that compare them."""

from __future__ import annotations

import importlib.util

import pytest

from ttt3r_ros.ros import compat


def _load_plain():
    """Load a second instance of the module, with the genuine packages ruled out by the environment."""
    spec = importlib.util.spec_from_file_location("compat_plain", compat.__file__)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TTT3R_ROS_COMPAT", "plain")
        spec.loader.exec_module(module)
    return module


PLAIN = _load_plain()
BRANCHES = pytest.mark.parametrize("branch", [compat, PLAIN], ids=["as_installed", "plain"])


def skip_without(purpose, package):
    """Skip a comparison where the genuine package does not serve the purpose on this machine."""
    provider = compat.providers()[purpose]
    if provider != package:
        pytest.skip(f"only one branch to look at; {purpose}: {provider}")
