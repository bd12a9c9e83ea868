"""What must be the same wherever plans of one study are measured, and how a process is refused where it is not.

Weights, pictures, device, space, seed and versions are compared by what they are, and every difference is named. What no version
tells, a processor that adds up floating-point numbers in another order, is told by one plan that every process measures first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hwmodels.errors import MismatchError
from hwmodels.parts import plugins
from hwsearch.documents import earlier
from hwsearch.documents.files import jsonable
from hwsearch.problem.pictures import Pictures
from hwsearch.problem.pose import Problem
from hwsearch.problem.request import Request
from hwsearch.quality.evaluate import Score
from hwsearch.runs import directory
from searchspaces.space import PlanRow, SearchSpace


def of(request: Request, problem: Problem, photos: Pictures) -> dict[str, Any]:
    """What must be the same wherever plans of a study are measured."""
    found: dict[str, Any] = jsonable(
        {
            **directory.provenance_of(problem, photos),
            "space": _space(problem.space),
            "seed": request.seed,
            "methods": request.methods,
            "plugins": plugins.record(),
        }
    )
    return found


def _space(space: SearchSpace) -> dict[str, Any]:
    return {
        "weight_bits": space.weight_widths,
        "activation_bits": space.tensor_widths,
        "decisions": space.names,
        "allowed": ["".join("01"[int(choice)] for choice in row) for row in space.allowed],
        "formats": [*space.formats[0], *space.formats[1]],
        "symmetric_activations": space.symmetric_activations,
    }


def refuse(study: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Compare what is measured in a study with what would be measured here, as far as ``here`` says.

    Raises:
        MismatchError: they differ; every difference is listed.
    """
    lines = []
    for key, value in here.items():
        other = there.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            names = sorted({*value, *other})
            lines += [
                f"  - {name}: {other.get(name)} in the study, {value.get(name)} here"
                for name in names
                if value.get(name) != other.get(name)
            ]
        elif value != other:
            lines.append(f"  - {key}: {other} in the study, {value} here")
    if lines:
        differences = "\n".join(lines)
        raise MismatchError(
            f"the study {study} measures something else:\n{differences}",
            "Use the same network, weights, pictures and versions everywhere (one container image for all), or another --study.",
        )


def check(study: str, known: Mapping[str, Any], space: SearchSpace, measure: Callable[[PlanRow], Score]) -> None:
    """Measure the plan that the coordinator measured.

    Raises:
        MismatchError: it loses more or less here.
    """
    known, score = earlier.with_quality(known), measure(space.row(known["plan"]))
    if not score.agrees(known["loss_db"]):
        raise MismatchError(
            f"the study {study} has a plan that loses {known['loss_db']:.4f} dB there, and {score.loss_db:.4f} dB here",
            "The same versions compute differently on this machine; use machines of one kind for one study.",
        )
