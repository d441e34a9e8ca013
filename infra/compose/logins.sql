-- The users of the store besides its owner, with the roles that `foreshock database upgrade --roles`
-- makes; passwords come from files in the folder that FOLDER names. Run by psql, as often as you like.
\set ON_ERROR_STOP on
\set job_password `cat "$FOLDER/store_job"`
\set reader_password `cat "$FOLDER/store_reader"`

SELECT format('CREATE ROLE %I LOGIN', name)
FROM (VALUES ('foreshock_job'), ('foreshock_grafana')) AS wanted (name)
WHERE name NOT IN (SELECT rolname FROM pg_roles)
\gexec

ALTER ROLE foreshock_job PASSWORD :'job_password';
ALTER ROLE foreshock_grafana PASSWORD :'reader_password';
ALTER ROLE foreshock_grafana SET jit = off; -- compiling such short queries takes longer than they do
GRANT foreshock_writer TO foreshock_job;
GRANT foreshock_reader TO foreshock_grafana;
