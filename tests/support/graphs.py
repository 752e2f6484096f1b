"""Workflows drawn from a seed, and how a run of one must end, whatever dies meanwhile.

The model that tells the end is a page of its own and shares nothing with the decider.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]

ADD: Spec = {"name": "add", "with": {"values": []}}
LATE = "late"
IN_LATE = frozenset({"nap", "naps", "pause"})
"""A step whose body takes longer than it may, and what is inside of it."""
INNER = "_inner"
"""Behind the name of a step: the step of its body."""


@dataclass(frozen=True)
class Graph:
    """A workflow and the one end it can have.

    Attributes:
        phase: Of the run.
        outputs: Of the steps that succeed, by name; of the others in a run that succeeds, None.
        effects: Names of the steps that leave effects.
        undoes: What is compensated when it fails, by a function too; `finally` calls one as well.
    """

    spec: Spec
    phase: str
    outputs: Mapping[str, int | None]
    effects: frozenset[str]
    undoes: bool = False


def a_graph(seed: int, *, slowest: float = 0.05) -> Graph:
    """Fans, joins, conditions, retries, waits, bodies, handled failures and, in one of eight, an unhandled one.

    In one of three there is a body whose time passes. In one of three, everything is compensated if the run fails, and
    something is done at its end.
    """
    draw = random.Random(seed)
    steps: list[Spec] = []
    names = [f"s{number}" for number in range(draw.randint(4, 9))]
    for number, name in enumerate(names):
        needs = sorted(draw.sample(names[:number], min(number, draw.choice((1, 1, 2, 3)))))
        steps.append({"name": name, "needs": list(needs), **_around(draw, name, _body(draw, needs, slowest))})
    if seed % 3 == 0:
        steps += _late(seed, names)
    broken = draw.choice(names)
    fate = draw.randrange(8)
    if fate <= 1:
        steps.append({"name": "broken", "needs": [broken], "fail": {"message": "broken on purpose"}})
    if fate == 1:
        steps.append({"name": "mend", "needs": [{"step": "broken", "on": ["Failed"]}], "transform": 100})
    states, outputs = _ends(steps)
    failed = [step["name"] for step in steps if states[step["name"]] == "Failed" and step["name"] != LATE]
    handled = states.get("mend") == "Succeeded"
    spec: Spec = {}
    undoes = fate == 0 or draw.randrange(3) == 0
    if undoes:
        spec["finally"] = [{"name": "last", "function": ADD}]
        for step in steps:
            step["compensate"] = {"function": ADD}
    return Graph(
        spec={
            **spec,
            "steps": steps,
            "output": {step["name"]: f"${{ steps.{step['name']}.output }}" for step in steps},
        },
        phase="Failed" if failed and not handled else "Succeeded",
        outputs=outputs,
        effects=frozenset(s["name"] for s in steps if _calls(s) and states[s["name"]] == "Succeeded"),
        undoes=undoes,
    )


def _late(seed: int, names: list[str]) -> list[Spec]:
    """A body that takes longer than it may, and what takes its failure."""
    draw = random.Random(-seed)
    nap: Spec = {"name": "nap", "wait": {"duration": "1h"}}
    pause: Spec = {"name": "pause", "repeat": {"max": 9, "delay": "1h"}, "transform": 1}
    each: Spec = {"name": "naps", "forEach": [1, 2, 3], "maxParallel": 2, "steps": [nap, pause]}
    body = draw.choice([{"steps": [nap, pause]}, {"steps": [each]}, {"repeat": {"max": 9}, "steps": [nap]}])
    return [
        {"name": LATE, "needs": [draw.choice(names)], "timeout": "150ms", **body},
        {"name": "caught", "needs": [{"step": LATE, "on": ["Failed"]}], "transform": 5},
    ]


def _body(draw: random.Random, needs: list[str], slowest: float) -> Spec:
    values = [f"${{ steps.{need}.output }}" for need in needs]
    match draw.randrange(10):
        case 0:
            return {"wait": {"duration": f"{draw.randint(10, 200)}ms"}}
        case 1:
            return {"when": "${ 1 > 2 }", "function": {"name": "add", "with": {"values": values}}}
        case 2:
            return {
                "function": {"name": "stumble", "with": {"values": values}},
                "retry": {"max": 3, "backoff": {"initial": "20ms", "max": "100ms"}},
            }
        case 3:
            return {"transform": 7}
        case _:
            slow = round(draw.uniform(0, slowest), 3)
            return {"function": {"name": "add", "with": {"values": values, "seconds": slow}}}


def _around(draw: random.Random, name: str, step: Spec) -> Spec:
    """The step, or a body that does it and gives what it alone would have given."""
    if "when" in step or "fail" in step:
        return step
    inner = name + INNER
    match draw.randrange(8):
        case 0:  # a few items at a time
            each = {"name": inner, "forEach": [1, 2, 3, 4], "maxParallel": draw.randint(1, 4), **step}
            return {"steps": [each], "output": f"${{ steps.{inner}.output[{draw.randrange(4)}] }}"}
        case 1:
            return {"repeat": {"max": draw.randint(1, 3)}, **step}
        case 2:
            case = {"steps": [{"name": inner, **step}], "output": f"${{ steps.{inner}.output }}"}
            return {"switch": [{"when": False, **case}, {"default": True, **case}]}
        case _:
            return step


def _calls(step: Spec) -> bool:
    """Whether it calls a function, be it in a body."""
    if "function" in step:
        return "when" not in step
    inner = [*step.get("steps", ()), *(one for case in step.get("switch", ()) for one in case["steps"])]
    return any(map(_calls, inner))


def _plain(step: Spec) -> Spec:
    """The step that a body does."""
    if "steps" in step:
        return step["steps"][0]
    return step["switch"][0]["steps"][0] if "switch" in step else step


def _ends(steps: list[Spec]) -> tuple[dict[str, str], dict[str, int | None]]:
    states: dict[str, str] = {}
    outputs: dict[str, int | None] = {}
    for step in steps:  # each needs only earlier ones
        name, needs = step["name"], step["needs"]
        outputs[name] = None
        if not all(_taken(need, states) for need in needs):
            states[name] = "Omitted"
        elif "when" in step:
            states[name] = "Skipped"
        elif "fail" in step or name == LATE:
            states[name] = "Failed"
        else:
            states[name] = "Succeeded"
            if "function" in _plain(step):
                outputs[name] = 1 + sum(outputs[need] or 0 for need in needs)
            else:
                outputs[name] = _plain(step).get("transform")
    return states, outputs


def _taken(need: str | Spec, states: Mapping[str, str]) -> bool:
    if isinstance(need, str):
        return states[need] in {"Succeeded", "Skipped"}
    return states[need["step"]] in need["on"]
