"""How fast an engine has been of late, to tell how long what waits will take."""

_KEPT = 0.8  # of the past with each batch: the last five or so count
_ENOUGH = 5  # batches: the first may be a lone image on a machine that had something else to do
_JUMP = 4.0  # times as slow as before is as much as one batch may claim; a machine that was paused is not slow


class Pace:
    """Seconds an image, averaged over recent batches by their images. Not thread-safe."""

    def __init__(self) -> None:
        # Two sums rather than an average of quotients: a full batch tells more than one of a single image, which costs
        # far more an image on a GPU.
        self._seconds = 0.0
        self._images = 0.0
        self._batches = 0

    def note(self, images: int, seconds: float) -> None:
        """Count a batch that kept the engine busy for so many seconds."""
        if self._seconds:
            seconds = min(seconds, _JUMP * images * self._seconds / self._images)
        self._seconds = _KEPT * self._seconds + seconds
        self._images = _KEPT * self._images + images
        self._batches += 1

    def expect(self, images: int) -> float:
        """Seconds that so many images will take; 0 as long as too little is known."""
        return images * self._seconds / self._images if self._batches >= _ENOUGH else 0.0
