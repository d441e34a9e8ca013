"""Arithmetic that turns token ids into logits: one protocol, one module for each engine."""
