# SPDX-License-Identifier: Apache-2.0
"""A frame that cannot be placed is one skipped frame; every component stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from fakes import FakeBackend, frame, image
from rendered_path import frames_of_path
from small_networks import LINEAR

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import NonFiniteError, PlacementError
from ttt3r_ros.model.checkpoints.networks import seeded_network
from ttt3r_ros.model.runtime.backend import TorchBackend
from ttt3r_ros.odometry.ground_plane import Floor
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.mapper import Mapper, Skipped, SkipReason
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.pipeline.rig import Rig
from ttt3r_ros.types import Intrinsics, Update

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Prediction

    Change = Callable[[Prediction], Prediction]

SETTINGS = {
    "scale.source": "odometry",
    "level_source": "floor",
    "reset_interval": 3,
    "map.voxel_size": 0.2,
    "map.max_voxels": 2000,
    "grid.resolution": 1.0,
}
NAN_POSE = np.full((4, 4), np.nan)
BAD_POSES = {
    "not finite": NAN_POSE,
    "zero": np.zeros((4, 4)),
    "scaled": np.diag([2.0, 2.0, 2.0, 1.0]),
    "mirrored": np.diag([-1.0, 1.0, 1.0, 1.0]),
}


def moved(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


BAD_POSES |= {
    "infinite translation": moved(np.inf),
    "absurd translation": moved(1e30),
    "far": moved(-1e200),
}


class FaultyBackend(FakeBackend):
    """Changes its next prediction."""

    change: Change | None = None

    def step(self, rgb: Any, state: Any) -> Any:
        prediction, state = super().step(rgb, state)
        if self.change is not None:
            prediction = self.change(prediction)
        return prediction, state


def points(value: float, *, everywhere: bool = False) -> Change:
    def change(prediction: Prediction) -> Prediction:
        changed = prediction.points_camera.copy()
        changed[... if everywhere else (3, 4)] = value
        return replace(prediction, points_camera=changed)

    return change


def confidence(value: float) -> Change:
    return lambda prediction: replace(prediction, confidence=np.full_like(prediction.confidence, value))


def pose(T: np.ndarray) -> Change:
    return lambda prediction: replace(prediction, T_segment_camera=T)


BAD_PREDICTIONS: dict[str, Change] = {
    **{f"pose {name}": pose(T) for name, T in BAD_POSES.items()},
    **{f"one point {value}": points(value) for value in (np.nan, np.inf, -np.inf, 1e38)},
    **{f"all points {value}": points(value, everywhere=True) for value in (np.nan, np.inf, 3e38, -3e38)},
    **{f"confidence {value}": confidence(value) for value in (np.nan, np.inf, -1.0, 3e38)},
}
BAD_CONTEXTS: dict[str, SensorContext] = {
    **{f"mount {name}": SensorContext(T_base_camera=T) for name, T in BAD_POSES.items()},
    **{f"external odometry {name}": SensorContext(T_odom_base=T) for name, T in BAD_POSES.items()},
    **{
        f"up vector {value}": SensorContext(up_camera=np.full(3, value))
        for value in (np.nan, np.inf, 0.0, 1e-300)
    },
}
BAD_CAMERAS = {
    f"camera {fx} {width}": Intrinsics(fx, fx, 30.0, 20.0, width, 56)
    for fx, width in ((np.nan, 80), (np.inf, 80), (0.0, 80), (40.0, 0))
}


class Session:
    """A mapper over one reconstructor with some frames in every component."""

    def __init__(self, **changes: object) -> None:
        self.backend = FaultyBackend()
        config = from_mapping({**SETTINGS, **changes})
        self.reconstructor: Reconstructor[Any] = (Rig if config.rig else Reconstructor)(
            self.backend, config
        )
        self.context: SensorContext | None = None  # None: usable data
        self.mapper = Mapper(self.backend, config, self, [self.reconstructor])
        self.frames = frames_of_path(6, calibrated=False)
        for k in range(4):
            assert isinstance(self.process(k), Update)

    # --- the sensors of the mapper
    def before_inference(self, _: Any, *, is_first: bool) -> Any:
        return self.context or self.usable

    def after_inference(self, _: Any, mount: SensorContext) -> SensorContext:
        return mount

    def process(self, k: int, **changes: Any) -> Update | Skipped:
        camera = ("left", "right")[k % 2]
        shown = replace(self.frames[k], camera_frame=camera, **changes)
        self.usable = SensorContext(T_odom_base=moved(0.3 * k), T_base_camera=np.eye(4))
        (result,) = self.mapper.process([(self.reconstructor, shown)])
        return result

    def state(self) -> Any:
        return checkpoint.state_dict(self.reconstructor)


KINDS: dict[str, dict[str, object]] = {
    "network": {},
    "visual odometry": {"pose_source": "visual_odometry", "reset_interval": 4},
    "rig": {"rig": True, "cameras": ["left", "right"]},
}


@pytest.fixture(params=KINDS)
def session(request: pytest.FixtureRequest) -> Session:
    return Session(**KINDS[request.param])


def assert_skipped_and_unchanged(session: Session, before: Any, result: object, name: str) -> None:
    assert isinstance(result, Skipped), name
    assert result.reason in (SkipReason.NOT_PLACED, SkipReason.NOT_FINITE), name
    assert "\n" not in str(result), name
    np.testing.assert_equal(session.state(), before, err_msg=name)


def assert_same_future(session: Session, kind: Session) -> None:
    """The next frames give the same bits as in a session without any fault."""
    for k in (4, 5):
        one, other = session.process(k), kind.process(k)
        assert isinstance(one, Update)
        assert isinstance(other, Update)
        np.testing.assert_array_equal(one.T_map_camera, other.T_map_camera)
    np.testing.assert_equal(session.state(), kind.state())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_prediction_sensors_or_camera_changes_no_component(kind: str) -> None:
    session = Session(**KINDS[kind])
    before = session.state()
    for k in (4, 5):  # both cameras of the rig
        for name, change in BAD_PREDICTIONS.items():
            session.backend.change = change
            assert_skipped_and_unchanged(session, before, session.process(k), f"{name} {k}")
        session.backend.change = None
        for name, context in BAD_CONTEXTS.items():
            session.context = context
            assert_skipped_and_unchanged(session, before, session.process(k), f"{name} {k}")
        session.context = None
        for name, camera in BAD_CAMERAS.items():
            result = session.process(k, intrinsics=camera)
            assert_skipped_and_unchanged(session, before, result, f"{name} {k}")
    assert_same_future(session, Session(**KINDS[kind]))


@pytest.mark.parametrize("kind", ["network", "visual odometry"])
def test_a_fault_inside_an_estimator_changes_no_component(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(**KINDS[kind], **{"scale.source": "camera_height", "scale.camera_height": 1.0})
    session.reconstructor.leveling._is_leveled = False
    before = session.state()
    covariance, leveling = "covariance.OdometryCovariance.propagate", "leveling.fit_floor"
    up = np.array([0.0, -1.0, 0.0])

    def fail(error: Exception) -> Callable[..., Any]:
        def raise_error(*_: Any, **__: Any) -> None:
            raise error

        return raise_error

    faults: dict[str, tuple[str, Any]] = {
        "singular matrix": (covariance, fail(np.linalg.LinAlgError("singular"))),
        "overflow": (covariance, fail(OverflowError())),
        "floor not finite": (leveling, lambda *_: Floor(up, np.nan, 99)),
        "floor without normal": (leveling, lambda *_: Floor(np.zeros(3) * np.nan, 1.0, 99)),
        "floor at an absurd depth": (leveling, lambda *_: Floor(up, 1e200, 99)),
        "covariance not finite": (
            covariance,
            lambda self, *_, **__: vars(self).update(_pose=np.full((6, 6), np.nan)),
        ),
        "velocity of absurd covariance": (
            covariance,
            lambda self, *_, **__: vars(self).update(_twist=np.full((6, 6), 1e300)),
        ),
        "scale not finite": (
            "scale_correction.ScaleCorrection.scale",
            property(lambda _: np.nan),
        ),
    }
    for name, (target, replacement) in faults.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"ttt3r_ros.odometry.{target}", replacement)
            result = session.process(4)
        assert_skipped_and_unchanged(session, before, result, name)


def test_an_unexpected_exception_is_raised_and_changes_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.state()
    with monkeypatch.context() as patch:
        patch.setattr(Reconstructor, "_create_update", lambda *_: {}["missing"])
        with pytest.raises(KeyError):
            session.process(4)
    np.testing.assert_equal(session.state(), before)


def test_the_first_frame_of_a_map_may_be_unusable() -> None:
    backend = FaultyBackend()
    mapping = Reconstructor(backend, from_mapping(SETTINGS))
    for context in BAD_CONTEXTS.values():
        with pytest.raises(PlacementError):
            mapping.step(frame(1), context)
        assert mapping.pose_integrator.awaits_first_frame
        assert len(mapping.trajectory) == 0
    backend.change = pose(NAN_POSE)
    with pytest.raises(NonFiniteError):
        mapping.step(frame(1))
    backend.change = None
    assert mapping.step(frame(2)).T_map_camera[:3, 3] == pytest.approx(0.0)
    assert len(mapping.trajectory) == 1


def test_late_leveling_waits_for_a_usable_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first floor moves map and trajectory; not if its frame is unusable."""
    session = Session()
    leveling = session.reconstructor.leveling
    assert not leveling.state_dict()["is_leveled"] or leveling.floor_z is not None
    leveling._is_leveled = False
    before, cloud = session.state(), session.reconstructor.map.voxels.point_cloud()
    tilted = Floor(np.array([0.0, -np.cos(0.2), np.sin(0.2)]), 1.0, 99)
    monkeypatch.setattr("ttt3r_ros.odometry.leveling.fit_floor", lambda *_: tilted)
    with monkeypatch.context() as patch:
        patch.setattr(Reconstructor, "_update_covariance", lambda *_: np.linalg.inv(np.zeros((2, 2))))
        assert_skipped_and_unchanged(session, before, session.process(4), "tilted floor")
    assert isinstance(session.process(4), Update)
    leveled = session.reconstructor.map.voxels.point_cloud()
    assert not np.array_equal(leveled.points[: len(cloud.points)], cloud.points)


