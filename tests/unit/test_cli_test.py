"""`leat test`: files, what it says, and how it ends."""

import json
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest
import yaml
from tests.support.cli import invoked

WORKFLOW = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: pay}
spec:
  inputs:
    amount: {type: integer}
    card: {type: string, sensitive: true, default: "4000-1234"}
  steps:
    - name: charge
      http: {method: POST, url: "https://pay.example", body: {amount: "${ inputs.amount }", card: "${ inputs.card }"}}
    - name: review
      when: ${ inputs.amount > 100 }
      transform: {reviewed: "${ steps.charge.output.id }"}
    - name: apologise
      needs: [{step: charge, on: [Failed]}]
      transform: {sorry: "${ inputs.card }"}
  output: {id: "${ steps.charge.output == null ? '' : steps.charge.output.id }"}
"""


@pytest.fixture
def tested(tmp_path, monkeypatch):
    """Runs `leat test` on a file with these cases."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.yaml").write_text(WORKFLOW)

    def test(cases, *arguments):
        (tmp_path / "pay.test.yaml").write_text(f"workflow: pay.yaml\n{cases}")
        return invoked("test", *arguments)

    return test


PASSING = """
cases:
  - name: it is paid
    inputs: {amount: 5}
    steps: {charge: {output: {id: r-1}}}
    expect: {output: {id: r-1}, path: [charge], fields: {charge: {body: {amount: 5}}}}
"""
FAILING = """
cases:
  - name: it is paid
    inputs: {amount: 5}
    steps: {charge: {output: {id: r-1, card: "${ inputs.card }"}}}
    expect:
      output: {id: r-2, more: 1}
      path: [charge, review]
      ran: [review]
      attempts: {charge: 2}
      outputs: {charge: {id: r-1}}
      fields: {charge: {method: GET}}
      duration: 1s
"""


def test_what_is_as_expected_passes(tested):
    done = tested(PASSING)
    assert (done.code, done.err) == (0, "1 passed\n")
    assert done.out.splitlines() == [
        "pay.test.yaml: workflow pay",
        "  ok    it is paid  Succeeded, 1 step, 0s",
        "pay: 2 of 6 branches, 33 %",
        "  pay.yaml:12: spec.steps[1]: review never runs",
        "  pay.yaml:13: spec.steps[1].when: review is never true",
        "  pay.yaml:15: spec.steps[2]: apologise never runs",
        "  pay.yaml:16: spec.steps[2].needs: apologise never takes a failure of charge",
    ]


def test_every_difference_is_told_and_nothing_sensitive(tested):
    done = tested(FAILING)
    assert (done.code, done.err) == (1, "0 passed, 1 failed\n")
    told = [line.strip() for line in done.out.splitlines()[2:18]]
    assert told == [
        'output.id: expected "r-2"', 'found "r-1"',
        "output.more: expected 1", "found nothing",
        "path: expected charge > review", "found charge",
        "ran: expected review", "found review is Skipped",
        "attempts.charge: expected 2", "found 1",
        "outputs.charge.card: expected nothing", 'found "[redacted]"',
        'fields.charge.method: expected "GET"', 'found "POST"',
        "duration: expected 1s", "found 0s",
    ]  # fmt: skip
    assert "4000" not in done.out + done.err


def test_a_run_that_fails_where_it_should_not_says_why(tested):
    done = tested(PASSING.replace("{output: {id: r-1}}", "{output: {other: 1}}"))
    assert done.code == 1
    assert "phase: expected Succeeded\n" in done.out
    assert "found Failed: output: spec.output.id: ${ steps.charge.output == null" in done.out


def test_a_step_that_would_be_executed_is_an_error_of_the_case(tested):
    done = tested(PASSING.replace("steps: {charge: {output: {id: r-1}}}", "steps: {}"))
    assert (done.code, done.err) == (1, "0 passed, 1 with errors\n")
    assert "step charge of kind http was to be executed, and has effects" in done.out


def test_too_little_coverage_fails(tested):
    assert tested(PASSING, "--coverage-min", "33").code == 0
    done = tested(PASSING, "--coverage-min", "50")
    assert (done.code, done.err) == (1, "1 passed\npay: 33.3 % of its branches, expected 50\n")


def test_programs_read_json_and_junit(tested):
    found = json.loads(tested(FAILING, "-o", "json").out)
    assert found["cases"][0]["differences"][0] == {"path": "output.id", "expected": '"r-2"', "found": '"r-1"'}
    assert found["coverage"][0]["percent"] == 33.3
    suite = ET.fromstring(tested(FAILING, "-o", "junit").out)[0]  # noqa: S314  our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    assert suite[0].get("name") == "it is paid"
    assert 'output.id: expected "r-2", found "r-1"' in suite[0][0].text


