"""The bytes of all requests together: many bodies at once shall not fill the memory. Knows no HTTP."""

from serving.errors import Busy

_SMALL = 64 * 1024  # bytes of a body


class HeldBytes:
    """How many bytes of bodies are held, and how many may be. Belongs to one event loop.

    The last `reserve` of them are for small bodies, so that a few large ones that do not end keep no picture out.
    """

    def __init__(self, limit: int, *, reserve: int) -> None:
        self._limit = limit
        self._reserve = reserve
        self._held = 0

    def take(self, count: int, *, body: int) -> None:
        """For a body that has `body` bytes then. Raises Busy, and takes nothing, when there would be too many."""
        limit = self._limit if body <= _SMALL else self._limit - self._reserve
        if self._held + count > limit:
            raise Busy(
                f"The server holds {self._held} bytes of requests already, at most {limit} may be; try again later."
            )
        self._held += count

    def give_back(self, count: int) -> None:
        self._held -= count


class HeldBody:
    """A body as it comes; its bytes count against those of all requests until they are given back."""

    def __init__(self, held: HeldBytes) -> None:
        self._held = held
        self._chunks: list[bytes] = []
        self.size = 0

    def append(self, chunk: bytes) -> None:
        self._held.take(len(chunk), body=self.size + len(chunk))
        self._chunks.append(chunk)
        self.size += len(chunk)

    def join(self) -> bytes:
        """All of it; what it consists of is let go."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def give_back(self) -> None:
        self._held.give_back(self.size)
