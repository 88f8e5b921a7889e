# SPDX-License-Identifier: Apache-2.0
"""Dense metric mapping with one camera: TTT3R as a library and as a ROS 2 node.

The names of `__all__` are loaded when they are used, so that ``import ttt3r_ros`` needs no other module.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Reconstructor",
    "RunResult",
    "SourceOptions",
    "load_backend",
    "map_recording",
    "map_recordings",
    "open_source",
]
_MODULES = {
    "Config": "ttt3r_ros.config",
    "Reconstructor": "ttt3r_ros.pipeline.reconstructor",
    "RunResult": "ttt3r_ros.offline.result",
    "SourceOptions": "ttt3r_ros.io.sources",
    "load_backend": "ttt3r_ros.model.runtime.loading",
    "map_recording": "ttt3r_ros.offline.run",
    "map_recordings": "ttt3r_ros.offline.batch.local",
    "open_source": "ttt3r_ros.io.sources",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
