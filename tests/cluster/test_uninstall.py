"""What is left of a release when it goes. It is the last file of this lane, and puts the release back."""

import pytest

KINDS = (
    "deployments,services,secrets,configmaps,serviceaccounts,roles,rolebindings,jobs,poddisruptionbudgets,"
    "networkpolicies,clusterroles,clusterrolebindings,validatingwebhookconfigurations,apiservices"
)


@pytest.fixture
def gone(installation):
    """The release is uninstalled; afterwards it is there again."""
    installation.helm("uninstall", installation.release, "--wait", "--timeout", "4m")
    yield
    installation.upgrade()


@pytest.mark.usefixtures("gone")
def test_an_uninstalled_release_leaves_the_definitions_and_what_users_made_and_nothing_else(installation):
    left = [
        name
        for name in installation.kubectl("get", KINDS, "--output", "name").split()
        if name.rpartition("/")[2].startswith((installation.fullname, "v1alpha1.read.leat.dev"))
        or name.endswith("webhookconfiguration.admissionregistration.k8s.io/leat")
    ]
    assert left == []
    assert "workflowruns.leat.dev" in installation.kubectl("get", "crds", "--output", "name")
    assert installation.get("workflows", namespace=installation.work)
