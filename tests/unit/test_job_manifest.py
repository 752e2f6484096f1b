"""From a container step to its Job."""

import re
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.steps import a_step

from leat_engine.spec.container import Container
from leat_runner.kinds.job_manifest import job_of, place_of, verbatim
from leat_runner.kinds.pod_files import due, secret_of, told_line, uncarried, unfit
from leat_runner.kinds.pod_state import Exited, Running, Unfed, put_is_over, state_of

RUNNER = "leat-runner:1"
RUN = {"image": "busybox:1"}


def container(**fields):
    return Container.model_validate({**RUN, **fields})


def job(step=None, **fields):
    return job_of(step or a_step(), container(**fields), RUNNER)


def pod(**fields):
    return job(**fields)["spec"]["template"]["spec"]


def step_of(spec):
    (found,) = [each for each in (*spec.get("initContainers", ()), *spec["containers"]) if each["name"] == "step"]
    return found


def env_of(spec):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in step_of(spec)["env"]}


def test_an_attempt_that_goes_on_with_what_a_runner_left_has_the_same_job_and_a_retry_another_one():
    first = place_of(a_step(attempt=1, try_number=1))
    assert place_of(a_step(attempt=2, try_number=1)) == first
    assert place_of(a_step(attempt=2, try_number=2)).name != first.name


@given(st.text(max_size=300), st.text(max_size=63), st.integers(1, 1000))
def test_a_jobs_name_is_a_dns_label(run, step, number):
    name = place_of(a_step(run_name=run, name=step, try_number=number)).name
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)


def test_the_job_is_owned_by_the_resource_of_the_run():
    (owner,) = job(a_step(run_uid="8d1f"))["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("WorkflowRun", "order-x7k2p", "8d1f")
    assert not owner["blockOwnerDeletion"]  # which would take a right on finalizers
    assert "ownerReferences" not in job(a_step())["metadata"]


def test_job_and_pod_can_be_found_by_run_step_and_attempt():
    body = job()
    for metadata in (body["metadata"], body["spec"]["template"]["metadata"]):
        assert metadata["labels"]["leat.dev/run"] == "order-x7k2p"
        assert metadata["labels"]["leat.dev/run-id"] == "0190a6c0-0000-7000-8000-000000000001"
        assert metadata["labels"]["leat.dev/step"] == "charge"
        assert metadata["labels"]["leat.dev/attempt"] == "2"


def test_kubernetes_tries_nothing_again_and_ends_what_no_runner_ends():
    spec = job(a_step(timeout=90.5))["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["activeDeadlineSeconds"] == 121
    assert spec["ttlSecondsAfterFinished"] == 3600
    assert "activeDeadlineSeconds" not in job(a_step(timeout=None))["spec"]


def test_a_container_has_no_more_rights_than_it_asks_for():
    spec = pod(securityContext={"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000})
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {"fsGroup": 2000}
    assert step_of(spec)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": True,
        "runAsUser": 1000,
    }


def test_a_named_service_account_brings_its_token():
    spec = pod(serviceAccountName="builder")
    assert spec["serviceAccountName"] == "builder"
    assert "automountServiceAccountToken" not in spec


def test_a_secret_stays_a_reference():
    spec = pod(env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "pay", "key": "token"}}}])
    assert env_of(spec)["TOKEN"] == {"secretKeyRef": {"name": "pay", "key": "token"}}


def test_values_that_are_no_text_are_json_and_a_missing_one_is_empty():
    variables = env_of(pod(env=[{"name": "A", "value": {"b": [1]}}, {"name": "N", "value": 3}, {"name": "E"}]))
    assert (variables["A"], variables["N"], variables["E"]) == ('{"b":[1]}', "3", "")


def test_what_leat_tells_cannot_be_overwritten():
    spec = pod(env=[{"name": "LEAT_OUTPUT", "value": "/elsewhere"}])
    assert env_of(spec)["LEAT_OUTPUT"] == "/dev/termination-log"
    assert [each["name"] for each in step_of(spec)["env"]].count("LEAT_OUTPUT") == 1


def test_the_context_of_the_step_is_in_its_environment():
    variables = env_of(pod())
    assert variables["LEAT_IDEMPOTENCY_KEY"] == "0190a6c0-0000-7000-8000-000000000001/0/3"
    assert variables["TRACEPARENT"].startswith("00-0af7651916cd43dd")
    assert (variables["LEAT_RUN"], variables["LEAT_STEP"], variables["LEAT_ATTEMPT"]) == ("order-x7k2p", "charge", "2")


def expanded(text, variables):
    """What Kubernetes makes of a text with variables in it (third_party/forked/golang/expansion)."""
    result, at = "", 0
    while at < len(text):
        if text[at] == "$" and at + 1 < len(text):
            if text[at + 1] == "$":
                result, at = result + "$", at + 2
                continue
            end = text.find(")", at)
            if text[at + 1] == "(" and end > 0:
                name = text[at + 2 : end]
                result, at = result + variables.get(name, f"$({name})"), end + 1
                continue
        result, at = result + text[at], at + 1
    return result


