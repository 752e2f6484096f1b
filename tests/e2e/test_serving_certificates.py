"""Certificates, direct calls and absences: what nobody should notice."""

import asyncio
import base64
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.support.operator import eventually
from tests.support.serving import READ, SECRET, SYSTEM, asked, serving, until_ready

from leat_engine.limits import MIB
from leat_engine.store import migrate
from leat_operator.certificates import AUTHORITY_LIFE, SERVING_LIFE, Material, renewed
from leat_operator.cluster import Cluster
from leat_operator.serving.identity import Shared, names_of
from leat_operator.settings import Settings

NAMES = names_of("leat-operator", SYSTEM, ())
HOME = Path(__file__).parents[2] / ".leat" / "test" / "kubernetes"
PROXY = (str(HOME / "front-proxy.crt"), str(HOME / "front-proxy.key"))
ADMIN = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
BAD = {
    "apiVersion": "leat.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "bad"},
    "spec": {"steps": [{"name": "a", "needs": ["nowhere"], "transform": "x"}]},
}


@pytest.fixture(scope="module")
def environment(kubernetes, postgres_dsn, amqp_url):
    asyncio.run(migrate(postgres_dsn))
    return {
        "KUBECONFIG": kubernetes.operator_kubeconfig,
        "LEAT_DATABASE_URL": postgres_dsn,
        "LEAT_AMQP_URL": amqp_url,
        "LEAT_NAMESPACE": SYSTEM,
    }


@pytest.fixture(scope="module")
def secrets(kubernetes):
    """The API of Secrets."""
    with config.new_client_from_config(kubernetes.kubeconfig) as api:
        yield client.CoreV1Api(api)


