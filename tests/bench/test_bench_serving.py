"""The serving benchmark: its clients, its checks and its peers, against real servers."""

import importlib.util
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from conftest import ServerProcess, command

from bench.serving import __main__ as serving
from bench.serving import overload, rounds, table
from bench.serving.errors import ServerDied, WrongAnswer
from bench.serving.open_loop import Phase, open_loop, poisson_schedule
from bench.serving.rounds import Round, Turn, ask, in_turns, ratio, rotated
from bench.serving.server import OURS, SERVERS, free_port, running
from bench.serving.server import ServerProcess as Target
from bench.serving.workload import BULK, Workload, raw_batches, single_pictures
from bench.serving.wrk import ClosedLoop, closed_loop

pytestmark = pytest.mark.usefixtures("default_bundle_alone")

PHASES = [Phase("slow", 20, 0.5), Phase("fast", 60, 0.5)]  # little enough for a busy machine
INSTALLED_ONLY_FOR_THE_BENCHMARK = ("fastapi", "litserve")

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs the program wrk, of the package wrk")


@pytest.fixture(scope="module")
def pictures() -> Workload:
    return single_pictures()


@pytest.fixture(scope="module")
def wrong(pictures: Workload) -> Workload:
    """Each picture with the answer of the one before it."""
    return replace(pictures, expected=[pictures.expected[-1], *pictures.expected[:-1]])


@pytest.fixture
def target(server: ServerProcess) -> Target:
    """The tests' server as the benchmark sees it."""
    return Target(cast(Any, server.process), int(server.url.rpartition(":")[2]), server.log)


def test_a_schedule_is_the_same_for_the_same_seed_and_keeps_its_rates() -> None:
    phases = [Phase("first", 1000, 4), Phase("second", 100, 4)]
    first, second = poisson_schedule(phases, seed=1)
    assert np.array_equal(np.concatenate([first, second]), np.concatenate(poisson_schedule(phases, seed=1)))
    assert not np.array_equal(first, poisson_schedule(phases, seed=2)[0])
    assert 0 <= first[0] < first[-1] < 4 <= second[0] < second[-1] < 8
    assert len(first) == pytest.approx(4000, rel=0.1)
    assert len(second) == pytest.approx(400, rel=0.2)
    assert np.diff(first).std() == pytest.approx(1 / 1000, rel=0.1)  # of an exponential distribution: its mean


def test_the_open_loop_accounts_for_every_request(target: Target, pictures: Workload) -> None:
    runs = open_loop(target, pictures, PHASES, seed=3)
    for phase, run, moments in zip(PHASES, runs, poisson_schedule(PHASES, seed=3), strict=True):
        assert run.phase == phase.name
        assert run.statuses == {"200": len(moments)}
        assert run.offered == len(moments) / phase.seconds
        assert run.p50_ms is not None
        assert run.p99_ms is not None
        assert 0 < run.p50_ms <= run.p99_ms
        assert run.without_retry_after == 0


def test_the_open_loop_sees_an_answer_that_is_another_pictures(target: Target, wrong: Workload) -> None:
    with pytest.raises(WrongAnswer, match="answers of the open loop are wrong"):
        open_loop(target, wrong, PHASES[:1], seed=3)


def test_the_open_loop_counts_refusals_by_status(target: Target, pictures: Workload) -> None:
    unknown = replace(pictures, content_type="text/plain")
    (run,) = open_loop(target, unknown, PHASES[:1], seed=3)
    assert list(run.statuses) == ["415"]
    assert run.goodput == 0


def test_the_open_loop_counts_what_nobody_answers(server: ServerProcess, pictures: Workload) -> None:
    (run,) = open_loop(Target(cast(Any, server.process), free_port(), server.log), pictures, PHASES[:1], seed=3)
    assert list(run.statuses) == ["lost"]


@needs_wrk
@pytest.mark.parametrize("connections", [1, 8])
def test_the_closed_loop_gets_right_answers(target: Target, pictures: Workload, connections: int) -> None:
    run = closed_loop(target, pictures, connections=connections, seconds=1)
    assert run.rate > 0
    assert run.refused == run.lost == 0
    assert 0 < run.p50_ms <= run.p99_ms


@needs_wrk
def test_the_closed_loop_checks_every_image_of_a_request(target: Target) -> None:
    batches = raw_batches()
    assert closed_loop(target, batches, connections=2, seconds=1).statuses.keys() == {"200"}
    last_differs = [np.concatenate([rows[:-1], rows[:1]]) for rows in batches.expected]
    with pytest.raises(WrongAnswer, match="are wrong"):
        closed_loop(target, replace(batches, expected=last_differs), connections=2, seconds=1)
    assert batches.images == BULK


@needs_wrk
def test_the_closed_loop_sees_an_answer_that_is_another_pictures(target: Target, wrong: Workload) -> None:
    with pytest.raises(WrongAnswer, match="are wrong"):
        closed_loop(target, wrong, connections=1, seconds=1)


