"""The bytes of all requests together: many bodies at once shall not fill the memory. Knows no HTTP."""

from serving.errors import Busy


class HeldBytes:
    """How many bytes of bodies are held, and how many may be. Belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def take(self, count: int) -> None:
        """Raises Busy, and takes nothing, when there would be more than the limit."""
        if self._held + count > self._limit:
            raise Busy(
                f"The server holds {self._held} bytes of requests already, at most {self._limit} may be; "
                "try again later."
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
        self._held.take(len(chunk))
        self._chunks.append(chunk)
        self.size += len(chunk)

    def join(self) -> bytes:
        """All of it; what it consists of is let go."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def give_back(self) -> None:
        self._held.give_back(self.size)
