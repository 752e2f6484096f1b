"""From files and a command line to an order, or to every problem with its file, line and field."""

import io
import sys
from types import SimpleNamespace

import pytest

from leat_cli.lint import check_file
from leat_cli.order import Order, order_of
from leat_cli.problems import Invalid

WORKFLOW = """\
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: NAME}
spec:
  inputs:
    who: {type: string, default: world}
    count: {type: integer}
  steps:
    - name: greet
      transform: {text: "${ inputs.who }"}
"""
RUN = """\
apiVersion: leat.dev/v1alpha1
kind: WorkflowRun
metadata: {name: greeting-1, namespace: shop}
spec:
  workflow: {name: greeting}
  inputs: {count: 1, who: you}
"""
FOREIGN = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: other}
"""


@pytest.fixture
def write(tmp_path):
    def write(*documents: str) -> str:
        file = tmp_path / "flow.yaml"
        file.write_text("---\n".join(documents))
        return str(file)

    return write


def workflow(name: str = "greeting") -> str:
    return WORKFLOW.replace("NAME", name)


def order(file: str, *pairs: str, inputs_file: str | None = None) -> Order:
    return order_of(file, pairs, inputs_file)


def problems(file: str, *pairs: str, inputs_file: str | None = None) -> list[str]:
    with pytest.raises(Invalid) as refused:
        order(file, *pairs, inputs_file=inputs_file)
    return [str(problem).replace(file, "FILE") for problem in refused.value.problems]


def lint(file: str) -> list[str]:
    return [("note: " if found.note else "") + str(found).replace(file, "FILE") for found in check_file(file)]


def test_the_last_workflow_is_run_when_there_is_no_run(write):
    found = order(write(workflow("first"), workflow("second"), FOREIGN), "count=3")
    assert (found.name, found.workflow, found.namespace) == ("second", "second", "default")
    assert found.inputs == {"who": "world", "count": 3}


def test_a_run_names_its_workflow_wherever_that_stands(write):
    found = order(write(RUN, workflow(), workflow("other")))
    assert (found.name, found.workflow, found.namespace) == ("greeting-1", "greeting", "shop")
    assert found.inputs == {"who": "you", "count": 1}


def test_the_command_line_wins_over_the_inputs_file_and_that_over_the_run(write, tmp_path):
    (tmp_path / "inputs.yaml").write_text("count: 2\nwho: them")
    found = order(write(RUN, workflow()), "count=3", inputs_file=str(tmp_path / "inputs.yaml"))
    assert found.inputs == {"who": "them", "count": 3}


def test_a_run_may_bring_its_own_workflow(write):
    inline = RUN.replace(
        "workflow: {name: greeting}", "inline: {inputs: {count: {}, who: {}}, steps: [{name: a, wait: {duration: 1s}}]}"
    )
    found = order(write(inline))
    assert [step.name for step in found.plan.steps][1:] == ["a"]


def test_what_a_run_asks_for_is_in_the_order(write):
    assert not order(write(RUN, workflow())).cancel
    found = order(write(RUN + "  cancel: true\n  suspend: true\n  priority: 7\n", workflow()))
    assert (found.cancel, found.suspend, found.priority) == (True, True, 7)


def test_a_file_may_come_by_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(workflow().encode())))
    assert order("-", "count=1").name == "greeting"


def test_an_input_that_is_missing_says_how_to_give_it(write):
    (found,) = problems(write(workflow()))
    assert found == "spec.inputs.count: is required and missing: give it with -i count=VALUE, or in an --inputs-file"


def test_an_input_that_is_wrong_is_named_where_it_was_written(write, tmp_path):
    (tmp_path / "inputs.yaml").write_text("count: many")
    file, inputs_file = write(RUN.replace("count: 1", "count: some"), workflow()), str(tmp_path / "inputs.yaml")
    assert problems(file, "count=1.5")[0].startswith("-i count: ")
    assert problems(file, inputs_file=inputs_file)[0].startswith(f"{inputs_file}: count: ")
    assert problems(file)[0].startswith("FILE:6: spec.inputs.count: ")


def test_a_run_whose_workflow_is_not_in_the_file_is_refused(write):
    (found,) = problems(write(RUN, workflow("greting")))
    assert found.startswith("FILE:5: spec.workflow.name: found 'greeting', expected a Workflow of this file (greting)")


def test_a_run_begins_by_the_revision_of_its_workflow_here_too(write):
    file = write(workflow(), RUN.replace("inputs: {count: 1", "revision: 0123456789abcdef\n  inputs: {count: 1"))
    (problem,) = problems(file)
    assert "spec.revision: a run begins by the revision that is there, " in problem
    assert problem.endswith("found 0123456789abcdef: leave it out")


def test_a_run_that_goes_on_from_another_is_for_a_cluster(write):
    rerun = RUN.replace("inputs: {count: 1, who: you}", "rerun: {of: greeting-0}")
    file = write(workflow(), rerun)
    (problem,) = problems(file)
    assert problem.startswith("FILE:17: spec.rerun: goes on from a run, and there are none here")
    assert not [found for found in check_file(file) if not found.rule]


def test_two_runs_are_refused(write):
    assert "found 2 WorkflowRuns" in problems(write(RUN, RUN, workflow()))[0]


def test_a_file_without_anything_to_run_is_refused(write):
    assert "found no Workflow or WorkflowRun" in problems(write(FOREIGN))[0]


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path):
    assert "there is no such file" in problems(str(tmp_path / "none.yaml"))[0]


def test_broken_yaml_is_refused_with_its_line(write):
    (found,) = problems(write(workflow() + "    - name: x\n     y: [\n"))
    assert found.startswith(("FILE:11: ", "FILE:12: "))


def test_lint_names_every_mistake_of_every_document_with_its_line(write):
    broken = workflow("broken").replace("name: greet\n", "name: greet\n      needs: [nobody]\n") + "  colour: red\n"
    found = lint(write(broken, workflow().replace("inputs.who", "inputs.whom")))
    assert [line.split(": ")[:2] for line in found] == [
        ["FILE:12", "spec.colour"],
        ["FILE:23", "spec.steps[0].transform.text"],
    ]


def test_lint_checks_the_inputs_of_a_run_against_its_workflow(write):
    found, doubt = lint(write(RUN.replace("count: 1", "count: one"), workflow()))
    assert found.startswith("FILE:6: spec.inputs.count: ")
    assert doubt.endswith(
        "spec.inputs.count: is read by no expression; remove it, or mend the name that reads it [unused]"
    )


def test_lint_notes_what_it_did_not_check(write):
    found = lint(write(FOREIGN, RUN))
    assert found[0].startswith("note: FILE:1: apiVersion: found 'argoproj.io/v1alpha1' (Workflow), which is not Leat's")
    assert found[1].startswith("note: FILE:9: spec.workflow.name: no sound Workflow 'greeting' is in this file")


def test_lint_refuses_a_kind_of_leat_that_does_not_exist(write):
    (found,) = lint(write(workflow().replace("kind: Workflow", "kind: Worfklow")))
    assert found == "FILE:2: kind: found 'Worfklow', expected Workflow, WorkflowRun or RunQuota"


def test_lint_refuses_an_empty_file(write):
    assert lint(write("")) == ["FILE: is empty, expected a Workflow or a WorkflowRun"]


@pytest.mark.parametrize("kind", ["Workflow", "WorkflowRun"])
def test_lint_names_a_resource_that_has_no_name_and_is_to_get_none(write, kind):
    spec = "{steps: [{name: a, transform: 1}]}"
    spec = spec if kind == "Workflow" else f"{{inline: {spec}}}"
    text = f"apiVersion: leat.dev/v1alpha1\nkind: {kind}\nmetadata: {{NAME}}\nspec: {spec}\n"
    assert lint(write(text.replace("NAME", ""))) == ["FILE:3: metadata.name: is required and missing"]
    assert lint(write(text.replace("NAME", "name: a"))) == lint(write(text.replace("NAME", "generateName: a-"))) == []
