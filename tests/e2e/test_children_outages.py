"""Child runs while the operator is dead: they start all the same."""

import asyncio
import signal

from tests.support.operator import eventually, started
from tests.support.queue import eventually as until_async

from leat_engine.result import Phase
from leat_engine.store import Store
from leat_engine.waits import Signal

GREET = {"name": "greet", "transform": "hello ${ inputs.who }"}
CALL = {"name": "call", "needs": ["go"], "workflow": {"name": "hello", "inputs": {"who": "Ada"}}}


def test_children_start_while_no_operator_is_there_and_what_was_deleted_meanwhile_is_forgotten(
    environment, user, tmp_path
):
    dsn, namespace = environment["LEAT_DATABASE_URL"], user.namespace
    environment = {**environment, "LEAT_LEASE_DURATION": "15"}  # nothing here is about taking over soon
    user.workflow("hello", GREET, inputs={"who": {"type": "string"}}, output="${ steps.greet.output }")
    user.workflow("slow", {"name": "nap", "wait": {"duration": "1h"}})
    user.workflow("parent", {"name": "go", "signal": {"name": "go"}}, CALL, output="${ steps.call.output }")
    with started("leat_runner", environment, tmp_path):
        with started("leat_operator", environment, tmp_path) as operator:
            user.run("order-1", "parent")
            user.until("order-1", "Running", 60)
            eventually(lambda: {"hello", "parent", "slow"} <= shelf(dsn, namespace), "the Workflows are in the store")
            operator.end(signal.SIGKILL)
        user.delete("slow", "workflows")
        assert asyncio.run(go_on(dsn, namespace)) == (Phase.SUCCEEDED, "hello Ada")
        assert "slow" in shelf(dsn, namespace)
        with started("leat_operator", environment, tmp_path):
            assert user.until("order-1", "Succeeded", 60)["output"] == "hello Ada"
            eventually(lambda: shelf(dsn, namespace) == {"hello", "parent"}, "what was deleted is gone", 60)


def shelf(dsn, namespace):
    """Names of the Workflows that steps of the namespace find."""

    async def look():
        store = await Store.connect(dsn)
        try:
            return {name for where, name, _ in await store.children.workflows() if where == namespace}
        finally:
            await store.close()

    return asyncio.run(look())


async def go_on(dsn, namespace):
    """Let the run go on, and tell how it ended."""
    store = await Store.connect(dsn)
    try:
        run = await store.find_run(namespace, "order-1")
        await store.signals.deliver(run.run_id, Signal("1", "go"))
        await until_async(lambda: _is_over(store, run.run_id), True, 40)
        run = await store.run(run.run_id)
        return run.phase, run.output
    finally:
        await store.close()


async def _is_over(store, run_id):
    return (await store.run(run_id)).phase.done
