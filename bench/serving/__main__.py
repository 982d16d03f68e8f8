"""python -m bench.serving [--seconds 6] [--rounds 2] [--json FILE]: our server, its peers and its engine in one run."""

import argparse
import resource
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from bench.output import output, write_figures
from bench.serving.machine import describe_machine
from bench.serving.overload import measure_open
from bench.serving.report import Report
from bench.serving.rounds import PARTS, Plan
from bench.serving.server import SERVERS
from bench.serving.sweep import measure_sweep
from bench.serving.table import markdown
from bench.serving.workload import raw_batches, single_pictures
from bench.serving.wrk import find_wrk
from cifar_models.command import Parser, amount, count, run_command
from cifar_models.errors import InputError


def main() -> None:
    options = parse_options()
    find_wrk()
    if {"startup", "closed", "sweep"} & {*options.only}:
        check_peers(options.servers)
    prepare_process()
    machine = describe_machine()
    plan = Plan(single_pictures(), raw_batches(), options.only, options.servers, options.seconds)
    in_rounds = set(options.only) - {"open", "sweep"}
    rounds = [plan.run(number) for number in range(options.rounds)] if in_rounds else []
    opened = None
    if "open" in options.only:
        opened = measure_open(plan.pictures, seconds=options.seconds, overload_seconds=options.overload)
    swept = None
    if "sweep" in options.only:
        swept = measure_sweep(plan.pictures, options.servers, seconds=options.seconds)
    command = {name: value for name, value in vars(options).items() if name != "json"}
    report = Report(machine, command, rounds, opened, swept)
    print(markdown(report))
    if options.json:
        write_figures(report, options.json)


def check_peers(servers: Sequence[str]) -> None:
    """Raises InputError when a peer is not installed, before anything is measured."""
    missing = [name for name in ("fastapi", "litserve") if name in servers and find_spec(name) is None]
    if missing:
        raise InputError(f"{missing[0]} is not installed; pip install -r requirements/bench.txt, or leave it out.")


def parse_options() -> argparse.Namespace:
    parser = Parser(prog="python -m bench.serving", description="Our server, its peers, its engine.")
    parser.add_argument("--seconds", type=amount, default=6, help="of each point (default: 6)")
    parser.add_argument("--rounds", type=count, default=2, help="default: 2")
    parser.add_argument(
        "--overload", type=amount, default=60, help="seconds at twice the saturation, in three turns (default: 60)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=tuple(SERVERS), help="default: all")
    parser.add_argument("--json", type=output, help="also write everything that was measured to this file")
    return parser.parse_args()


def prepare_process() -> None:
    """As many open files as the system lets us have, for the client and the servers, which a signal stops as well."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))  # resumes them first, as they may be paused
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    run_command(main)
