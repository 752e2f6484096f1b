"""A slot is reserved for a step that this commit begins, and for no other: what is never given back blocks a runner."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.support.load import plan_of

from leat_engine.decide import Finished, decide
from leat_engine.result import Result, State
from leat_engine.view import RunView

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FIRST = {"name": "first", "function": {"name": "add"}}
BROKEN = {"name": "broken", "needs": ["first"], "fail": {"message": "broken on purpose"}}
BESIDE = {"name": "beside", "needs": ["first"], "function": {"name": "add"}}
JOIN = {"name": "join", "needs": ["first", "other"], "function": {"name": "add"}}
OTHER = {"name": "other", "function": {"name": "add"}}


@pytest.mark.parametrize("steps", [[FIRST, BROKEN, BESIDE], [FIRST, OTHER, BROKEN, JOIN]])
@pytest.mark.parametrize("complete", [True, False])
def test_a_failure_reserves_no_slot_for_the_steps_beside_it_which_never_begin(steps, complete):
    view = RunView(UUID(int=1), plan_of({"steps": steps}), "test", "run", {}, complete=complete)
    view.live.update(view.plan.roots)
    taken = []

    def take(node):
        taken.append(node.id)
        return True

    decision = decide(view, [Finished(1, 1, Result(State.SUCCEEDED, 1))], take, NOW)
    begun = [new.step for new in decision.next if new.state is State.CLAIMED]
    assert taken == begun
