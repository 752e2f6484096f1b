"""How long the API server is asked to take a status."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from leat_operator import patch
from leat_operator.cluster import Cluster, ClusterUnavailable, Forbidden
from leat_operator.objects import RUNS, Ref
from leat_operator.patch import Patched, Patcher


class Strict:
    """An API server that takes no status of the namespace `closed`, and is away for the first two tries."""

    def __init__(self) -> None:
        self.away = 2
        self.taken: list[str] = []

    async def patch_status(self, ref: Ref, _status: Mapping[str, Any]) -> Mapping[str, Any]:
        if ref.namespace == "closed":
            raise Forbidden('admission webhook "policy" denied the request')
        if self.away:
            self.away -= 1
            raise ClusterUnavailable("it is away")
        self.taken.append(ref.name)
        return {}


async def test_statuses_that_a_policy_denies_do_not_hold_the_slots_of_the_others(monkeypatch):
    monkeypatch.setattr(patch, "FORBIDDEN_SECONDS", 0.3)
    server = Strict()
    patcher = Patcher(cast("Cluster", server), rate=1000, in_flight=2)
    denied = [patcher.patch(Ref(RUNS, "closed", f"d{n}", f"d{n}"), dict) for n in range(4)]
    taken = [patcher.patch(Ref(RUNS, "open", f"t{n}", f"t{n}"), dict) for n in range(4)]
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*denied, *taken)
    assert outcomes == [Patched.REFUSED] * 4 + [Patched.DONE] * 4
    assert sorted(server.taken) == ["t0", "t1", "t2", "t3"]
