-- Two roles of least privilege on the tables of one database. Run it as the owner of the tables,
-- after they were made or migrated; then give the roles to users: GRANT foreshock_writer TO jane;
--
-- foreshock_writer: pipelines and people who decide. It adds to the ledger and can neither change
--   nor remove a row of it, nor erase a text: that is the owner's.
-- foreshock_reader: dashboards, the export and whoever verifies.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'foreshock_writer') THEN
        CREATE ROLE foreshock_writer NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'foreshock_reader') THEN
        CREATE ROLE foreshock_reader NOLOGIN;
    END IF;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, foreshock_writer, foreshock_reader;
GRANT USAGE ON SCHEMA public TO foreshock_writer, foreshock_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO foreshock_writer, foreshock_reader;

GRANT INSERT ON alert_events, rule_versions, incident_members TO foreshock_writer;
GRANT INSERT, UPDATE ON
    messages, tags, window_stats, spikes, alerts, evidence_salts, deliveries, dead_letters,
    late_messages, runs, silences
    TO foreshock_writer;
GRANT INSERT, UPDATE, DELETE ON run_state TO foreshock_writer;

-- The console. Passwords and keys lie there as hashes only, and still are none of a reader's.
GRANT INSERT ON account_events, corrections TO foreshock_writer;
GRANT INSERT, UPDATE ON users, api_keys TO foreshock_writer;
GRANT INSERT, UPDATE, DELETE ON sessions TO foreshock_writer;
REVOKE ALL ON users, api_keys, sessions FROM foreshock_reader;
