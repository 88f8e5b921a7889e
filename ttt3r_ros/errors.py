# SPDX-License-Identifier: Apache-2.0
"""Every error this package raises on purpose; each message names the value and what was expected."""


class Ttt3rError(Exception):
    """Base of all errors a caller may want to catch."""


class ConfigError(Ttt3rError):
    """A setting is unknown, of the wrong type or out of range."""


class CheckpointError(Ttt3rError):
    """A weights file is missing, damaged, hostile or does not fit the network."""


class DeviceError(Ttt3rError):
    """The device asked for does not exist on this machine."""


class ImageError(Ttt3rError):
    """An image cannot be decoded or used: encoding, size, step or content."""


class NonFiniteError(Ttt3rError):
    """The network met or made a NaN or an infinity; the state it started from is still good."""


class SourceError(Ttt3rError):
    """A folder, video or bag cannot be read as an image sequence."""


class AmbiguousSource(SourceError):  # noqa: N818 - no mistake: somebody only has to choose
    """A source holds several image sequences, and none was named."""

    def __init__(self, message: str, choices: list[str], what: str) -> None:
        super().__init__(message)
        self.choices = choices
        self.what = what  # kind of thing to choose from, such as "image topic"


class OutputError(Ttt3rError):
    """A result could not be written."""