@given(st.text(alphabet="$()AB ", max_size=30))
def test_no_value_is_expanded_by_kubernetes(text):
    assert expanded(verbatim(text), {"A": "a secret", "": "a secret", "B": "a secret", "AB": "x"}) == text


def test_a_shells_text_that_kubernetes_would_leave_alone_is_not_touched():
    assert step_of(pod(command=["sh", "-c", "echo $HOME > $LEAT_OUTPUT"]))["command"][2] == "echo $HOME > $LEAT_OUTPUT"


def test_an_output_file_is_told_by_a_second_container_after_the_first():
    spec = pod(outputFrom="file", securityContext={"runAsUser": 7})
    (step,), (teller,) = spec["initContainers"], spec["containers"]
    assert (step["name"], teller["name"], teller["image"]) == ("step", "leat-output", RUNNER)
    assert env_of(spec)["LEAT_OUTPUT"] == "/leat/output/value"
    assert {"name": "leat-output", "mountPath": "/leat/output"} in step["volumeMounts"]
    assert teller["securityContext"]["runAsUser"] == 7


def test_what_a_pod_has_is_passed_on():
    spec = pod(
        args=["-v", 3, True],
        workingDir="/src",
        envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "S_"}],
        resources={"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"nvidia.com/gpu": "1"}},
        volumes=[
            {"name": "src", "persistentVolumeClaim": {"claimName": "source", "readOnly": True}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "a.yaml"}]}},
        ],
        volumeMounts=[{"name": "src", "mountPath": "/src", "readOnly": True}],
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        imagePullPolicy="Always",
        imagePullSecrets=[{"name": "registry"}],
    )
    step = step_of(spec)
    assert step["args"] == ["-v", "3", "true"]
    assert step["resources"] == {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"nvidia.com/gpu": "1"}}
    assert step["envFrom"] == [{"configMapRef": {"name": "settings"}, "prefix": "S_"}]
    assert step["volumeMounts"] == [{"name": "src", "mountPath": "/src", "readOnly": True}]
    assert spec["volumes"] == [
        {"name": "src", "persistentVolumeClaim": {"claimName": "source", "readOnly": True}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "a.yaml"}]}},
    ]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (step["imagePullPolicy"], step["workingDir"]) == ("Always", "/src")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"volumes": [{"name": "v"}]}, "expected exactly one of persistentVolumeClaim"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "none of `volumes`"),
        ({"env": [{"name": "A", "value": 1, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}, "found both"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "expected exactly one of secretKeyRef"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"pendingTimeout": "soon"}, "expected a duration"),
    ],
)
def test_what_a_container_may_not_have_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem.replace("`", ".")):
        container(**fields)


def test_a_job_is_kept_for_a_while_by_default():
    assert timedelta(seconds=container().ttl_seconds_after_finished) == timedelta(hours=1)


# -- files ------------------------------------------------------------------------------------------------------------


class Left:
    """Artifacts of a step that leaves ``report``."""

    paths: ClassVar = {"report": "out/report.csv"}
    available = reachable = True


FILE = {"in/data.csv": {"$artifact": {"key": "shop/r/0/make/1/a", "size": 1, "sha256": "00", "contentType": "x/y"}}}


def names(spec):
    return [[each["name"] for each in spec.get(part, ())] for part in ("initContainers", "containers")]


@pytest.mark.parametrize(
    ("leaves", "fields", "line"),
    [
        (False, {}, [[], ["step"]]),
        (False, {"outputFrom": "file"}, [["step"], ["leat-output"]]),
        (False, {"files": FILE}, [["leat-get"], ["step"]]),
        (False, {"files": FILE, "outputFrom": "file"}, [["leat-get", "step"], ["leat-output"]]),
        (True, {}, [["step", "leat-output"], ["leat-put"]]),
        (True, {"files": FILE, "outputFrom": "file"}, [["leat-get", "step", "leat-output"], ["leat-put"]]),
    ],
)
def test_containers_come_one_after_the_other_and_only_those_that_are_needed(leaves, fields, line):
    step = a_step(artifacts=Left()) if leaves else a_step()
    spec = job(step, **fields)["spec"]["template"]["spec"]
    assert names(spec) == line
    shared = [volume for volume in spec.get("volumes", ()) if volume["name"] == "leat-files"]
    assert shared == ([{"name": "leat-files", "emptyDir": {"sizeLimit": "1Gi"}}] if leaves or "files" in fields else [])
    assert ("LEAT_FILES" in env_of(spec)) == bool(shared)


