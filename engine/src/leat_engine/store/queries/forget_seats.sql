-- forget_seats: seats, and places in lines, of steps that are over.
delete from leat.seat t using leat.seat_now n
where n.over and n.run_id = t.run_id and n.scope = t.scope and n.step_id = t.step_id;
