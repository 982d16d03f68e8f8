"""Whether an engine that once passed may still be asked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving.batching.job import Batch

logger = logging.getLogger(__name__)

_LIMIT = 3  # one failed batch may be a freak of its images or of the moment; three in a row are the engine's fault
_INTERVAL = 5.0  # seconds between self-tests: a driver that recovers does so within seconds
_PATIENCE = 60.0  # seconds of self-tests in vain: a device's context that is poisoned stays so while the process lives


class Health:
    """Broken after three failed batches in a row, or one that never ends, until the golden images come out right again.

    A batch has failed when not one of its images came out: a poisoned request among others is no sign of a broken
    engine. Nor is one that several cores shared: further batches of the same requests do not count. `self_test` asks
    the engine the way requests do, and raises when the answer is wrong or there is none. It is tried at once, so that
    three poisoned requests in a row cost the server no more than the time of one batch. `give_up` is called when a
    minute of tests was in vain; they go on.
    """

    def __init__(self, name: str, self_test: Callable[[], Awaitable[None]], give_up: Callable[[], None]) -> None:
        self._name = name
        self._self_test = self_test
        self._give_up = give_up
        self._failures = 0  # batches in a row
        self._recovery: asyncio.Task[None] | None = None

    @property
    def broken(self) -> bool:
        return self._failures >= _LIMIT

    def note(self, batch: Batch) -> None:
        """Observe a batch, on the event loop."""
        if self._recovery is not None:
            return  # the self-test decides
        if not batch.failed:
            self._failures = 0
        elif not all(part.job.blamed for part in batch.slices):
            self._failures += 1
            for part in batch.slices:
                part.job.blamed = True
        if self.broken:
            logger.error("The engine of %s failed %d batches in a row; it is not asked", self._name, self._failures)
            self._test_until_it_passes()

    def note_hung(self, seconds: float) -> None:
        """Observe, on the event loop, that the engine has had a batch for so long that nobody waits for it any more."""
        if self._recovery is None:
            logger.error("The engine of %s has had a batch for %.1f s; it is not asked", self._name, seconds)
            self._failures = _LIMIT
            self._test_until_it_passes()

    def _test_until_it_passes(self) -> None:
        self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        giving_up = asyncio.get_running_loop().call_later(_PATIENCE, self._give_up)
        try:
            while not await self._passes():
                await asyncio.sleep(_INTERVAL)
        finally:
            giving_up.cancel()
        logger.warning("The engine of %s classifies its golden images again; it is asked again", self._name)
        self._failures = 0
        self._recovery = None

    async def _passes(self) -> bool:
        try:
            await self._self_test()
        except Exception as error:
            logger.error("The engine of %s fails its self-test: %s", self._name, error)
            return False
        return True

    def close(self) -> None:
        """Test no more."""
        if self._recovery is not None:
            self._recovery.cancel()