def test_only_what_carries_files_knows_where_its_urls_are():
    body = job(a_step(artifacts=Left()), files=FILE, filesLimit="2Gi", securityContext={"runAsUser": 7})
    spec = body["spec"]["template"]["spec"]
    get, step, teller, put = (*spec["initContainers"], *spec["containers"])
    assert [each.get("envFrom") for each in (step, teller)] == [None, None]
    for carrier, way in ((get, "get"), (put, "put")):
        assert carrier["envFrom"] == [{"secretRef": {"name": f"{body['metadata']['name']}-{way}"}}]
        assert carrier["command"] == ["python", "-m", "leat_runner.ferry", way, "/leat/files"]
        assert carrier["securityContext"]["runAsUser"] == 7
        assert carrier["securityContext"]["readOnlyRootFilesystem"]
    assert [mount["readOnly"] for each in (get, put) for mount in each["volumeMounts"]] == [False, True]
    assert {"name": "leat-files", "emptyDir": {"sizeLimit": "2Gi"}} in spec["volumes"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a//b", ""])
def test_a_file_outside_of_the_directory_is_refused(name):
    with pytest.raises(ValidationError, match="expected a file below the step's directory"):
        container(files={name: FILE["in/data.csv"]})


# -- when the URLs are due --------------------------------------------------------------------------------------------

ENDED = {"terminated": {"exitCode": 0}}


def seen(node="node1", **states):
    spec = job(a_step(artifacts=Left()), files=FILE)["spec"]["template"]["spec"]
    states = {name.replace("_", "-"): state for name, state in states.items()}
    inits, (last,) = [[each["name"] for each in spec[part]] for part in ("initContainers", "containers")]
    status = {
        "initContainerStatuses": [{"name": name, "state": states.get(name, {})} for name in inits],
        "containerStatuses": [{"name": last, "state": states.get(last, {})}],
    }
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {**spec, "nodeName": node}, "status": status}


def test_urls_are_given_when_they_are_due_and_not_before():
    assert due(seen(node=None)) == set()
    assert due(seen()) == {"leat-get"}
    assert due(seen(leat_get=ENDED)) == set()
    assert due(seen(leat_get=ENDED, step={"running": {}})) == set()
    assert due(seen(leat_get=ENDED, step={"terminated": {"exitCode": 1}})) == set()
    assert due(seen(leat_get=ENDED, step=ENDED)) == {"leat-put"}
    assert due(seen(leat_get=ENDED, step=ENDED, leat_put=ENDED)) == set()
    assert due({"spec": {"containers": [{"name": "step"}], "nodeName": "n"}, "status": {}}) == set()


def test_a_secret_with_urls_goes_with_its_pod_and_is_never_changed():
    place = place_of(a_step())
    secret = secret_of(place, "leat-put", seen(), [{"name": "a", "url": "https://x/?s"}, {"name": "b"}])
    assert secret["metadata"]["name"] == f"{place.name}-put"
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("Pod", "u", False)
    assert secret["immutable"]
    assert secret["stringData"] == {"LEAT_FILE_0": '{"name":"a","url":"https://x/?s"}', "LEAT_FILE_1": '{"name":"b"}'}


def test_a_pod_whose_files_are_on_their_way_out_has_not_ended():
    begun = {"leat_get": ENDED, "step": ENDED}
    assert state_of(seen(**begun)) == Running()
    assert state_of(seen(**begun, leat_output=ENDED)) == Running()
    missing = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x-put" not found'}}
    assert state_of(seen(**begun, leat_output=ENDED, leat_put=missing)).reason == "Pending"
    assert state_of(seen(**begun, leat_output=ENDED, leat_put=ENDED)) == Exited(0, "", "")
    failed = seen(**begun, leat_output={"terminated": {"exitCode": 137}})
    failed["status"]["phase"] = "Failed"
    assert (state_of(failed), put_is_over(failed)) == (Exited(0, "", ""), False)


def test_a_step_whose_files_could_not_be_fetched_says_why():
    said = '{"name": "in/data.csv", "reason": "ArtifactGone", "message": "it is gone", "retriable": false}'
    pod = seen(leat_get={"terminated": {"exitCode": 1, "message": f"noise\n{said}\n"}})
    pod["status"]["phase"] = "Failed"
    assert state_of(pod) == Unfed(said)
    error = uncarried(("container.files.in/data.csv", told_line(said))).error
    assert (error.type, error.reason, error.retriable) == ("Artifact", "ArtifactGone", False)
    assert error.message == "container.files.in/data.csv: it is gone"
    assert uncarried(("container.files", told_line("Killed"))).error.reason == "FilesLost"


class Directory(Left):
    reachable = False


def test_what_can_have_no_files_says_what_to_do():
    assert unfit(a_step(artifacts=Directory()), container()).error.reason == "NotReachable"
    assert "s3://BUCKET/PREFIX" in unfit(a_step(artifacts=Directory()), container()).error.message
    assert unfit(a_step(), container(files=FILE)).error.reason == "NoArtifactStore"
    assert unfit(a_step(), container()) is None
    assert unfit(a_step(artifacts=Left()), container(files=FILE)) is None
    wrong = unfit(a_step(artifacts=Left()), container(files={"a": "text", "b": None})).error.message
    assert wrong.startswith("container.files.a: found a value of type str, expected an artifact")
    assert "container.files.b: found nothing" in wrong
