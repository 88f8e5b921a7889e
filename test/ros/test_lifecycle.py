# SPDX-License-Identifier: Apache-2.0
"""A managed node: driven through its states as Nav2's lifecycle manager does; asked for nonsense, it stays up."""

from __future__ import annotations

import pytest
from graph import SECOND, walk
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

pytestmark = pytest.mark.ros


def change(bench, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(bench.ask(ChangeState, "change_state", request).success)


def state(bench) -> int:
    return int(bench.ask(GetState, "get_state", GetState.Request()).current_state.id)


def test_by_itself_it_is_active_at_once(start):
    _, bench = start()
    assert state(bench) == State.PRIMARY_STATE_ACTIVE


def test_managed_it_takes_images_only_while_active(start):
    _, bench = start(autostart=False)
    bench.listen("pose")
    assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED
    assert not bench.node.count_publishers("/mapping_node/pose")
    assert change(bench, Transition.TRANSITION_CONFIGURE)
    assert state(bench) == State.PRIMARY_STATE_INACTIVE
    bench.wait_for_outputs("pose")
    assert not bench.images.get_subscription_count()
    assert change(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait_for_subscriber()
    walk(bench, 2)
    assert change(bench, Transition.TRANSITION_DEACTIVATE)
    bench.spin_until(lambda: not bench.images.get_subscription_count(), "no subscriber")
    assert change(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait_for_subscriber()
    walk(bench, 1, 9 * SECOND)
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(2.0), "state and map outlive a pause"


def test_cleaned_up_it_can_be_configured_again_and_begins_anew(start):
    _, bench = start()
    bench.listen("pose")
    bench.wait_for_subscriber()
    bench.wait_for_outputs("pose")
    walk(bench, 2)
    assert change(bench, Transition.TRANSITION_DEACTIVATE)
    assert change(bench, Transition.TRANSITION_CLEANUP)
    bench.spin_until(lambda: not bench.node.count_publishers("/mapping_node/pose"), "no outputs")
    assert change(bench, Transition.TRANSITION_CONFIGURE)
    assert change(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait_for_subscriber()
    bench.wait_for_outputs("pose")
    walk(bench, 1, 9 * SECOND)
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(0.0)


@pytest.mark.parametrize(
    "transition",
    [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_ACTIVATE, 77],
)
def test_an_impossible_transition_is_refused_and_the_node_goes_on(start, transition):
    _, bench = start()
    bench.listen("pose")
    assert not change(bench, transition)
    assert state(bench) == State.PRIMARY_STATE_ACTIVE
    bench.wait_for_subscriber()
    bench.wait_for_outputs("pose")
    walk(bench, 1)


def test_weights_that_cannot_be_read_fail_the_configuration_and_leave_the_node_up(start, tmp_path):
    node, bench = start(autostart=False, model_path=str(tmp_path / "no.safetensors"))
    node._given_backend = None  # load what the parameters name
    assert not change(bench, Transition.TRANSITION_CONFIGURE)
    assert state(bench) == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("transitions", "shutdown"),
    [
        ((), Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
        ((Transition.TRANSITION_CONFIGURE,), Transition.TRANSITION_INACTIVE_SHUTDOWN),
        (
            (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE),
            Transition.TRANSITION_ACTIVE_SHUTDOWN,
        ),
    ],
)
def test_it_can_be_shut_down_from_every_state(start, transitions, shutdown):
    _, bench = start(autostart=False)
    for transition in transitions:
        assert change(bench, transition)
    assert change(bench, shutdown)
    assert state(bench) == State.PRIMARY_STATE_FINALIZED
