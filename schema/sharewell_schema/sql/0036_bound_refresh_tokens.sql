-- A refresh token of an app without a key of its own is bound to the key by which its first access token was proven (RFC
-- 9449, 5), also where none was named when it asked for consent: then it is the family's.

alter table oauth.refresh add column key text check (length(key) = 43);
