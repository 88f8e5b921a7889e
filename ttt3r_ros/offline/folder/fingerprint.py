# SPDX-License-Identifier: Apache-2.0
"""Identity of an offline run: source, source options and settings. A run is resumed only if it has the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import setting_values
from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.sources import SourceOptions

_MAY_DIFFER = ("device", "threads")  # a resumed batch may find another device free


@dataclass(frozen=True)
class RunFingerprint:
    """Everything that determines the result of a run."""

    source: str
    options: dict[str, Any]  # how the source is read
    settings: dict[str, Any]
    outputs: tuple[str, ...]
    max_frames: int = 0  # 0: all; a resumed run may continue beyond it

    def is_complete(self, meta: dict[str, Any]) -> bool:
        """Return whether the run that wrote this ``run.json`` has done all of this one."""
        if (
            meta.get("interrupted", True)
            or meta.get("problems", True)
            or meta.get("max_frames") != self.max_frames
        ):
            return False
        same = next(self._differences(meta), None) is None
        return same and set(self.outputs) <= set(meta.get("outputs") or ())

    def require_same(self, saved: dict[str, Any]) -> None:
        """Check that a saved run has the same source, options, settings and outputs.

        Raises:
            ConfigError: names the first difference.
        """
        outputs = ("outputs", list(self.outputs), saved["outputs"])
        for name, value, saved_value in (*self._differences(saved), outputs):
            if value != saved_value:
                msg = f"{name} is {value!r}, the interrupted run had {saved_value!r}"
                raise ConfigError(msg)

    def _differences(self, saved: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Yield name, value and saved value of everything that must be equal and is not."""
        values = {"source": self.source, **self.options, **self.settings}
        saved_values = {
            "source": saved.get("source"),
            **(saved.get("options") or {}),
            **(saved.get("settings") or {}),
        }
        for name, value in values.items():
            if name not in _MAY_DIFFER and value != saved_values.get(name):
                yield name, value, saved_values.get(name)


def compute_fingerprint(
    source: str, options: SourceOptions, config: Config, outputs: tuple[str, ...]
) -> RunFingerprint:
    """Return the identity of a run."""
    values = {name: _plain(value) for name, value in asdict(options).items()}
    max_frames = values.pop("max_frames")
    return RunFingerprint(absolute_source(source), values, setting_values(config), outputs, max_frames)


def absolute_source(source: str) -> str:
    """Return the absolute path of a source, so that it is valid in every folder; a webcam keeps its name."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _plain(value: Any) -> Any:
    """Return a source option as JSON holds it."""
    return str(value or "") if value is None or isinstance(value, Path) else value
