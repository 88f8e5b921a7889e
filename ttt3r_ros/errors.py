# SPDX-License-Identifier: Apache-2.0
"""Exceptions of the package. Each message contains the invalid value and the expected one."""


def short_text(value: object, length: int = 80) -> str:
    """Return the representation of a value for a message: one line, not longer than ``length``."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4300 digits; a deep structure
        return f"a very long {type(value).__name__}"
    return text if len(text) <= length else f"{text[: length - 3]}..."


class Ttt3rError(Exception):
    """Base class of all exceptions of the package."""


class ConfigError(Ttt3rError):
    """A setting is unknown, of the wrong type or out of range."""


class CheckpointError(Ttt3rError):
    """A weights file is missing, damaged, hostile or does not fit the network."""


class DeviceError(Ttt3rError):
    """The requested device does not exist on this machine."""


class ImageError(Ttt3rError):
    """An image cannot be decoded or used: encoding, size, step or content."""


class ContrastError(ImageError):
    """An image of one color."""


class NonFiniteError(Ttt3rError):
    """The input or output of the network contains NaN or infinity; the previous state is still valid."""


class PlacementError(Ttt3rError):
    """A frame cannot be placed: a pose, a scale or a sensor value is not finite or absurd; nothing has changed."""


class SourceError(Ttt3rError):
    """A folder, video or bag cannot be read as an image sequence."""


class AmbiguousSource(SourceError):  # noqa: N818 - the source is valid, but the user must choose
    """A source contains several image sequences, and none was selected."""

    def __init__(self, message: str, choices: list[str], kind: str) -> None:
        super().__init__(message)
        self.choices = choices
        self.kind = kind  # of the choices, such as "image topic"


class OutputError(Ttt3rError):
    """An output cannot be written."""


def describe_error(error: BaseException) -> str:
    """Return an exception as one line: the message of an own one, type and first line of another one."""
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, Ttt3rError):
        return reason
    if isinstance(error, MemoryError) or "can't allocate memory" in reason:
        return f"memory is short: {reason}".removesuffix(": ")
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
