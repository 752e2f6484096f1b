"""The operator's client and its Lease against a real API server."""

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leat_engine.errors import Rejected
from leat_engine.status import rejected_status, waiting_status
from leat_operator import rights
from leat_operator.cluster import Cluster, ClusterUnavailable, Conflict, NotFound, Refused
from leat_operator.lease import Elector, LeaseLost, Timing
from leat_operator.objects import LEASES, RUNS, UNFINISHED, WORKFLOWS, Ref, Right

QUICK = Timing(duration=1.0, renew_deadline=0.6, retry=0.05)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def cluster(kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    async with Cluster() as client:
        yield client


def candidate(cluster, namespace, name):
    return Elector(cluster, namespace, "leat-operator", name, QUICK)


async def test_a_status_is_replaced_as_a_whole_and_keeps_its_nulls(cluster, user):
    ref = Ref.of(RUNS, user.run("a", "hello"))
    first = {**waiting_status("hello", 1, AT), "phase": "Succeeded", "output": {"kept": None, "list": [None, 1]}}
    await cluster.patch_status(ref, first)
    assert user.status("a")["output"] == {"kept": None, "list": [None, 1]}
    await cluster.patch_status(ref, rejected_status([], 1, AT))
    assert "output" not in user.status("a")


async def test_the_status_of_another_object_of_the_same_name_is_left_alone(cluster, user):
    old = Ref.of(RUNS, user.run("a", "hello"))
    user.delete("a")
    user.run("a", "hello")
    with pytest.raises(NotFound):
        await cluster.patch_status(old, waiting_status("hello", 1, AT))
    assert user.status("a") == {}


async def test_a_status_that_the_schema_does_not_take_is_refused(cluster, user):
    ref = Ref.of(RUNS, user.run("a", "hello"))
    with pytest.raises(Refused, match="phase"):
        await cluster.patch_status(ref, {"phase": "Elsewhere"})


async def test_unfinished_runs_are_listed_page_by_page_those_without_a_status_included(cluster, user, namespace):
    refs = [Ref.of(RUNS, user.run(f"a-{number}", "hello")) for number in range(5)]
    await cluster.patch_status(refs[0], rejected_status([], 1, AT))
    await cluster.patch_status(refs[1], waiting_status("hello", 1, AT))
    pages = [
        [body["metadata"]["name"] for body in page] async for page in cluster.pages(RUNS, namespace, UNFINISHED, 2)
    ]
    assert sorted(name for page in pages for name in page) == ["a-1", "a-2", "a-3", "a-4"]
    assert max(map(len, pages)) <= 2


@pytest.fixture
def nowhere(kubeconfig, tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(re.sub(r"https://127.0.0.1:\d+", "https://127.0.0.1:1", Path(kubeconfig).read_text()))
    return str(path)


async def test_a_server_that_is_not_there_is_unavailable(nowhere, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", nowhere)
    async with Cluster() as client:
        with pytest.raises(ClusterUnavailable):
            await client.get(RUNS, "default", "a")


async def test_rights_that_are_missing_are_all_named(operator_kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", operator_kubeconfig)
    async with Cluster() as client:
        await rights.check(client, rights.needed((), "leat-system"), "leat-operator")
        wanted = [Right("create", WORKFLOWS), Right("patch", WORKFLOWS), Right("list", RUNS)]
        with pytest.raises(Rejected) as rejected:
            await rights.check(client, wanted, "leat-operator")
    assert len(rejected.value.reasons) == 2
    assert "create workflows.leat.dev in all namespaces" in str(rejected.value)


async def test_an_object_that_has_changed_is_not_replaced(cluster, namespace):
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"holderIdentity": "x"},
    }
    created = await cluster.create(LEASES, namespace, lease)
    await cluster.replace(LEASES, {**created, "spec": {"holderIdentity": "y"}})
    with pytest.raises(Conflict):
        await cluster.replace(LEASES, {**created, "spec": {"holderIdentity": "z"}})


async def test_one_of_two_candidates_gets_the_lease_and_the_other_one_when_it_is_released(cluster, namespace):
    first, second = candidate(cluster, namespace, "first"), candidate(cluster, namespace, "second")
    await first.acquire()
    keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * QUICK.duration):
            await asyncio.shield(waiting)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    await first.release()
    async with asyncio.timeout(5):
        await waiting


async def test_a_silent_holder_is_replaced_and_learns_that_it_lost(cluster, namespace):
    first, second = candidate(cluster, namespace, "first"), candidate(cluster, namespace, "second")
    await first.acquire()
    async with asyncio.timeout(10):
        await second.acquire()
        with pytest.raises(LeaseLost):
            await first.keep()
    await first.release()  # what it does not hold any more it cannot give away
    found = await cluster.get(LEASES, namespace, "leat-operator")
    assert found["spec"]["holderIdentity"] == "second"
    assert found["spec"]["leaseTransitions"] == 2


async def test_a_holder_that_cannot_renew_gives_up_before_the_lease_ends(cluster, namespace, monkeypatch):
    holder = candidate(cluster, namespace, "first")
    await holder.acquire()

    async def silence(*_):
        raise ClusterUnavailable("nobody answers")

    monkeypatch.setattr(cluster, "replace", silence)
    started = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost):
        await holder.keep()
    assert asyncio.get_running_loop().time() - started < QUICK.duration
