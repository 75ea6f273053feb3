"""The hub that `gateway_bench` measures, in a process of its own: takes a command a line, answers with JSON a line."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from hub import Hub, Kind
from hub.kinds import REDIS

SINK = Kind(
    "sink", [sys.executable, "-I", "-S", "-E", str(Path(__file__).with_name("gateway_sink.py")), "{port}"], gateway=True
)


def asks(hub: Hub, seconds: float) -> list[float]:
    """How long the hub takes to describe a module, in ms: median, 99th percentile and longest."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        hub.module("sink")
        taken.append((time.perf_counter() - started) * 1000)
        time.sleep(0.001)
    taken.sort()
    return [statistics.median(taken), taken[len(taken) * 99 // 100], taken[-1]]


def main() -> None:
    root = Path(sys.argv[1])
    kinds = [dataclasses.replace(REDIS, gateway=True), SINK]
    with Hub(root / "data", f"file://{root}/backend", kinds=kinds) as hub:
        for line in sys.stdin:
            word, *arguments = line.split()
            answer: Any = None
            match word:
                case "asks":
                    answer = asks(hub, float(arguments[0]))
                case "provision":
                    info = hub.provision(arguments[0], kind=arguments[0])
                    answer = [info.port, info.gateway_port, str(info.data_dir)]
                case "hibernate":
                    hub.hibernate(arguments[0])
                case _:
                    raise ValueError(line)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
