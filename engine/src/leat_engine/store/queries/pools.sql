-- pools: pools that have ready attempts.
select distinct pool from leat.ready;
