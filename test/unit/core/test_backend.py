# SPDX-License-Identifier: Apache-2.0
"""A backend with three members works; optional capabilities are used where they exist."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, MinimalBackend, frame, image

from ttt3r_ros import backend as backends
from ttt3r_ros.backend import (
    BatchedBackend,
    EncodeAheadBackend,
    RecommendedSettings,
    StateSerialization,
)
from ttt3r_ros.config import Config
from ttt3r_ros.errors import NonFiniteError, OutputError, SourceError
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor

CAPABILITIES = (BatchedBackend, EncodeAheadBackend, RecommendedSettings, StateSerialization)


def test_the_minimal_backend_has_no_capability_and_the_other_fake_has_all() -> None:
    assert [kind for kind in CAPABILITIES if isinstance(MinimalBackend(), kind)] == []
    assert [kind for kind in CAPABILITIES if not isinstance(FakeBackend(), kind)] == []


def test_a_minimal_backend_maps_frames_with_default_settings() -> None:
    reconstructor = Reconstructor(MinimalBackend(), Config())
    updates = [reconstructor.step(frame(mark)) for mark in range(20, 23)]
    assert [update.segment for update in updates] == [0, 0, 0]
    assert updates[-1].landmarks == 0, "the poses are those of the network"
    assert reconstructor.map.voxels.point_cloud().points.size > 0


def test_recommended_settings_are_those_of_the_backend_or_the_defaults() -> None:
    recommended = FakeBackend()
    recommended.reset_interval, recommended.pose_source = 16, "visual_odometry"
    assert backends.recommended_reset_interval(recommended) == 16
    assert backends.recommended_pose_source(recommended) == "visual_odometry"
    assert backends.recommended_reset_interval(MinimalBackend()) == 0
    assert backends.recommended_pose_source(MinimalBackend()) == "network"


@pytest.mark.parametrize("backend", [MinimalBackend(), FakeBackend()], ids=lambda b: type(b).__name__)
def test_a_batch_has_an_error_in_the_place_of_one_stream_alone(backend: MinimalBackend) -> None:
    first, failed, last = backends.step_batch(
        backend, [image(20), image(13), image(22)], [FakeState(1), FakeState(2), FakeState(3)]
    )
    assert isinstance(failed, NonFiniteError)
    assert isinstance(first, tuple)
    assert isinstance(last, tuple)
    assert (first[1], last[1]) == (FakeState(2), FakeState(4))


def test_a_batch_needs_one_state_per_image() -> None:
    with pytest.raises(ValueError, match="shorter"):
        backends.step_batch(MinimalBackend(), [image(20)], [])


def test_the_next_image_is_requested_only_by_a_backend_that_encodes_ahead() -> None:
    backends.set_next_image_source(MinimalBackend(), lambda: pytest.fail("requested"))
    ahead = FakeBackend()
    backends.set_next_image_source(ahead, lambda: image(21))
    assert ahead.next_images == [21]


def test_a_state_without_serialization_is_neither_saved_nor_loaded() -> None:
    reconstructor = Reconstructor(MinimalBackend(), Config())
    reconstructor.step(frame(20))
    with pytest.raises(OutputError, match="MinimalBackend"):
        checkpoint.state_dict(reconstructor)
    with pytest.raises(SourceError, match="MinimalBackend"):
        backends.state_from_arrays(MinimalBackend(), {"seen": np.array([1])})
