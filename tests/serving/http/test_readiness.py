"""The server says that it is ready when it is, and only then: when its engine breaks, heals, and while it stops."""

import asyncio

import pytest
from bodies import DEFAULT
from breakable import BreakableEngine, Exchange, breakable
from prometheus_client.parser import text_string_to_metric_families

from serving.http.server import Server


@pytest.mark.parametrize("room", [{}, {"max_queue": 7, "max_images": 7}], ids=["usual", "small"])
def test_a_server_whose_engine_breaks_is_not_ready_until_the_golden_images_come_out_right(
    monkeypatch: pytest.MonkeyPatch, room: dict[str, int]
) -> None:
    monkeypatch.setattr("serving.batching.health._INTERVAL", 0)

    async def main() -> None:
        async with breakable(monkeypatch, **room) as (server, engine):
            engine.broken = True
            for _ in range(3):
                assert server.ready
                status, content = await Exchange(server, mark=1).answer()
                assert (status, content["error"]["code"]) == (500, "engine_failed")
            assert not server.ready
            (model,) = [model for model in server.models()["models"] if model["name"] == DEFAULT]
            assert model["ready"] is False
            status, content = await Exchange(server, mark=1).answer()
            assert (status, content["error"]["code"]) == (503, "not_ready")
            await engine.reach(5)  # self-tests fail
            assert not server.ready
            engine.broken = False
            async with asyncio.timeout(20):
                while not server.ready:
                    await asyncio.sleep(0)
            assert (await Exchange(server, mark=1).answer())[0] == 200

    asyncio.run(main())


def test_an_engine_that_computes_something_else_afterwards_stays_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.batching.health._INTERVAL", 0)

    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.broken = True
            for _ in range(3):
                await Exchange(server, mark=1).answer()
            engine.broken, engine.wrong = False, True
            await engine.reach(engine.calls + 2)
            assert not server.ready
            assert (await Exchange(server, mark=1).answer())[0] == 503

    asyncio.run(main())


def test_a_server_that_stops_is_not_ready_and_answers_what_it_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            accepted = [Exchange(server, mark=1)]
            await engine.reach(1)
            accepted.append(Exchange(server, mark=2))
            await engine.wait_for_queue(1)
            stopping = asyncio.ensure_future(server.stop())
            while server.ready:
                await asyncio.sleep(0)
            assert (await Exchange(server, mark=3).answer())[0] == 503
            assert not stopping.done()
            engine.go.set()
            await stopping
            assert [(await exchange.answer())[0] for exchange in accepted] == [200, 200]
            assert engine.computed == [1, 2]

    asyncio.run(main())


def test_an_engine_that_hangs_makes_the_server_unready_until_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.serving._HUNG", 0)
    monkeypatch.setattr("serving.http.server._LOOK", 0.01)
    monkeypatch.setattr("serving.batching.health._INTERVAL", 0)

    async def main() -> None:
        async with breakable(monkeypatch, timeout=1) as (server, engine):
            engine.go.clear()
            status, content = await Exchange(server, mark=1).answer()
            assert (status, content["error"]["code"]) == (504, "deadline_passed")
            await until(server, ready=False)
            status, content = await Exchange(server, mark=2).answer()
            assert (status, content["error"]["code"]) == (503, "not_ready")
            assert metric(server, "cifar_model_ready") == 0
            engine.go.set()
            await until(server, ready=True)
            assert (await Exchange(server, mark=3).answer())[0] == 200
            assert 2 not in engine.computed

    asyncio.run(main())


def test_one_lane_of_two_that_hangs_makes_the_server_unready_however_the_other_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.http.serving._HUNG", 0)
    monkeypatch.setattr("serving.http.server._LOOK", 0.01)
    monkeypatch.setattr("serving.batching.health._INTERVAL", 0)
    monkeypatch.setattr(BreakableEngine, "lanes", 2)

    async def main() -> None:
        async with breakable(monkeypatch, timeout=1) as (server, engine):
            engine.go.clear()
            engine.held = {1}
            assert (await Exchange(server, mark=1).answer())[0] == 504
            await until(server, ready=False)
            tests = engine.calls
            while engine.calls < tests + 3:  # that the other lane passes
                assert not server.ready
                await asyncio.sleep(0)
            engine.go.set()
            await until(server, ready=True)

    asyncio.run(main())


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_server_whose_engine_hangs_stops_all_the_same(monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    monkeypatch.setattr(BreakableEngine, "lanes", lanes)

    async def main() -> None:
        async with breakable(monkeypatch, timeout=0.2) as (server, engine):
            engine.go.clear()
            for mark in range(lanes):
                assert (await Exchange(server, mark).answer())[0] == 504
            await asyncio.wait_for(server.stop(), 10)
            assert not engine.go.is_set()

    asyncio.run(main())


def test_images_that_wait_for_an_engine_that_hangs_are_in_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.server._LOOK", 0.01)

    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            exchanges = [Exchange(server, mark=1)]
            await engine.reach(1)
            exchanges.append(Exchange(server, mark=2, count=5))
            async with asyncio.timeout(20):
                while metric(server, "cifar_queue_images") != 5:
                    await asyncio.sleep(0)
            engine.go.set()
            assert [(await exchange.answer())[0] for exchange in exchanges] == [200, 200]

    asyncio.run(main())


async def until(server: Server, *, ready: bool) -> None:
    async with asyncio.timeout(20):
        while server.ready is not ready:
            await asyncio.sleep(0)


def metric(server: Server, name: str) -> float:
    """Of the default bundle."""
    for family in text_string_to_metric_families(server.metrics.render().decode()):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, {"model": DEFAULT}):
                return sample.value
    raise AssertionError(f"the metric {name} is missing")
