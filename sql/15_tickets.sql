-- Questions that a vendor answers later. The rules at the head of 10_tables.sql hold here, too.

-- What providers owe, one row for each question that was handed in. Written by the background worker, so that no rollback
-- takes away what is to be paid.
CREATE TABLE leadlex.ticket (
    workspace_id uuid NOT NULL,
    question     uuid NOT NULL,
    provider_id  uuid NOT NULL,
    kept_at      timestamptz NOT NULL,
    submitted_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    known        uuid NOT NULL,
    ticket       jsonb NOT NULL,
    person       uuid NOT NULL,
    vendor_id    uuid,
    whom         uuid,
    PRIMARY KEY (workspace_id, question)
);
-- For the worker: whether the vendor gave the same id for somebody else.
CREATE INDEX ticket_vendor_id ON leadlex.ticket (provider_id, vendor_id) WHERE vendor_id IS NOT NULL;
-- For the worker: which are over their time.
CREATE INDEX ticket_expires_at ON leadlex.ticket (expires_at);
-- For leadlex.forget_contact.
CREATE INDEX ticket_person ON leadlex.ticket (person, workspace_id) WHERE person IS NOT NULL;
COMMENT ON TABLE leadlex.ticket IS 'Questions that were handed in to providers with steps, and are not answered yet: nothing is handed in twice. Over with the answer, or after poll_for_s of the provider; what the vendor called it stays for as long as an answer is kept. Readable by the extension''s owner only.';
COMMENT ON COLUMN leadlex.ticket.workspace_id IS 'who asked';
COMMENT ON COLUMN leadlex.ticket.question IS 'hash of workspace, provider, what of its description is sent, and the identifying values';
COMMENT ON COLUMN leadlex.ticket.provider_id IS 'leadlex.provider_config.id';
COMMENT ON COLUMN leadlex.ticket.kept_at IS 'when the last step was answered';
COMMENT ON COLUMN leadlex.ticket.submitted_at IS 'when the first step was answered';
COMMENT ON COLUMN leadlex.ticket.expires_at IS 'when it is given up, or was over';
COMMENT ON COLUMN leadlex.ticket.known IS 'hash of all identifying values that were known';
COMMENT ON COLUMN leadlex.ticket.ticket IS 'what the steps took (never a login''s values), what they supplied, and when to ask again';
COMMENT ON COLUMN leadlex.ticket.person IS 'hash of the contact''s table and key, for leadlex.forget_contact';
COMMENT ON COLUMN leadlex.ticket.vendor_id IS 'hash of what the vendor calls it, where it is to be asked for later; NULL also where that was another''s';
COMMENT ON COLUMN leadlex.ticket.whom IS 'hash of whom it was asked about: the name, where that is sent, else what identifies';

-- Nobody looks for rows by it.
ALTER TABLE leadlex.ticket ALTER COLUMN ticket SET STATISTICS 0;

SELECT pg_catalog.pg_extension_config_dump('leadlex.ticket', '');