def test_every_mistake_of_a_file_is_told_with_its_line(tested):
    cases = """
cases:
  - name: wrong
    inputs: {amount: many, amont: 1}
    steps:
      chrage: {output: 1}
      review: {output: 1}
      charge: {output: "${ inputs.amount + }"}
    allow: [scirpt]
    expect: {ran: [revew], attempts: {chrge: 1, "review[0]": 1}}
"""
    done = tested(cases)
    assert (done.code, done.out) == (2, "")
    assert [line.split(": ", 3)[:2] for line in done.err.splitlines() if line[0] != " "] == [
        ["pay.test.yaml:5", "cases[0].inputs.amont"],
        ["pay.test.yaml:5", "cases[0].inputs.amount"],
        ["pay.test.yaml:7", "cases[0].steps.chrage"],
        ["pay.test.yaml:8", "cases[0].steps.review"],
        ["pay.test.yaml:9", "cases[0].steps.charge.output"],
        ["pay.test.yaml:10", "cases[0].allow[0]"],
        ["pay.test.yaml:11", "cases[0].expect.attempts.chrge"],
        ["pay.test.yaml:11", "cases[0].expect.attempts.review[0]"],
        ["pay.test.yaml:11", "cases[0].expect.ran[0]"],
    ]
    assert "there is no step 'chrage'; did you mean 'charge'?" in done.err


def test_fields_that_a_test_file_does_not_have_are_told(tested):
    done = tested("cases:\n  - name: x\n    step: {}\n    expect: {fase: Failed}\n")
    assert done.code == 2
    assert "cases[0].step: there is no field 'step'; did you mean 'steps'?" in done.err
    assert "cases[0].expect.fase: there is no field 'fase'; did you mean 'phase'?" in done.err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{}", "expected exactly one of `output` and `error`"),
        ("{output: 1, error: {type: X}}", "expected exactly one of `output` and `error`"),
        ("{output: 1, takes: soon}", "found 'soon', expected a duration"),
        ("[]", "at least 1 item"),
    ],
)
def test_answers_that_are_none_are_told(tested, answer, message):
    done = tested(PASSING.replace("{output: {id: r-1}}", answer))
    assert done.code == 2
    assert message in done.err


def test_a_workflow_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.test.yaml").write_text("workflow: y.yaml\ncases: [{name: a, expect: {}}]\n")
    done = invoked("test", "x.test.yaml")
    assert (done.code, done.err) == (2, "x.test.yaml:1: workflow: there is no file y.yaml\n")
    (tmp_path / "x.test.yaml").unlink()
    done = invoked("test")
    assert (done.code, done.err) == (2, ".: found no test file *.test.yaml in this folder or below\n")


def test_functions_that_cannot_be_loaded_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {"steps": [{"name": "f", "function": {"name": "f"}}]}
    workflow = {"apiVersion": "leat.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "f"}, "spec": spec}
    case = {"name": "x", "allow": ["function"], "functions": ["nope.py"], "expect": {}}
    (tmp_path / "f.yaml").write_text(json.dumps(workflow))
    (tmp_path / "f.test.yaml").write_text(json.dumps({"workflow": "f.yaml", "cases": [case]}))
    done = invoked("test")
    assert done.code == 2
    assert "nope.py cannot be imported" in done.err


def test_one_of_several_workflows_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.yaml").write_text(WORKFLOW + "---\n" + WORKFLOW.replace("name: pay", "name: other"))
    (tmp_path / "x.test.yaml").write_text("workflow: pay.yaml#pay" + PASSING)
    assert "x.test.yaml: workflow pay\n" in invoked("test").out
    (tmp_path / "x.test.yaml").write_text("workflow: pay.yaml#nope" + PASSING)
    assert "found no Workflow 'nope' in pay.yaml, expected one of: pay, other" in invoked("test").err


def test_the_schema_takes_the_tests_of_the_samples(request):
    schema = request.config.rootpath / "crds" / "schemas" / "testfile.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    folder = request.config.rootpath / "config" / "samples" / "tests"
    files = sorted(folder.glob("*.test.yaml"))
    assert len(files) == 14
    for file in files:
        assert validator.is_valid(yaml.safe_load(file.read_text())), file
    assert not validator.is_valid({"workflow": "x", "cases": []})


def test_the_tests_of_the_samples_pass_and_cover_them(request):
    done = invoked("test", "--coverage-min", "100", str(request.config.rootpath / "config" / "samples"))
    assert (done.code, done.err) == (0, "37 passed\n")


CALLER = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: caller}
spec:
  steps:
    - name: pay
      workflow: {name: pay, inputs: {amount: 40}}
"""

CALLED = """workflow: caller.yaml
workflows: [pay.yaml]
cases:
  - name: it is paid
    steps: {pay/charge: {output: {id: "4000-1234"}}}
    expect: {outputs: {pay/charge: {id: nothing}}, ran: [pay/apologise], attempts: {pay/charge: 2}}
"""


def test_the_run_of_another_file_is_played_and_what_is_sensitive_in_it_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pay.yaml").write_text(WORKFLOW)
    (tmp_path / "caller.yaml").write_text(CALLER)
    (tmp_path / "caller.test.yaml").write_text(CALLED)
    done = invoked("test")
    assert "4000" not in done.out
    assert "        attempts.pay/charge: expected 2" in done.out


def test_files_and_addresses_of_other_workflows_that_lead_nowhere_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "caller.yaml").write_text(CALLER)
    (tmp_path / "caller.test.yaml").write_text(CALLED)
    assert "caller.test.yaml:2: workflows[0]: there is no file pay.yaml" in invoked("test").err
    (tmp_path / "caller.test.yaml").write_text(CALLED.replace("workflows: [pay.yaml]\n", ""))
    told = "pay starts a run of Workflow pay, which is not at hand: name its file in `workflows`"
    done = invoked("test")
    assert done.code == 2
    assert f"cases[0].steps.pay/charge: {told}" in done.err
    assert f"cases[0].expect.ran[0]: {told}" in done.err