@pytest.mark.parametrize("name", [name for name in SERVERS if name != OURS])
def test_a_peer_gives_the_same_answers(name: str, pictures: Workload) -> None:
    if name in INSTALLED_ONLY_FOR_THE_BENCHMARK and importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}, of requirements/bench.txt")
    with running(name, pictures) as (server, startup):
        (run,) = open_loop(server, pictures, PHASES[:1], seed=3)
        assert list(run.statuses) == ["200"]
        assert 0 < startup.ready <= startup.first_answer
        assert 0 < startup.memory.worker_rss <= startup.memory.rss


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command in this process, where it can be given fewer turns than it has; what it prints."""
    monkeypatch.setattr(serving, "prepare_process", lambda: None)

    def measure(*options: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["serving", *map(str, options)])
        serving.main()
        return capsys.readouterr().out

    return measure


@needs_wrk
def test_all_servers_are_asked_in_turn(measure: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SHARES", {1: 1.0, 32: 1.0})  # fewer, as wrk takes a second for each turn
    monkeypatch.setattr(table, "CONNECTIONS", (1, 32))
    said = measure("--seconds", "1", "--rounds", "1", "--only", "closed", "--servers", "ours", "uvicorn")
    begin = "| ours under bare uvicorn (the bound) | "
    rates, tails, costs, *_ = (line for line in said.splitlines() if line.startswith(begin))
    for row in (rates, costs):
        assert all(0.3 < float(cell) < 3 for cell in row.split("|")[2:-1])
    assert all(float(cell) > 0 for cell in tails.split("|")[2:-1])
    for connections in (1, 32):
        assert f"| ours (`bentoml serve`) | {connections} |" in said


def test_another_server_is_first_each_time() -> None:
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


@pytest.mark.parametrize(
    ("servers", "asked"),
    [
        ((OURS, "a", "b"), (OURS, "a", OURS, "b", OURS, "b", OURS, "a", OURS)),
        ((OURS,), (OURS, OURS)),
        (("a", "b"), ("a", "b", "b", "a")),
    ],
)
def test_our_turns_stand_before_and_after_those_of_others(servers: tuple[str, ...], asked: tuple[str, ...]) -> None:
    assert tuple(in_turns(servers, passes=2)) == asked


def test_a_ratio_is_of_turns_that_follow_each_other() -> None:
    rates = [(OURS, 100), ("a", 50), (OURS, 60), ("b", 10), (OURS, 20), ("b", 0), (OURS, 5), ("silent", 0), (OURS, 8)]
    closed = [Turn(name, ClosedLoop(8, rate, 1, 1, 1 / max(1, rate), 0, 0, {})) for name, rate in rates]
    turns = [Round(closed=closed), Round(closed=closed[:3])]
    assert ratio(turns, "a", 8) == pytest.approx((100 + 60) / 2 / 50)
    assert ratio(turns, "b", 8) == pytest.approx((60 + 20) / 2 / 10)  # not of the turn without a right answer
    assert ratio(turns, "silent", 8) is None
    assert ratio(turns, "a", 32) is None
    assert ratio(turns, "b", 8, lambda run: run.cpu_ms) == pytest.approx((1 / 60 + 1 / 20) / 2 / (1 / 10))


@needs_wrk
def test_a_server_rests_when_it_is_not_its_turn(pictures: Workload) -> None:
    with running("uvicorn", pictures) as (server, _):
        server.pause()
        assert ask(server, pictures, connections=4, seconds=1).rate > 0
        computed = server.cpu_seconds()
        with socket.create_connection(("127.0.0.1", server.port), timeout=1) as asking:
            asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(TimeoutError):
                asking.recv(1)
        assert server.cpu_seconds() == computed


def test_a_server_that_dies_ends_the_run_with_its_log(pictures: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVERS, "broken", ("bench.peers.no_such_peer",))
    with pytest.raises(ServerDied, match=r"(?s)stopped with code 1.*No module named"), running("broken", pictures):
        pass


def test_a_missing_wrk_is_named_with_its_package(tmp_path: Path) -> None:
    done = command("bench.serving", check=False, PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: wrk is not installed; it is the package `wrk`")


@needs_wrk
def test_the_command_reports_what_it_measured(
    measure: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_AFTER", 0.25), ("_HALVES", 1), ("_OVERLOADS", 2)):
        monkeypatch.setattr(overload, name, value)
    options = ("--seconds", "0.5", "--rounds", "1", "--overload", "1")
    said = measure(*options, "--only", "engine", "open", "--json", tmp_path / "report.json")
    for section in ("## Engine alone", "## Open loop"):
        assert section in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rounds"][0]["engine"][0].keys() == {"1", "32", "64", "256"}
    assert [turn["saturation"] > 0 for turn in report["open"]["half"]] == [True]
    assert len(report["open"]["overload"]) == 2
    for turn in report["open"]["overload"]:
        assert 0 < turn["run"]["goodput"] < turn["run"]["offered"]
        assert [run["phase"] for run in turn["after"]] == ["the 0.25 s after it", "after these"]
    assert len(report["open"]["memory"]) == 1 + 2  # before the first overload, and after each


def test_a_soak_checks_every_answer_of_good_and_bad_requests() -> None:
    said = command("bench.serving.soak", "--requests", "2000", "--seconds", "60").stdout
    assert " of 200, " in said
    assert " of 400, " in said
    assert "The worker's memory: " in said
