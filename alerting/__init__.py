"""Counts to spikes to alerts: pure detectors, the life of an alert, the ledger."""
