# SPDX-License-Identifier: Apache-2.0
"""One sqlite3 file of a bag of ROS 2."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from ttt3r_ros.io.bags.bag_file import Connection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ttt3r_ros.io.bags.bag_file import Record

_WRITING = "the recorder still writes or was killed"


class SqliteFile:
    """A database of rosbag2_storage_sqlite3, of all schema versions; reading never changes it."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises `sqlite3.Error`."""
        self.problem = self.remark = ""
        log, journal = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
        if _has_content(log):
            self.remark = f"{log.name} exists: {_WRITING}; its messages so far are read"
        if _has_content(journal):
            self.problem = (
                f"{journal.name} exists: {_WRITING}; the messages of its last transaction are lost"
            )
        self._database = _connect(path, immutable=not self.remark)
        try:
            self._database.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if not self.remark:
                raise
            # A log cannot be read in a folder without permission to write.
            self._database = _connect(path, immutable=True)
            self.problem, self.remark = f"{log.name} cannot be read ({error}): {_WRITING}", ""
        definitions = self._definitions()
        counts = dict(
            self._database.execute(
                "SELECT topic_id, count(*) FROM messages GROUP BY topic_id"
            ).fetchall()
        )
        rows = self._database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ).fetchall()
        self._ids = {
            Connection(
                topic,
                msgtype,
                encoding or "cdr",
                *definitions.get(msgtype, ("", "")),
                counts.get(number, 0),
            ): number
            for number, topic, msgtype, encoding in rows
        }
        self.connections = list(self._ids)
        (start_ns,) = self._database.execute("SELECT MIN(timestamp) FROM messages").fetchone()
        self.start_ns = int(start_ns or 0)

    def messages(self, connections: Collection[Connection]) -> Iterator[Record]:
        """Yield messages in the order of log time; raises `sqlite3.Error`."""
        by_id = {self._ids[connection]: connection for connection in connections}
        marks = ",".join("?" * len(by_id))
        rows = self._database.execute(
            f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "  # noqa: S608 - only marks
            "ORDER BY timestamp, id",
            tuple(by_id),
        )
        for number, log_ns, data in rows:
            yield by_id[number], int(log_ns), bytes(data)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _definitions(self) -> dict[str, tuple[str, str]]:
        """Return text and format of each message definition; schema versions below 4 have none."""
        try:
            rows = self._database.execute(
                "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
            ).fetchall()
        except sqlite3.OperationalError:
            return {}
        return {name: (text, encoding) for name, text, encoding in rows}


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _connect(path: Path, *, immutable: bool) -> sqlite3.Connection:
    """Open a database for reading. A name may have any bytes, of which a URI needs some quoted."""
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"
    database = sqlite3.connect(address, uri=True, check_same_thread=False)
    database.text_factory = lambda data: data.decode("utf-8", errors="replace")
    return database
