"""A second run of a workflow tells when it will have ended."""

import asyncio
from datetime import datetime

import asyncpg
from tests.support.operator import eventually, started

SECONDS = 4
PACK = {"name": "pack", "script": {"shell": "bash", "run": f"sleep {SECONDS}"}}
SHIP = {"name": "ship", "needs": ["pack"], "script": {"shell": "bash", "run": f"sleep {SECONDS}"}}


def known(dsn: str, workflow: str) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval("select count(*) from leat.duration where workflow = $1", workflow))
        finally:
            await connection.close()

    return asyncio.run(count())


def test_a_second_run_says_when_it_ends_and_its_end_says_nothing_of_it(user, environment, postgres_dsn, tmp_path):
    with (
        started("leat_runner", environment, tmp_path),
        started("leat_operator", environment, tmp_path) as operator,
    ):
        eventually(lambda: operator.ready and operator.metric("leat_operator_active") == 1, "it is active", 80)
        user.workflow("order", PACK, SHIP)
        user.run("first", "order")
        status = user.until("first", "Succeeded", 120)
        assert "estimatedFinishAt" not in status
        eventually(lambda: known(postgres_dsn, "order") == 2, "its steps are known", 120, every=0.2)

        writes = operator.metric("leat_operator_api_writes_total", resource="workflowruns/status")
        user.run("second", "order")
        told = eventually(lambda: user.status("second").get("estimatedFinishAt"), "it says when it ends", 10)
        ended = user.until("second", "Succeeded", 120)
        off = datetime.fromisoformat(told) - datetime.fromisoformat(ended["finishedAt"])
        assert abs(off.total_seconds()) < SECONDS  # half of what the run takes, on a machine with much else to do
        assert "estimatedFinishAt" not in ended
        told_times = operator.metric("leat_operator_api_writes_total", resource="workflowruns/status") - writes
        assert told_times <= 4  # accepted, after 2 and after 6 seconds, and the end
