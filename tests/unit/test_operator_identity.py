"""Whether the sender that a signal names can be believed."""

import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from leat_operator.identity import doubt

FILE = Path(__file__).parents[2] / "config" / "cluster" / "signal-identity.yaml"
THERE, LATER = "2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, 0, 1, tzinfo=UTC)


@pytest.fixture
def applied():
    """The policy and its binding as the API server has them."""
    found = list(yaml.safe_load_all(FILE.read_text()))
    for document in found:
        document["metadata"]["creationTimestamp"] = THERE
    found[0]["spec"]["matchConstraints"] |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    return found


def test_the_policy_as_it_is_shipped_is_believed(applied):
    assert doubt(*applied, LATER) is None


def test_without_the_policy_or_its_binding_nobody_is_believed(applied):
    assert "config/cluster/signal-identity.yaml" in (doubt(None, None, LATER) or "")
    assert "ValidatingAdmissionPolicyBinding" in (doubt(applied[0], None, LATER) or "")


def test_what_was_said_before_the_policy_was_there_is_not_believed(applied):
    assert "say it again" in (doubt(*applied, datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)) or "")


@pytest.mark.parametrize(
    "weaken",
    [
        lambda policy, _: policy.update(failurePolicy="Ignore"),
        lambda policy, _: policy["validations"].pop(),
        lambda policy, _: policy["validations"][1].update(expression="true"),
        lambda policy, _: policy.update(matchConditions=[{"name": "some", "expression": "false"}]),
        lambda policy, _: policy["matchConstraints"]["resourceRules"][0].update(operations=["CREATE"]),
        lambda policy, _: policy["matchConstraints"].update(namespaceSelector={"matchLabels": {"a": "b"}}),
        lambda policy, _: policy["matchConstraints"]["resourceRules"][0].update(resourceNames=["a"]),
        lambda _, binding: binding.update(validationActions=["Warn"]),
        lambda _, binding: binding.update(policyName="another"),
        lambda _, binding: binding.update(matchResources={"namespaceSelector": {"matchLabels": {"a": "b"}}}),
    ],
)
def test_a_policy_that_was_weakened_is_not_believed(applied, weaken):
    policy, binding = copy.deepcopy(applied)
    weaken(policy["spec"], binding["spec"])
    assert "does not hold as it should" in (doubt(policy, binding, LATER) or "")
