# SPDX-License-Identifier: Apache-2.0
"""From a configuration to a running backend."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.model.runtime.backend import TorchBackend, cuda_devices, memory_bytes, resolve_device
from ttt3r_ros.model.runtime.compilation import give_up_compiling
from ttt3r_ros.model.runtime.execution import resolve_compile
from ttt3r_ros.model.runtime.precision import resolve_precision
from ttt3r_ros.model.runtime.threads import alone, is_narrow, set_threads, share_out

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.model.network.config import NetworkConfig

__all__ = ["cuda_devices", "device_memory_facts", "load_backend"]

logger = logging.getLogger(__name__)

_SMALLEST_IMAGE = 32


def load_backend(config: Config) -> tuple[TorchBackend, dict[str, str]]:
    """Return the backend that a configuration asks for, and facts about it for people.

    Raises:
        DeviceError: the device does not exist.
        CheckpointError: the weights cannot be used.
        ConfigError: there is no such update rule, or images would be smaller than two patches.
    """
    if 0 < config.image_size < _SMALLEST_IMAGE:
        msg = f"image_size is {config.image_size}; expected 0 or at least {_SMALLEST_IMAGE}"
        raise ConfigError(msg)
    device = resolve_device(config.device)
    path = Path(config.model_path).expanduser() if config.model_path else PACKAGE_WEIGHTS
    with alone():  # the caller may run the network on another thread
        loaded = load_network(path, config.update_rule)
    mode = resolve_compile(config.compile, device, loaded.network.config)
    side_by_side = _share_threads(config.threads, device, mode, loaded.network.config)
    with alone():
        precision = resolve_precision(config.precision, device, loaded.network.config)
        backend = TorchBackend(
            loaded.network,
            device,
            config.image_size,
            loaded.reset_interval,
            pose_source=_pose_source(config.pose_source, path),
            precision=precision,
            mode=mode,
            side_by_side=side_by_side,
            encode_ahead=_encodes_ahead(config.encode_ahead, side_by_side=side_by_side),
        )
    mode = _warmed_up(backend, mode, 1 if config.rig else max(1, len(config.cameras)))
    logger.info("network ready on %s, %s, images of %s", backend.device, precision, backend.size)
    facts = {
        "weights": loaded.description,
        "device": backend.device,
        "precision": precision,
        "compiled": mode,
        "pose_source": backend.pose_source,
    }
    return backend, facts


def _share_threads(wished: int, device: str, mode: str, network: NetworkConfig) -> bool:
    """Give the processor's threads to the network; return whether parts of it are to run at once."""
    if mode == "graph" and not device.startswith("cuda") and is_narrow(network):
        return share_out(wished)
    set_threads(wished)
    return False


def _encodes_ahead(encode_ahead: str, *, side_by_side: bool) -> bool:
    """Return whether the next image is encoded ahead; ``auto``: where parts of the network run at once."""
    return side_by_side if encode_ahead == "auto" else encode_ahead == "on"


def _pose_source(wished: str, path: Path) -> str:
    """Return network or visual_odometry; the package's weights know distances far better than motion."""
    if wished != "auto":
        return wished
    return "visual_odometry" if path.resolve() == PACKAGE_WEIGHTS.resolve() else "network"


def _warmed_up(backend: TorchBackend, mode: str, cameras: int) -> str:
    """Compile and record, so that no image waits for it; return the mode that works on this machine."""
    if mode == "none":
        return mode
    try:
        # What inductor compiles is made for the threads that there are.
        with nullcontext() if "inductor" in mode else alone():
            backend.warm_up(cameras)
    except RuntimeError as error:
        if "inductor" not in mode:
            raise
        reason = str(error).strip().partition("\n")[0]
        logger.warning("compile inductor does not work here, the network runs without it: %s", reason)
        give_up_compiling()
        backend.warm_up(cameras)  # where compiling was not the cause, this says so
        return "graph" if "graph" in mode else "none"
    return mode


def device_memory_facts(device: str) -> dict[str, str]:
    """Return the memory that torch holds on a CUDA device; nothing for the processor."""
    held = memory_bytes(device)
    return {"cuda_memory_mib": f"{held / 2**20:.0f}"} if held else {}
