"""Plans by revision: compiled once, kept while they are used."""

from collections import OrderedDict

from leat_engine.errors import LeatError
from leat_engine.plan import Plan, compile_plan
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store

KEPT = 256


class UnknownRevision(LeatError):
    """A run names a revision that the store does not have."""


class Plans:
    """The plans this runner has seen, least recently used first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models = load_models()
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    async def get(self, revision_id: str) -> Plan:
        """The plan of a revision.

        Raises:
            UnknownRevision: The store has no such revision.
            StoreUnavailable: Postgres does not answer.
        """
        plan = self._plans.get(revision_id)
        if plan is None:
            revision = await self._store.revision(revision_id)
            if revision is None:
                raise UnknownRevision(f"the store has no revision {revision_id}")
            plan = compile_plan(parse_spec(revision.spec), self._models, revision_id)
            self._plans[revision_id] = plan
            if len(self._plans) > KEPT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(revision_id)
        return plan
