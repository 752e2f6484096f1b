"""What the command line answers to mistakes."""

import pytest
from tests.support.cli import leat


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "nowhere.yaml"], 2, "nowhere.yaml: there is no such file"),
        (["lint", "nowhere.yaml"], 2, "nowhere.yaml: there is no such file"),
        (["run"], 2, "Missing argument 'FILE'"),
        (["run", "-o", "xml", "a.yaml"], 2, "'xml' is not one of"),
        (["rnu"], 2, "No such command 'rnu'"),
        (["get", "workflow", "a", "b"], 2, "unexpected extra argument"),
        (["get", "something", "else"], 2, "expected `leat get [runs|workflows|breakers] [NAME]`"),
        (["get", "--context", "nobody"], 3, "no cluster to ask"),
        (["watch", "a"], 3, "export KUBECONFIG"),
    ],
)
def test_a_mistake_is_answered_without_a_traceback(arguments, code, said):
    done = leat(*arguments)
    assert done.code == code
    assert said in done.err + done.out
    assert "Traceback" not in done.err


def test_broken_yaml_is_answered_with_its_line():
    done = leat("run", "-", stdin="kind: Workflow\nspec:\n  steps: [\n")
    assert done.code == 2
    assert done.err.startswith(("stdin:3: ", "stdin:4: "))


def test_a_binary_file_is_no_traceback(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    done = leat("lint", str(file))
    assert (done.code, "is not UTF-8 text" in done.out) == (2, True)


def test_a_folder_is_no_traceback(tmp_path):
    done = leat("run", str(tmp_path))
    assert (done.code, done.err) == (2, f"{tmp_path}: cannot be read: Is a directory\n")


def test_the_version_is_printed_for_people_and_for_programs():
    assert leat("version").out.startswith("leat ")
    assert leat("version", "-o", "json").json.keys() == {"version"}


def test_a_trigger_that_is_wrong_is_named_with_its_line_and_shows_no_password():
    text = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: daily}
spec:
  steps: [{name: a, transform: 1}]
  triggers:
    - name: morning
      schedule: {cron: 61 5 * * *}
    - name: orders
      amqp: {url: "amqp://me:word@rabbit/", queue: orders}
"""
    done = leat("lint", "-", "-o", "json", stdin=text)
    assert [(each["line"], each["path"]) for each in done.json] == [
        (9, "spec.triggers[0].schedule.cron"),
        (11, "spec.triggers[1].amqp.url"),
    ]
    assert "there is no such minute" in done.json[0]["message"]
    assert "word@" not in done.out
