"""What the chart makes of values, and what it refuses. Needs helm and no cluster: make chart."""

import re
from pathlib import Path

import pytest
import yaml
from tests.support.charts import CASES, EVERYTHING, OPERATORS, OWN, TRIED, helm, of, pods, rendered
from tests.support.installation import CHART, ROOT

CLUSTER, SERVE = ROOT / "config/cluster", ROOT / "config/serve"


@pytest.mark.parametrize("case", [*CASES, "operators"])
def test_helm_lint_has_no_complaint(case):
    done = helm("lint", CASES.get(case, EVERYTHING | OPERATORS), "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_addresses_it_is_said_what_to_set_and_how_to_try_it():
    done = helm("template leat", {})
    assert done.returncode != 0
    assert (
        "postgres.url is missing. Set it, or existingSecret, or (to try Leat out) dev.postgres.enabled=true"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"operator": {"replica": 3}}, "replica"),
        ({"operator": {"replicas": "three"}}, "/operator/replicas"),
        ({"postgress": {}}, "postgress"),
        ({"policies": {"priority": {"actions": ["Refuse"]}}}, "/policies/priority/actions/0"),
        ({"images": {"operator": {"digest": "latest"}}}, "/images/operator/digest"),
        ({"pools": {"default": {"replica": {"min": 1}}}}, "/pools/default"),
        ({"pools": {"default": {"replicas": {"min": "one"}}}}, "/pools/default/replicas/min"),
        ({"pools": {"default": {"scaling": {"metric": "moon"}}}}, "/pools/default/scaling/metric"),
    ],
)
def test_a_value_that_is_unknown_or_of_another_type_is_refused_with_its_place(values, place):
    done = helm("template leat", OWN | values)
    assert done.returncode != 0
    assert place in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_every_pod_satisfies_the_standard_restricted(case):
    found = pods(rendered(CASES[case], "--is-upgrade"))
    assert found
    for pod in found.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]


def test_no_address_is_outside_of_a_secret():
    text = [yaml.safe_dump(one) for one in rendered(EVERYTHING | OPERATORS, "--is-upgrade") if one["kind"] != "Secret"]
    assert not [one for one in text if "leat:pw@" in one]


def test_own_servers_are_migrated_by_a_hook_and_bundled_ones_by_the_operators_pod():
    own, tried = rendered(OWN), rendered(TRIED)
    (job,) = of(own, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "initContainers" not in pods(own)["leat-operator"]
    assert of(tried, "Job") == []
    assert pods(tried)["leat-operator"]["initContainers"][0]["args"] == ["migrate"]


def test_the_right_to_change_definitions_comes_and_goes_with_the_hook_of_an_upgrade():
    assert not [one for one in rendered(OWN) if "customresourcedefinitions" in yaml.safe_dump(one)]
    upgrade = rendered(OWN, "--is-upgrade")
    (role,) = [one for one in of(upgrade, "ClusterRole") if "customresourcedefinitions" in yaml.safe_dump(one)]
    assert role["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert sorted(role["rules"][0]["resourceNames"]) == sorted(
        yaml.safe_load(path.read_text())["metadata"]["name"] for path in Path(CHART / "crds").glob("*.yaml")
    )


def test_a_pool_is_granted_what_is_asked_for_and_nothing_else():
    documents = rendered(EVERYTHING)
    roles = {(one["metadata"].get("namespace"), one["metadata"]["name"]): one["rules"] for one in of(documents, "Role")}
    assert [rule["resources"] for rule in roles["kube-public", "place-leat-pool-default"]] == [
        ["jobs"],
        ["pods"],
        ["pods/log"],
        ["events"],
    ]
    assert roles["default", "place-leat-pool-default"][0] == {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get"],
    }
    (binding,) = of(documents, "RoleBinding", "place-leat-pool-other")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "given", "namespace": "place"}]
    assert {one["metadata"]["name"] for one in of(documents, "ServiceAccount")} >= {
        "leat-pool-default",
        "leat-pool-gpu",
    }
    assert not [
        one for one in rendered(OWN) if "pool-default" in one["metadata"]["name"] and one["kind"] != "Deployment"
    ]


def test_with_some_namespaces_only_the_operator_has_no_right_beyond_them():
    documents = rendered(EVERYTHING)
    assert of(documents, "ClusterRoleBinding", "leat-operator") == []
    assert {one["metadata"]["namespace"] for one in of(documents, "RoleBinding", "leat-operator")} == {"shop", "place"}