@pytest.fixture(scope="module")
def served(kubernetes, environment, tmp_path_factory):
    """A serving operator and kubectl, as one."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(environment, tmp_path_factory.mktemp("serving")))
        kubectl = stack.enter_context(asked(kubernetes, server.port))
        until_ready(server, kubectl)
        yield server, kubectl


class Reader:
    """Reads through the API server as fast as it can, and counts what went wrong."""

    def __init__(self, kubectl):
        self._kubectl = kubectl
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.read, self.failures = 0, []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _read(self):
        while not self._over.is_set():
            answer = self._kubectl("get", "--raw", f"{READ}/pools")
            if answer.returncode == 0:
                self.read += 1
            else:
                self.failures.append(answer.stderr)

    def more(self):
        """Wait for a few more answers."""
        enough = self.read + 3
        eventually(lambda: self.read >= enough, "more was read")


def kept(secrets):
    return Material.of(secrets.read_namespaced_secret(SECRET, SYSTEM).data)


def shown(server, material):
    pem = material.texts()["tls.crt"].strip()
    eventually(lambda: server.certificate.strip() == pem, "the certificate is shown")


def keep(secrets, material):
    secrets.patch_namespaced_secret(SECRET, SYSTEM, {"data": material.data()})


def test_a_certificate_is_renewed_and_nobody_notices(served, secrets):
    server, kubectl = served
    now = datetime.now(UTC)
    old = renewed(None, NAMES, now - SERVING_LIFE * 0.8)
    before = renewed(old, NAMES, now)
    keep(secrets, before)
    shown(server, before)
    eventually(lambda: kubectl("get", "--raw", f"{READ}/pools").returncode == 0, "the API server trusts it")
    with Reader(kubectl) as reader:
        reader.more()
        keep(secrets, old)
        after = eventually(lambda: kept(secrets).certificate != old.certificate and kept(secrets), "it is renewed")
        shown(server, after)
        reader.more()
    assert reader.failures == []
    assert after.authorities == old.authorities
    assert after.certificate not in (before.certificate, old.certificate)


def test_an_old_authority_is_followed_by_a_new_one_and_both_are_trusted(served, secrets):
    _, kubectl = served
    past = datetime.now(UTC) - AUTHORITY_LIFE * 0.8
    keep(secrets, renewed(renewed(None, NAMES, past), NAMES, past + AUTHORITY_LIFE * 0.66))
    bundle = eventually(lambda: len(kept(secrets).authorities) == 2 and kept(secrets).texts()["ca.crt"], "two of them")
    encoded = base64.b64encode(bundle.encode()).decode()

    def told():
        hooks = kubectl.get("validatingwebhookconfiguration", "leat")["webhooks"]
        bundles = [hook["clientConfig"].get("caBundle") for hook in hooks]
        bundles.append(kubectl.get("apiservice", "v1alpha1.read.leat.dev")["spec"].get("caBundle"))
        return set(bundles) == {encoded}

    eventually(told, "the API server is told both")
    eventually(lambda: kubectl("get", "--raw", f"{READ}/pools").returncode == 0, "it is asked as before")
    assert kubectl.done("get", "--raw", f"{READ}/pools")


def test_a_secret_that_was_broken_is_made_anew(served, secrets):
    server, kubectl = served
    before = server.certificate
    secrets.patch_namespaced_secret(SECRET, SYSTEM, {"data": {"tls.key": None}})
    eventually(lambda: server.certificate != before, "another certificate is shown")
    eventually(lambda: kubectl("get", "--raw", f"{READ}/pools").returncode == 0, "the API server trusts it")


def test_who_writes_the_bundle_owns_that_field_alone(served):
    _, kubectl = served
    for kind, name in (("validatingwebhookconfiguration", "leat"), ("apiservice", "v1alpha1.read.leat.dev")):
        managers = kubectl.get(kind, name, "--show-managed-fields")["metadata"]["managedFields"]
        (ours,) = (each["fieldsV1"] for each in managers if each["manager"] == "leat-operator")
        assert str(ours).count("f:caBundle") == 1
        assert set(ours) <= {"f:webhooks", "f:spec"}


async def test_replicas_that_race_end_with_one_authority(kubeconfig, namespace, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    async with Cluster() as cluster:
        replicas = [Shared(cluster, namespace, SECRET, NAMES) for _ in range(8)]
        found = await asyncio.gather(*(replica.certificate() for replica in replicas))
    assert len(set(found)) == 1


def test_a_replica_that_stands_by_serves_the_same_certificate(served, environment, tmp_path):
    server, _ = served
    with serving(environment, tmp_path) as other:
        eventually(lambda: other.process.ready, "it is ready", 40)
        assert other.process.metric("leat_operator_active") == 0
        assert other.certificate == server.certificate
        status, answer = other.call(f"{READ}/pools", ADMIN, identity=PROXY)
        assert (status, answer["kind"]) == (200, "PoolLoadList")


@pytest.mark.parametrize("path", ["/apis", READ, f"{READ}/pools", f"{READ}/namespaces/a/workflowruns/b/steps"])
def test_headers_without_the_api_servers_certificate_are_worth_nothing(served, path):
    server, _ = served
    for headers in ({}, ADMIN):
        status, answer = server.call(path, headers)
        assert (status, answer["kind"], answer["reason"]) == (401, "Status", "Unauthorized")


def test_a_certificate_of_somebody_else_is_refused(served, tmp_path):
    server, _ = served
    made = renewed(None, ("front-proxy-client",), datetime.now(UTC)).texts()
    (tmp_path / "crt").write_text(made["tls.crt"])
    (tmp_path / "key").write_text(made["tls.key"])
    with pytest.raises(OSError, match=r"alert|closed|reset|EOF"):
        server.call(f"{READ}/pools", ADMIN, identity=(str(tmp_path / "crt"), str(tmp_path / "key")))


def test_the_api_servers_word_on_who_asks_is_not_its_word_on_what_they_may(served):
    server, _ = served
    status, answer = server.call(f"{READ}/pools", {"X-Remote-User": "ann"}, identity=PROXY)
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert "user 'ann' may not list pools.read.leat.dev" in answer["message"]
    assert server.call(f"{READ}/pools", {}, identity=PROXY)[0] == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"request": 1}', b'{"request": {"uid": "1"}}'])
def test_what_is_no_review_is_said_to_be_none(served, body):
    server, _ = served
    status, answer = server.call("/validate", body=body)
    assert (status, answer["reason"]) == (400, "BadRequest")


def test_a_review_has_a_bound(served):
    server, _ = served
    assert server.call("/validate", body=b" " * (5 * MIB))[0] == 413


def test_files_that_change_are_shown_without_a_restart(environment, tmp_path):
    def give(number):
        made = renewed(None, NAMES, datetime.now(UTC) - timedelta(minutes=number)).texts()
        (tmp_path / "tls.key").write_text(made["tls.key"])
        (tmp_path / "tls.crt").write_text(made["tls.crt"])
        return made["tls.crt"]

    first = give(1)
    with serving(environment, tmp_path, tls_dir=tmp_path) as server:
        eventually(lambda: server.process.ready, "it is ready", 40)
        assert server.certificate.strip() == first.strip()
        second = give(2)
        eventually(lambda: server.certificate.strip() == second.strip(), "the new one is shown")


def test_nothing_is_ready_that_has_no_certificate(environment, tmp_path):
    with serving(environment, tmp_path, tls_dir=tmp_path / "none") as server:
        eventually(lambda: "LEAT_TLS_DIR" in server.process.log.read_text(), "it says what is missing", 40)
        assert not server.process.ready
        assert server.process.alive()


def test_every_right_of_the_settings_is_in_the_manifests(kubernetes):
    """The names in config/rbac are those that the settings have by themselves."""
    settings = Settings(database_url="postgresql://x", amqp_url="amqp://x")
    assert (settings.tls_secret, settings.webhook, settings.read_api) == (SECRET, "leat", "v1alpha1.read.leat.dev")
    with config.new_client_from_config(kubernetes.operator_kubeconfig) as api, pytest.raises(ApiException) as refused:
        client.CoreV1Api(api).read_namespaced_secret("another", SYSTEM)
    assert refused.value.status == 403


# Last in this file: afterwards the API server asks nobody.
def test_users_are_not_held_up_when_nobody_answers(kubernetes, environment, namespace, tmp_path):
    with serving(environment, tmp_path) as server, asked(kubernetes, server.port) as kubectl:
        until_ready(server, kubectl)
        assert kubectl.apply(namespace, BAD).returncode != 0
        server.process.end()
        applied = kubectl.apply(namespace, BAD)
        assert applied.returncode == 0, applied.stderr
        assert kubectl("get", "workflows", "-n", namespace).returncode == 0
