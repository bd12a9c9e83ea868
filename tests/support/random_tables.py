"""Random cost tables and damage for tests of the search: made up, with the fields of a ``CostTable`` that the search reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hwmodels.numbers import INT16, formats_of
from hwmodels.pricing.arena import Arena, When
from hwmodels.pricing.arena_build import Builder
from hwmodels.pricing.placement import NONE
from searchspaces.space import SearchSpace


@dataclass(eq=False)
class Table:
    """Costs of a made-up network; see ``hwmodels.cost.CostTable``."""

    latency_s: np.ndarray
    energy_j: np.ndarray
    weight_bytes: np.ndarray
    constant_bytes: np.ndarray
    weight_column: np.ndarray
    input_column: np.ndarray
    output_column: np.ndarray
    live: np.ndarray
    element_bytes: np.ndarray
    inference_s: float = 1e-5
    static_w: float = 2.0
    runtime_bytes: int = 700
    arenas: tuple[Arena, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)

    def stored_bytes(self, layer: int) -> np.ndarray:
        return self.weight_bytes[layer][:, :, None] + self.constant_bytes[layer]


def space_of(layers: int, groups: int, weight_bits: tuple[int, ...], activation_bits: tuple[int, ...]) -> SearchSpace:
    choices = max(len(weight_bits), len(activation_bits))
    allowed = np.zeros((layers + groups, choices), dtype=bool)
    allowed[:layers, : len(weight_bits)] = True
    allowed[layers:, : len(activation_bits)] = True
    names = tuple(f"layer{i}" for i in range(layers)), tuple(f"tensor{i}" for i in range(groups))
    return SearchSpace(formats_of(weight_bits, INT16), formats_of(activation_bits, INT16), *names, allowed)


def network(
    edges: list[tuple[int, int, bool]],
    groups: int,
    seed: int,
    weight_bits: tuple[int, ...] = (2, 4, 6, 8),
    activation_bits: tuple[int, ...] = (4, 8, 16),
    noise_scale: float = 1.0,
) -> tuple[Table, np.ndarray, SearchSpace]:
    """Random costs and damage for layers ``(input group, output group, has weights)``.

    Latency is the larger of compute and traffic plus a price for a change of width, so it is no sum over decisions.
    """
    rng = np.random.default_rng(seed)
    weighted = [i for i, edge in enumerate(edges) if edge[2]]
    column = np.full(len(edges), -1)
    column[weighted] = np.arange(len(weighted))
    wide, narrow = np.array(activation_bits), np.array(weight_bits)
    latency = np.zeros((len(edges), len(narrow), len(wide), len(wide)))
    size = np.zeros((len(edges), len(narrow), len(wide)), dtype=np.int64)
    constants = np.zeros((len(edges), len(wide), len(wide)))
    for i in range(len(edges)):
        macs, elements, count = rng.lognormal(0, 1, 3)
        compute = macs * np.maximum(narrow[:, None, None] / 8, wide[None, :, None] / 8)
        traffic = elements * (wide[None, :, None] + wide[None, None, :]) / 16
        change = 0.1 * (wide[None, :, None] != wide[None, None, :])
        latency[i] = (np.maximum(compute, traffic) + change) * (1 + 0.05 * rng.random(latency[i].shape)) * 1e-4
        if column[i] >= 0:
            size[i] = np.ceil(1000 * count * narrow / 8).astype(np.int64)[:, None]
        else:
            constants[i] = np.ceil(100 * count * np.maximum.outer(wide, wide) / 8)
    energy = latency * rng.random(len(edges))[:, None, None, None]
    live = rng.integers(0, 3, (len(edges), groups)) * rng.integers(100, 10_000, groups)
    table = Table(
        latency, energy, size, constants, column, np.array([e[0] for e in edges]), np.array([e[1] for e in edges]), live, wide / 8
    )
    space = space_of(len(weighted), groups, weight_bits, activation_bits)
    noise = np.zeros(space.allowed.shape)
    for d in range(space.decisions):
        widths = np.array(space.widths(d))
        noise[d, : len(widths)] = noise_scale * rng.lognormal(0, 1.5) * 4.0 ** (4.0 - widths) * rng.uniform(0.5, 2, len(widths))
    return table, noise, space


def with_arena(table: Table, rng: np.random.Generator) -> Table:
    """The table under a planner: a few buffers for each group, and one for a layer's weights unless it takes the widest ones.
    Live ranges of the buffers of the groups are the lower bound."""
    groups, weighted, steps = table.live.shape[1], int((table.weight_column >= 0).sum()), 8
    widths, weights = len(table.element_bytes), table.weight_bytes.shape[1]
    build, live = Builder(max(widths, weights)), np.zeros((steps, groups), dtype=np.int64)
    size = np.pad(table.element_bytes, (0, build.choices - widths), mode="edge")
    for step in range(steps):
        build.step(step)
    for group in np.repeat(np.arange(groups), 3):
        elements, (first, last) = int(rng.integers(500, 5000)), np.sort(rng.integers(0, steps, 2))
        live[first : last + 1, group] += elements
        buffer = build.buffer(f"map{group}", When(weighted + int(group), NONE, np.tile(elements * size[:, None], build.choices)))
        for time in (first, last):
            build.use([buffer], time=int(time))
    for column in range(weighted):
        narrow = np.arange(build.choices)[:, None] < weights - 1
        buffer = build.buffer("weights", When(column, NONE, np.tile(3000.0 * narrow, build.choices)))
        build.use([buffer], time=int(rng.integers(0, steps)))
    arena = build.build(alignment=4, fixed_bytes=700)
    return replace(table, live=live, runtime_bytes=arena.least_tables_bytes, arenas=(arena,))


def chain(layers: int, seed: int, **options: object) -> tuple[Table, np.ndarray, SearchSpace]:
    """Convolutions one after another."""
    return network([(i, i + 1, True) for i in range(layers)], layers + 1, seed, **options)  # type: ignore[arg-type]


def edsr(blocks: int, seed: int, **options: object) -> tuple[Table, np.ndarray, SearchSpace]:
    """EDSR with x4 upsampling: every residual addition ties its operands and result to one width group. 2 blocks + 5
    convolutions."""
    edges = [(0, 1, True)]
    for block in range(blocks):
        edges += [(1, 2 + block, True), (2 + block, 1, True), (1, 1, False)]
    up = 2 + blocks
    edges += [
        (1, 1, True),
        (1, 1, False),
        (1, up, True),
        (up, up, False),
        (up, up + 1, True),
        (up + 1, up + 1, False),
        (up + 1, up + 2, True),
    ]
    return network(edges, blocks + 5, seed, **options)  # type: ignore[arg-type]
