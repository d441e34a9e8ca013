"""Grafana's dashboards as code: what they show, and how they are built, checked and pushed."""
