"""What Argo CD and Flux do with our resources, by the same requests: apply, apply again, compare."""

import json
import subprocess

import pytest
import yaml
from tests.support.operator import eventually
from tests.support.samples import Sample, samples

ARGO, FLUX = "argocd-controller", "kustomize-controller"
OPERATOR = "leat-operator"

EVERYTHING = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
metadata: {name: everything}
spec:
  description: |
    Two lines,
    and \u00fcml\u00e4uts
  inputs:
    nothing: {default: null}
    number: {type: integer, default: 9007199254740991}
    fraction: {type: number, default: 0.1}
    large: {type: number, default: 1.0e+21}
    text: {type: string, default: ""}
    list: {type: array, items: {}, default: []}
  vars: {zero: 0, no: false, empty: {}, kept: null}
  defaults: {retry: {max: 0, backoff: {initial: 90s, factor: 1.0, max: 1h30m}}, timeout: 0.5s}
  timeout: 90m
  history: {succeeded: 0, failed: 3, ttlSecondsAfterFinished: 86400}
  steps:
    - {name: a, transform: {"null": null, list: [null, 1, 1.0], text: "1e3"}}
    - {name: b, needs: [a], when: true, script: {run: "true"}, deadline: 1500ms}
    - {name: w, needs: [b], wait: {duration: 1d}}
    - {name: c, needs: [{step: a, on: [Finished]}], when: false, fail: {message: "no"}}
  output: {a: "${ steps.a.output }", nothing: null}
---
apiVersion: leat.dev/v1alpha1
kind: WorkflowRun
metadata: {name: everything}
spec:
  workflow: {name: everything}
  inputs: {nothing: null, list: [null, {}, []], fraction: 1.0}
  suspend: true
"""


@pytest.fixture
def kubectl(kubernetes, namespace):
    def call(*arguments, documents=(), allowed=(0,)):
        command = [kubernetes.kubectl, "--kubeconfig", kubernetes.kubeconfig, "--namespace", namespace, *arguments]
        text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
        done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=120)
        assert done.returncode in allowed, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture
def apply(kubectl):
    def apply(manager, documents):
        return kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", documents=documents)

    return apply


@pytest.fixture
def owners(kubectl):
    """Who owns which top-level fields of an object, by manager and subresource."""

    def owners(kind, name):
        shown = json.loads(kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
        return {
            (entry["manager"], entry.get("subresource", "")): set(entry["fieldsV1"])
            for entry in shown["metadata"]["managedFields"]
        }

    return owners


def settled(kubectl, kind, name):
    body = json.loads(kubectl("get", kind, name, "-o", "json"))
    return body if body["status"].get("observedGeneration") == body["metadata"]["generation"] else None


@pytest.mark.usefixtures("leat")
@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.file.stem)
def test_a_sample_is_applied_again_and_again_without_conflict_or_difference(sample: Sample, kubectl, apply, owners):
    text = sample.file.read_text()
    apply(ARGO, text)
    for document in sample.documents:
        name = document["kind"], document["metadata"]["name"]
        eventually(lambda name=name: settled(kubectl, *name), f"{name} is told about")
        apply(ARGO, text)
        apply(FLUX, text)
        held = owners(*name)
        assert held[OPERATOR, "status"] == {"f:status"}
        assert {manager for manager, _ in held} == {ARGO, FLUX, OPERATOR}
        assert not any("f:status" in fields for (manager, _), fields in held.items() if manager != OPERATOR)
    assert not kubectl("diff", "--server-side", f"--field-manager={ARGO}", "-f", "-", documents=text)


@pytest.mark.usefixtures("leat")
@pytest.mark.parametrize("flags", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_what_was_written_is_what_is_kept(kubectl, flags):
    kubectl("apply", *flags, "-f", "-", documents=EVERYTHING)
    eventually(lambda: settled(kubectl, "WorkflowRun", "everything"), "the run is told about")
    assert not kubectl("diff", *flags, "-f", "-", documents=EVERYTHING)
    for kind, written in zip(("Workflow", "WorkflowRun"), yaml.safe_load_all(EVERYTHING), strict=True):
        kept = json.loads(kubectl("get", kind, "everything", "-o", "json"))["spec"]
        sent = as_sent(written["spec"])
        assert not list(differences(sent if flags else without_nulls(sent), kept, "spec"))


def without_nulls(value):
    """What an apply that is not server-side sends: there a null in an object means that the field is to go."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def as_sent(value):
    """What kubectl makes of YAML's keys that are no texts."""
    if isinstance(value, dict):
        words = {True: "true", False: "false", None: "null"}
        return {words.get(key, key): as_sent(one) for key, one in value.items()}
    return [as_sent(one) for one in value] if isinstance(value, list) else value


def differences(written, kept, path):
    """Where an object is not what was written; fields that were left out may have a default."""
    if isinstance(written, dict) and isinstance(kept, dict):
        for key, value in written.items():
            if key not in kept:
                yield f"{path}.{key} is gone"
            else:
                yield from differences(value, kept[key], f"{path}.{key}")
    elif isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        for index, (one, other) in enumerate(zip(written, kept, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif written != kept:
        yield f"{path}: {written!r} became {kept!r}"


@pytest.mark.usefixtures("leat")
def test_a_run_that_is_applied_before_its_workflow_begins_when_that_comes(kubectl, apply):
    (sample,) = [sample for sample in samples() if sample.file.stem == "hello"]
    apply(FLUX, [sample.run])

    def waits():
        status = json.loads(kubectl("get", "wfr", sample.run["metadata"]["name"], "-o", "json"))["status"]
        return any(each["reason"] == "WorkflowNotFound" for each in status.get("conditions", ()))

    eventually(waits, "the run says what it waits for")
    apply(FLUX, [document for document in sample.documents if document["kind"] == "Workflow"])
    kubectl("wait", "wfr", sample.run["metadata"]["name"], "--for=condition=Succeeded", "--timeout=60s")
