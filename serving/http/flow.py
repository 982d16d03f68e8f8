"""When a connection is read: not while it holds a lot that waits for its turn."""

from uvicorn.protocols.http.flow_control import FlowControl

_AHEAD = 64 * 1024  # bytes that may wait before no more are read; by some, a client's going is noticed


class Flow(FlowControl):
    """uvicorn's, which would read on with each answer, and so keep all that a client sends ahead of its answers."""

    later = b""  # what has come, and is parsed when no request waits for its turn

    def keep(self, data: bytes) -> None:
        self.later = data
        if len(data) > _AHEAD:
            self.pause_reading()

    def resume_reading(self) -> None:
        if len(self.later) <= _AHEAD:
            super().resume_reading()
