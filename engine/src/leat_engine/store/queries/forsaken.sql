-- forsaken: dead runners that still hold runs.
select distinct h.runner from leat.hold h join leat.runner r on r.id = h.runner where not r.alive;