@pytest.mark.parametrize(
    ("template", "file"),
    [
        ("priority", "priority.yaml"),
        ("policies", "immutable-runs.yaml"),
        ("signal-identity", "signal-identity.yaml"),
    ],
)
def test_what_a_cluster_may_have_besides_is_the_same_with_and_without_the_chart(template, file):
    """The names are the release's."""
    own, place = CLUSTER / file, f"templates/{template}.yaml"
    values = OWN | {"apiPriority": {"enabled": True}, "policies": {"immutableRuns": {"enabled": True}}}
    text = yaml.safe_dump_all(rendered(values, "--show-only", place)).replace("place-leat", "leat")
    found = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in yaml.safe_load_all(text)}
    written = yaml.safe_load_all(own.read_text().replace("leat-system", "place"))
    assert found == {(one["kind"], one["metadata"]["name"]): one["spec"] for one in written}


def test_what_the_operator_serves_is_the_same_with_and_without_the_chart():
    documents = rendered(OWN | {"webhook": {"enabled": True}, "readApi": {"enabled": True}})
    (webhook,) = of(documents, "ValidatingWebhookConfiguration", "leat")
    (service,) = of(documents, "APIService", "v1alpha1.read.leat.dev")
    own = {path.stem: yaml.safe_load(path.read_text()) for path in SERVE.glob("*api.yaml")}
    own |= {"webhook": yaml.safe_load((SERVE / "webhook.yaml").read_text())}
    assert _apart(webhook["webhooks"][0], "clientConfig") == _apart(own["webhook"]["webhooks"][0], "clientConfig")
    assert _apart(service["spec"], "service") == _apart(own["read-api"]["spec"], "service")
    named = (webhook["webhooks"][0]["clientConfig"]["service"]["name"], service["spec"]["service"]["name"])
    variables = {one["name"]: one.get("value") for one in pods(documents)["leat-operator"]["containers"][0]["env"]}
    assert {*named, *(one["metadata"]["name"] for one in of(documents, "Service", "leat-operator-https"))} == {
        variables["LEAT_SERVICE"]
    }


def _apart(part, key):
    return {name: value for name, value in part.items() if name != key}


def test_a_pool_with_rights_reaches_the_api_server_wherever_its_steps_may_go():
    documents = rendered(EVERYTHING | {"networkPolicies": {"enabled": True, "runnerEgress": []}})
    pools = [one for one in of(documents, "NetworkPolicy") if "-pool-" in one["metadata"]["name"]]
    assert {one["spec"]["podSelector"]["matchLabels"]["leat.dev/pool"] for one in pools} == {"default", "gpu", "other"}
    assert all({"protocol": "TCP", "port": 6443} in one["spec"]["egress"][0]["ports"] for one in pools)


def test_a_pool_may_make_secrets_only_where_its_containers_have_files_in_a_bucket():
    def verbs(url):
        values = OWN | {"pools": {"default": {"containers": {"namespaces": ["shop"]}}}, "artifacts": {"url": url}}
        (role,) = [one for one in of(rendered(values), "Role") if one["metadata"].get("namespace") == "shop"]
        return [rule["verbs"] for rule in role["rules"] if "secrets" in rule["resources"]]

    assert verbs("s3://bucket/x") == [["create"]]
    assert verbs("file:///shared") == verbs("") == []


def test_a_pool_can_be_left_out_and_needs_no_field():
    values = OWN | {"pools": {"default": None, "gpu": {}}}
    assert [one["metadata"]["name"] for one in of(rendered(values), "RunnerPool")] == ["gpu"]


def test_nothing_is_in_another_namespace_than_the_releases_but_for_what_was_asked_for():
    elsewhere = {one["metadata"].get("namespace", "place") for one in rendered(OWN | {"readApi": {"enabled": True}})}
    assert elsewhere <= {"place", "kube-system"}


@pytest.mark.parametrize("values", [EVERYTHING, EVERYTHING | OPERATORS])
def test_names_keep_their_length_when_the_release_has_a_long_one(values):
    done = helm("template " + "a" * 53, values)
    assert done.returncode == 0, done.stderr
    for document in yaml.safe_load_all(done.stdout):
        assert not document or len(document["metadata"]["name"]) <= (63 if document["kind"] == "Service" else 253)


def test_the_dashboards_are_whole_and_the_alerts_have_a_namespace():
    documents = rendered(
        EVERYTHING | OPERATORS | {"monitoring": {**OPERATORS["monitoring"], "dashboards": {"enabled": True}}}
    )
    dashboards = [one for one in of(documents, "ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert all(yaml.safe_load(text)["panels"] for one in dashboards for text in one["data"].values())
    (rules,) = of(documents, "PrometheusRule")
    for rule in rules["spec"]["groups"][0]["rules"]:
        assert re.search(r'namespace="place"', rule["expr"]), rule
