# SPDX-License-Identifier: Apache-2.0
"""Load the backend of a configuration."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.model.runtime.backend import TorchBackend
from ttt3r_ros.model.runtime.compilation import disable_compiled_parts
from ttt3r_ros.model.runtime.devices import resolve_device
from ttt3r_ros.model.runtime.execution import ExecutionOptions, resolve_compile
from ttt3r_ros.model.runtime.precision import resolve_precision
from ttt3r_ros.model.runtime.threads import configure_threads, is_narrow, set_threads, single_threaded

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.model.network.config import NetworkConfig

logger = logging.getLogger(__name__)

_MIN_IMAGE_SIZE = 32  # px, two patches


def load_backend(config: Config) -> tuple[TorchBackend, dict[str, str]]:
    """Load the backend of a configuration; also return a description of it by keyword.

    Raises:
        DeviceError: the device does not exist.
        CheckpointError: the weights cannot be used.
        ConfigError: the update rule is unknown, or images would be smaller than two patches.
    """
    if 0 < config.image_size < _MIN_IMAGE_SIZE:
        msg = f"image_size is {config.image_size}; expected 0 or at least {_MIN_IMAGE_SIZE}"
        raise ConfigError(msg)
    device = resolve_device(config.device)
    path = Path(config.model_path).expanduser() if config.model_path else PACKAGE_WEIGHTS
    with single_threaded():  # another thread may run the network
        loaded = load_network(path, config.update_rule)
    mode = resolve_compile(config.compile, device, loaded.network.config)
    parallel_decoders = _configure_threads(config.threads, device, mode, loaded.network.config)
    with single_threaded():
        options = ExecutionOptions(
            device=device,
            precision=resolve_precision(config.precision, device, loaded.network.config),
            mode=mode,
            parallel_decoders=parallel_decoders,
            encode_ahead=_resolve_encode_ahead(config.encode_ahead, parallel_decoders=parallel_decoders),
        )
        backend = TorchBackend(
            loaded.network,
            options,
            long_edge=config.image_size,
            reset_interval=loaded.reset_interval,
            pose_source=_resolve_pose_source(config.pose_source, path),
        )
    mode = _warm_up(backend, mode, 1 if config.rig else max(1, len(config.cameras)))
    logger.info("network ready on %s, %s, images of %s", backend.device, options.precision, backend.size)
    facts = {
        "weights": loaded.description,
        "device": backend.device,
        "precision": options.precision,
        "compiled": mode,
        "pose_source": backend.pose_source,
    }
    return backend, facts


def _configure_threads(count: int, device: str, mode: str, network: NetworkConfig) -> bool:
    """Set torch's CPU threads; return whether both decoders of a layer should run in parallel."""
    if mode == "graph" and not device.startswith("cuda") and is_narrow(network):
        return configure_threads(count)
    set_threads(count)
    return False


def _resolve_encode_ahead(requested: str, *, parallel_decoders: bool) -> bool:
    """Resolve 'auto': encode ahead where the decoders run in parallel."""
    return parallel_decoders if requested == "auto" else requested == "on"


def _resolve_pose_source(requested: str, path: Path) -> str:
    """Resolve 'auto': the package's weights predict depth far better than motion, so they use tracked corners."""
    if requested != "auto":
        return requested
    return "visual_odometry" if path.resolve() == PACKAGE_WEIGHTS.resolve() else "network"


def _warm_up(backend: TorchBackend, mode: str, cameras: int) -> str:
    """Compile and trace before the first image; return the mode that works on this machine."""
    if mode == "none":
        return mode
    try:
        # Inductor compiles for the current number of threads.
        with nullcontext() if "inductor" in mode else single_threaded():
            backend.warm_up(cameras)
    except RuntimeError as error:
        if "inductor" not in mode:
            raise
        reason = str(error).strip().partition("\n")[0]
        logger.warning("compile inductor failed, the network runs without it: %s", reason)
        disable_compiled_parts()
        backend.warm_up(cameras)  # raises again if compilation was not the cause
        return "graph" if "graph" in mode else "none"
    return mode
