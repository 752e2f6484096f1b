"""The commands that prepare a database and a cluster for a version, as the hooks of the chart run them."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest
import yaml
from kubernetes import client, config


def leat_operator(*arguments, **environment):
    command = [sys.executable, "-m", "leat_operator", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def applied(dsn):
    async def read():
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval("select count(*) from leat.migration")
        finally:
            await connection.close()

    return asyncio.run(read())


def test_migrate_needs_nothing_but_the_database_and_may_be_repeated(postgres_dsn):
    for _ in range(2):
        done = leat_operator("migrate", LEAT_DATABASE_URL=postgres_dsn)
        assert done.returncode == 0, done.stderr
    assert applied(postgres_dsn) >= 1


@pytest.mark.parametrize(
    ("arguments", "url", "code", "said"),
    [
        (["migrate"], "http://db", 1, "expected postgresql://USER:PASSWORD@HOST:5432/NAME"),
        (["migrate"], "", 2, "LEAT_DATABASE_URL"),
        (["upgrade"], "", 2, "expected no argument, `migrate`"),
        (["define", "/nowhere"], "", 1, "expected a folder with the files of crds/"),
    ],
)
def test_a_mistake_is_told_with_what_is_expected(arguments, url, code, said):
    done = leat_operator(*arguments, LEAT_DATABASE_URL=url)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_migrate_without_a_database_names_the_variable(monkeypatch):
    monkeypatch.delenv("LEAT_DATABASE_URL", raising=False)
    done = leat_operator("migrate")
    assert (done.returncode, "LEAT_DATABASE_URL" in done.stderr) == (2, True), done.stderr


def test_define_brings_a_definition_up_to_date(kubeconfig, tmp_path):
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.prepare.leat.test"},
        "spec": {
            "group": "prepare.leat.test",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    cluster = client.ApiextensionsV1Api(config.new_client_from_config(kubeconfig))
    try:
        for short in ("th", "tg"):
            definition["spec"]["names"]["shortNames"] = [short]
            (tmp_path / "things.yaml").write_text(yaml.safe_dump(definition))
            done = leat_operator("define", str(tmp_path), KUBECONFIG=kubeconfig)
            assert done.returncode == 0, done.stderr
            found = cluster.read_custom_resource_definition("things.prepare.leat.test")
            assert found.spec.names.short_names == [short]
    finally:
        cluster.delete_custom_resource_definition("things.prepare.leat.test")


def test_define_applies_nothing_but_definitions(kubeconfig, tmp_path):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "default"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(secret))
    done = leat_operator("define", str(tmp_path), KUBECONFIG=kubeconfig)
    assert (done.returncode, "expected a CustomResourceDefinition, found Secret" in done.stderr) == (1, True)


@pytest.mark.usefixtures("leat")
def test_try_sees_that_the_whole_installation_works_and_leaves_nothing(kubeconfig, namespace):
    for _ in range(2):
        done = leat_operator("try", namespace, "trial", KUBECONFIG=kubeconfig)
        assert done.returncode == 0, done.stderr
        assert "the installation works" in done.stderr
    api = client.CustomObjectsApi(config.new_client_from_config(kubeconfig))
    for plural in ("workflows", "workflowruns"):
        assert api.list_namespaced_custom_object("leat.dev", "v1alpha1", namespace, plural)["items"] == []
