"""The log neither holds the event loop up nor fills a disk."""

import logging
import subprocess
import sys
from pathlib import Path
from threading import Timer

from conftest import ROOT

from serving.observing.flood import BURST, FloodFilter

# More bytes than the pipe and the queue before it take. The end is abrupt: the writing thread never gets free.
CHATTERBOX = """
import logging, os, sys
from serving.observing.background import Background
logger = logging.Logger("a")
logger.addHandler(Background(logging.StreamHandler(sys.stderr)))
for number in range(20_000):
    logger.error("line %d %s", number, "x" * 100)
print("done", flush=True)
os._exit(0)
"""

# Written so slowly that most lines still wait when it ends.
LAST_WORDS = """
import logging, sys
from threading import Event
from serving.observing.background import Background

class Slow(logging.StreamHandler):
    def emit(self, record):
        Event().wait(0.001)
        super().emit(record)

logger = logging.Logger("a")
logger.addHandler(Background(Slow(sys.stderr)))
for number in range(100):
    logger.error("line %d", number)
sys.exit(3)
"""


def test_a_log_that_nobody_reads_holds_nobody_up() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHATTERBOX], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        watch = Timer(60, process.kill)
        watch.start()
        assert process.stdout.read() == "done\n"
        watch.cancel()
        assert process.stderr.readline().startswith("line 0 xxx")


def test_what_was_logged_before_the_end_is_written() -> None:
    done = subprocess.run([sys.executable, "-c", LAST_WORDS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 100


def test_a_place_in_the_code_gets_a_few_lines_and_their_count(tmp_path: Path) -> None:
    now = 0.0
    handler = logging.FileHandler(tmp_path / "log")
    handler.addFilter(FloodFilter(lambda: now))
    logger = logging.Logger("a")
    logger.addHandler(handler)
    for number in range(1001):
        if number == 1000:
            now = 1.0
        try:
            raise ValueError(f"batch {number}")
        except ValueError:
            logger.exception("The engine failed on %d images", number)
    logger.error("another place")
    handler.close()
    lines = (tmp_path / "log").read_text().splitlines()
    failures = [line for line in lines if line.startswith("The engine")]
    assert failures[0] == "The engine failed on 0 images"
    assert failures[BURST:] == [f"The engine failed on 1000 images (and {1000 - BURST} more such lines before)"]
    assert sum(line.startswith("Traceback") for line in lines) == BURST + 1
    assert lines[-1] == "another place"
