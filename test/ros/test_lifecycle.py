# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions as of Nav2's lifecycle manager, possible and impossible ones."""

from __future__ import annotations

import pytest
from graph import SECOND, map_images
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

pytestmark = pytest.mark.ros


def change(peer, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call_service(ChangeState, "change_state", request).success)


def state(peer) -> int:
    return int(peer.call_service(GetState, "get_state", GetState.Request()).current_state.id)


def test_with_autostart_the_node_is_active_at_once(start):
    _, peer = start()
    assert state(peer) == State.PRIMARY_STATE_ACTIVE


def test_a_managed_node_subscribes_to_images_only_while_active(start):
    _, peer = start(autostart=False)
    peer.subscribe("pose")
    assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED
    assert not peer.node.count_publishers("/mapping_node/pose")
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert state(peer) == State.PRIMARY_STATE_INACTIVE
    peer.wait_for_outputs("pose")
    assert not peer.images.get_subscription_count()
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    peer.wait_for_subscriber()
    map_images(peer, 2)
    assert change(peer, Transition.TRANSITION_DEACTIVATE)
    peer.spin_until(lambda: not peer.images.get_subscription_count(), "no subscriber")
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    peer.wait_for_subscriber()
    map_images(peer, 1, 9 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(2.0), (
        "state and map are kept while inactive"
    )


def test_after_a_cleanup_the_node_can_be_configured_again_with_an_empty_map(start):
    _, peer = start()
    peer.subscribe("pose")
    peer.wait_for_subscriber()
    peer.wait_for_outputs("pose")
    map_images(peer, 2)
    assert change(peer, Transition.TRANSITION_DEACTIVATE)
    assert change(peer, Transition.TRANSITION_CLEANUP)
    peer.spin_until(lambda: not peer.node.count_publishers("/mapping_node/pose"), "no outputs")
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    peer.wait_for_subscriber()
    peer.wait_for_outputs("pose")
    map_images(peer, 1, 9 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(0.0)


@pytest.mark.parametrize(
    "transition",
    [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_ACTIVATE, 77],
)
def test_an_impossible_transition_fails_and_the_node_continues(start, transition):
    _, peer = start()
    peer.subscribe("pose")
    assert not change(peer, transition)
    assert state(peer) == State.PRIMARY_STATE_ACTIVE
    peer.wait_for_subscriber()
    peer.wait_for_outputs("pose")
    map_images(peer, 1)


def test_unreadable_weights_fail_the_configuration_and_the_node_stays_up(start, tmp_path):
    node, peer = start(autostart=False, model_path=str(tmp_path / "no.safetensors"))
    node._given_backend = None  # load the weights of the parameters
    assert not change(peer, Transition.TRANSITION_CONFIGURE)
    assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED


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
def test_the_node_can_be_shut_down_from_every_state(start, transitions, shutdown):
    _, peer = start(autostart=False)
    for transition in transitions:
        assert change(peer, transition)
    assert change(peer, shutdown)
    assert state(peer) == State.PRIMARY_STATE_FINALIZED
