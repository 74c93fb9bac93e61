-- A role for those who look at what admins do. Whoever is audited does not audit, so nobody holds both roles.

alter table oauth.client
  drop constraint client_roles_check,
  add constraint client_roles_check check (
    cardinality(roles) between 1 and 6
    and roles <@ array['institution', 'device', 'allocator', 'regulator', 'admin', 'auditor']),
  add constraint nobody_audits_itself check (not roles @> array['admin', 'auditor']);
alter table oauth.person
  drop constraint person_roles_check,
  add constraint person_roles_check check (
    cardinality(roles) between 1 and 6
    and roles <@ array['institution', 'allocator', 'regulator', 'admin', 'auditor']),
  add constraint nobody_audits_itself check (not roles @> array['admin', 'auditor']);
