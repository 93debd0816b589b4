"""Problems that the solver's benchmarks work on: published ones, and ones that are generated with a seed.

Published instances are read where the environment variable REALLOT_DATA points; nothing of them is part of this repository.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reallot.solver.problems import Problem, Sense, problem_of
from reallot.solver.problems.formats import FlowNetwork, read_dimacs_min, read_orlib_assign, read_orlib_gap

NETGEN_2 = 6_749_969_302
ASSIGN_100 = 305
SENSES = {"min": Sense.MINIMISE, "max": Sense.MAXIMISE}


@dataclass(frozen=True)
class Instance:
    """A named problem and the best value that is known of it, None = none is."""

    name: str
    problem: Problem
    best: int | None = None


@dataclass(frozen=True)
class NetworkInstance:
    """A named network and the cost of its cheapest flow, None = not known."""

    name: str
    network: FlowNetwork
    best: int | None = None


def data_folder() -> Path | None:
    """Return the folder with published data; None if there is none on this machine."""
    folder = os.environ.get("REALLOT_DATA", "")
    return Path(folder) if folder and Path(folder).is_dir() else None


def published_gap(chosen: str) -> list[Instance]:
    """Return published instances of generalised assignment: `all`, `none`, or names with commas between.

    Raises:
        SystemExit: a name is not among them, or instances are named and there is no data.
    """
    folder = data_folder()
    if chosen == "none" or (chosen == "all" and folder is None):
        return []
    if folder is None:
        raise SystemExit("published instances need REALLOT_DATA to name the folder with the data")
    rows = list(csv.DictReader((folder / "gap" / "optimal_values.csv").read_text().splitlines()))
    wanted = {row["instance"] for row in rows} if chosen == "all" else set(chosen.split(","))
    if missing := wanted - {row["instance"] for row in rows}:
        raise SystemExit(f"there is no published instance {', '.join(sorted(missing))}")
    return [
        Instance(
            row["instance"],
            read_orlib_gap((folder / "gap" / row["instance"]).read_text(), SENSES[row["sense"]]).problem,
            int(row["best_value"]),
        )
        for row in rows
        if row["instance"] in wanted
    ]


def published_lap() -> Instance | None:
    """Return the published linear assignment; None without data."""
    if (folder := data_folder()) is None:
        return None
    return Instance("assign100", read_orlib_assign((folder / "lap" / "assign100.txt").read_text(), Sense.MINIMISE).problem, ASSIGN_100)


def published_flow() -> NetworkInstance | None:
    """Return the published network; None without data."""
    if (folder := data_folder()) is None:
        return None
    return NetworkInstance("netgen-2", read_dimacs_min((folder / "flow" / "netgen-2.min").read_text()), NETGEN_2)


def generated_gap(kind: str, agents: int, jobs: int, seed: int) -> Instance:
    """Return a generalised assignment of type d or e: `agents` sellers, `jobs` records, a cost and a load for each pair.

    Type d: loads uniform in 1 … 100, costs 111 less the load, give or take 10. Type e: loads 1 - 10 ln u, costs 1,000 / load - 10 v,
    with u and v uniform in (0, 1]. Capacity is 0.8 times all loads of a seller's pairs, divided among all sellers.
    """
    chance = np.random.default_rng([seed, "de".index(kind), agents, jobs])
    shape = (jobs, agents)
    if kind == "d":
        load = chance.integers(1, 101, shape)
        cost = 111 - load + chance.integers(-10, 11, shape)
    else:
        load = np.maximum(np.rint(1 - 10 * np.log(1 - chance.random(shape))).astype(np.int64), 1)
        cost = np.rint(1000 / load - 10 * chance.random(shape)).astype(np.int64)
    made = problem_of(
        records=jobs,
        sellers=agents,
        record=np.repeat(np.arange(jobs), agents),
        seller=np.tile(np.arange(agents), jobs),
        value=cost.ravel(),
        load=load.ravel(),
        maximum_load=load.sum(axis=0) * 8 // (10 * agents),
    )
    return Instance(f"{kind}{agents:02d}{jobs}-{seed}", made)


def generated_gaps(text: str, seed: int) -> list[Instance]:
    """Return generated instances from names such as `d:20x100,e:40x400`; nothing for an empty text."""
    made = []
    for name in filter(None, text.split(",")):
        kind, _, size = name.partition(":")
        agents, _, jobs = size.partition("x")
        if kind not in ("d", "e") or not agents.isdecimal() or not jobs.isdecimal():
            raise SystemExit(f"{name!r} is no instance such as d:20x100")
        made.append(generated_gap(kind, int(agents), int(jobs), seed))
    return made


def generated_lap(size: int, degree: int, largest: int, seed: int) -> Instance:
    """Return an assignment of `size` records to as many sellers who take one each.

    Every record has `degree` pairs with costs from 1 to `largest`, among them one that leaves a plan for all.
    """
    chance = np.random.default_rng([seed, size, degree])
    if degree >= size:
        record, seller = np.repeat(np.arange(size), size), np.tile(np.arange(size), size)
    else:
        # Different steps from a seller of its own give every record different sellers.
        own, steps = chance.permutation(size), chance.choice(np.arange(1, size), (size, 2 * degree))
        key = np.unique(np.arange(size)[:, None] * size + (own[:, None] + np.column_stack([np.zeros(size, np.int64), steps])) % size)
        place = np.arange(len(key)) - np.searchsorted(key // size, key // size)
        kept = (place < degree) | (key % size == own[key // size])
        record, seller = np.divmod(key[kept], size)
    costs = chance.integers(1, largest + 1, len(record))
    one = np.ones(size, dtype=np.int64)
    made = problem_of(records=size, sellers=size, record=record, seller=seller, value=costs, maximum_load=one)
    return Instance(f"{'dense' if degree >= size else 'sparse'}{size}-{len(record) // size}-{seed}", made)


def grid_network(side: int, seed: int) -> NetworkInstance:
    """Return a grid with arcs both ways between neighbours, from supplies at random places to demands at others."""
    chance = np.random.default_rng([seed, side])
    node = np.arange(side * side).reshape(side, side)
    pairs = [(node[:, :-1], node[:, 1:]), (node[:-1], node[1:])]
    tail = np.concatenate([np.concatenate([a.ravel(), b.ravel()]) for a, b in pairs])
    head = np.concatenate([np.concatenate([b.ravel(), a.ravel()]) for a, b in pairs])
    supply = chance.integers(-50, 51, side * side)
    supply[-1] -= supply.sum()
    # Arcs around the whole grid are dear and wide, so that there is always a flow.
    around = np.arange(side * side)
    tail, head = np.concatenate([tail, around, np.roll(around, -1)]), np.concatenate([head, np.roll(around, -1), around])
    inner = len(tail) - 2 * side * side
    cost = np.concatenate([chance.integers(1, 1_001, inner), np.full(2 * side * side, 20_000)])
    upper = np.concatenate([chance.integers(1, 200, inner), np.full(2 * side * side, 100 * side * side)])
    return NetworkInstance(f"grid{side}-{seed}", FlowNetwork(supply, tail, head, np.zeros_like(upper), upper, cost))


def transport_network(sources: int, sinks: int, degree: int, seed: int) -> NetworkInstance:
    """Return supplies that are sent over some pairs to demands, with lower bounds on some arcs, and dear ways for the rest."""
    chance = np.random.default_rng([seed, sources, sinks])
    supply = chance.integers(10, 1_000, sources)
    demand = np.bincount(chance.integers(0, sinks, int(supply.sum())), minlength=sinks)
    hub = sources + sinks
    tail = np.concatenate([np.repeat(np.arange(sources), degree), np.arange(sources), np.full(sinks, hub)])
    head = np.concatenate([sources + chance.integers(0, sinks, sources * degree), np.full(sources, hub), sources + np.arange(sinks)])
    direct = sources * degree
    upper = np.concatenate([chance.integers(5, 300, direct), np.full(sources + sinks, int(supply.sum()))])
    cost = np.concatenate([chance.integers(1, 10_001, direct), np.full(sources + sinks, 100_000)])
    return NetworkInstance(
        f"transport{sources}x{sinks}-{seed}",
        FlowNetwork(np.concatenate([supply, -demand, [0]]), tail, head, np.zeros_like(upper), upper, cost),
    )


def layered_network(layers: int, width: int, seed: int) -> NetworkInstance:
    """Return a long network of layers through which everything has to pass, in which some arcs must carry something."""
    chance = np.random.default_rng([seed, layers, width])
    node = np.arange(layers * width).reshape(layers, width)
    tail = np.concatenate([np.repeat(node[:-1].ravel(), 3), node[:-1].ravel()])
    head = np.concatenate([chance.integers(0, width, 3 * (layers - 1) * width), np.tile(np.arange(width), layers - 1)])
    head += (tail // width + 1) * width
    supply = np.zeros(layers * width, dtype=np.int64)
    supply[:width], supply[-width:] = 20, -20
    lower = np.zeros(len(tail), dtype=np.int64)
    # Straight arcs have room for everything that comes in, and every tenth must be used.
    straight = np.arange(3 * (layers - 1) * width, len(tail))
    lower[straight[::10]] = 1
    upper = np.concatenate([chance.integers(1, 15, len(tail) - len(straight)), np.full(len(straight), 20)])
    cost = np.concatenate([chance.integers(-20, 1_001, len(tail) - len(straight)), chance.integers(500, 2_001, len(straight))])
    return NetworkInstance(f"layers{layers}x{width}-{seed}", FlowNetwork(supply, tail, head, lower, upper, cost))
