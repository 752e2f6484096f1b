"""Child runs by `leat`: run and linted from one file, and read from a database."""

import asyncio

import pytest
from tests.support.cli import leat
from tests.support.family import a_house, shelve

from leat_engine.store import Store

CALLEE = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: callee}
spec:
  inputs: {number: {type: integer}}
  steps:
    - {name: double, transform: "${ inputs.number * 2 }"}
  output: ${ steps.double.output }
---
"""
CALLER = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: caller}
spec:
  steps:
    - name: call
      workflow: {name: NAME, inputs: {INPUTS}}
  output: ${ steps.call.output }
"""
BROKEN = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: broken}
spec:
  steps: [{name: x}]
---
"""


def written(folder, *documents, name="callee", inputs="number: 21"):
    path = folder / "flow.yaml"
    path.write_text("".join(documents).replace("NAME", name).replace("INPUTS", inputs))
    return str(path)


def test_a_workflow_finds_another_one_of_its_file(tmp_path):
    done = leat("run", written(tmp_path, CALLEE, CALLER), "-o", "json")
    assert (done.code, done.json["output"]) == (0, 42), done.err


@pytest.mark.parametrize(
    ("name", "type_", "said"),
    [
        ("nobody", "WorkflowNotFound", "there is no Workflow nobody in namespace default"),
        ("broken", "Invalid", "Workflow broken is invalid"),
    ],
)
def test_what_is_not_in_the_file_or_wrong_there_is_said_at_once(name, type_, said, tmp_path):
    done = leat("run", written(tmp_path, BROKEN, CALLER, name=name), "-o", "json")
    assert (done.code, done.json["error"]["type"]) == (1, type_)
    assert said in done.json["error"]["message"]


def test_lint_checks_the_inputs_of_calls_to_workflows_of_the_file(tmp_path):
    done = leat("lint", written(tmp_path, CALLER, "---", CALLEE, inputs="nombre: 1"), "-o", "json")
    assert done.code == 2
    assert {(found["line"], found["path"]) for found in done.json} == {
        (8, "spec.steps[0].workflow.inputs.nombre"),
        (8, "spec.steps[0].workflow.inputs.number"),
    }
    alone = leat("lint", written(tmp_path, CALLER))
    assert alone.code == 0
    assert "no sound Workflow 'callee' is in this file, so the inputs were not checked" in alone.err


def test_a_database_shows_children_and_their_parents(database):
    async def prepare():
        store = await Store.connect(database)
        await shelve(store, "slow", {"steps": [{"name": "nap", "wait": {"duration": "1h"}}]})
        async with a_house(store) as house:
            run = await house.begin({"steps": [{"name": "call", "workflow": {"name": "slow"}}]})
            child = await house.child(run)
        await store.close()
        return run.name, child.name

    run, child = asyncio.run(prepare())
    of = ("--database", database, "-n", "test")
    (step,) = leat("tree", run, *of, "-o", "json").json["steps"]
    assert [(each["name"], each["phase"]) for each in step["children"]] == [(child, "Running")]
    assert f"» {child} ● Running" in " ".join(leat("describe", run, *of).out.split())
    assert f"Parent:     {run}\n" in leat("describe", child, *of).out
    found = {each["name"]: each["parent"] for each in leat("runs", *of, "-o", "json").json}
    assert found == {run: None, child: run}
