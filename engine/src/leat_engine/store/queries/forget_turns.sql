-- forget_turns: turns of tries that are over, which no key would meet again.
delete from leat.turn t using leat.turn_now n
where not n.stands and n.run_id = t.run_id and n.scope = t.scope and n.step_id = t.step_id and n.try = t.try;
