"""An event stream (SSE) as it arrives, bounded by whoever feeds it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class EventReader:
    """Gives the data of each event once the blank line after it is there.

    Attributes:
        faults: what is no event stream in what was fed.
        comments: how many comment lines came, which keep a stream alive.
    """

    faults: list[str] = field(default_factory=list)
    comments: int = 0
    _rest: bytes = b""
    _data: list[bytes] = field(default_factory=list)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that ``chunk`` completes."""
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            if not line:
                # An event with an identifier and no data only says where the stream may be resumed.
                if data := b"\n".join(self._data):
                    events.append(data)
                self._data = []
                continue
            name, _, value = line.partition(b":")
            if not name:
                self.comments += 1
            elif name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif name not in (b"event", b"id", b"retry") and not self.faults:
                self.faults.append(f"{name[:40]!r} is no field of an event stream")
        return events