def test_weights_of_zeros_give_skipped_frames_only() -> None:
    network = seeded_network(LINEAR)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    mapping = Reconstructor(TorchBackend(network), from_mapping({}))
    mapper = Mapper(TorchBackend(network), from_mapping({}), NoSensors(), [mapping])
    for k in range(3):
        (result,) = mapper.process([(mapping, replace(frame(k), rgb=image(k)))])
        assert isinstance(result, Skipped)
        assert result.reason is SkipReason.NOT_FINITE
    assert len(mapping.trajectory) == 0


class NoSensors:
    def before_inference(self, _: Any, *, is_first: bool) -> SensorContext:
        return SensorContext()

    def after_inference(self, _: Any, mount: SensorContext) -> SensorContext:
        return mount


def test_of_a_batch_only_the_unusable_frame_is_skipped() -> None:
    class OneBad(FakeBackend):
        def step(self, rgb: Any, state: Any) -> Any:
            prediction, state = super().step(rgb, state)
            return (pose(NAN_POSE)(prediction) if rgb[0, 0, 0] == 7 else prediction), state

    backend, config = OneBad(), from_mapping(SETTINGS)
    pair = Reconstructor(backend, config), Reconstructor(backend, config)
    mapper = Mapper(backend, config, NoSensors(), pair)
    good, bad = mapper.process([(pair[0], frame(6)), (pair[1], frame(7))])
    assert isinstance(good, Update)
    assert isinstance(bad, Skipped)
    assert [len(mapping.trajectory) for mapping in pair] == [1, 0]
