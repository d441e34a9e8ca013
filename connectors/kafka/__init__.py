"""Kafka: settings, a resumable reader, a sink that waits for the broker's word."""
