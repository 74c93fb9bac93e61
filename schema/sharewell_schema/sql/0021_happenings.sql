-- Whoever follows what happens is told of an entry together with the things it changed; these are found by the decision.
-- Steps of transfers and runs have such an index already.
create index on sharewell.request (decision_id);
create index on sharewell.deviation (decision_id);
