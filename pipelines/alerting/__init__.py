"""*Alert*: the one process that writes alerts, the ledger and the outbox beside a live job."""
