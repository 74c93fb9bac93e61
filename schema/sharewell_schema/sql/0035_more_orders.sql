-- Lists that are ordered by a column which had no index: as in 0027, a page begins in it just behind its cursor.

create index on sharewell.agreement (until, id);
create index on sharewell.consent (until, id);
create index on sharewell.forecast_run (origin, id);
