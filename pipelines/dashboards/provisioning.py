"""Grafana's provisioning files: data sources, where dashboards lie, contact points, alert rules.

What is secret or differs by place is left to the environment of Grafana, which puts it in.
"""

from typing import Any

from pipelines.dashboards.panels import STORE_TYPE

STORE_UID, METRICS_UID = "foreshock-store", "foreshock-metrics"
CONTACT = "Foreshock"
FOLDER = "Foreshock"

Document = dict[str, Any]


def documents(home: str) -> dict[str, Document]:
    """Name below `provisioning/` -> content; `home`: where Grafana finds the dashboards."""
    return {
        "datasources/foreshock": _data_sources(),
        "dashboards/foreshock": _provider(home),
        "alerting/foreshock-contact-points": _contact_points(),
        "alerting/foreshock-rules": _rules(),
    }


def _data_sources() -> Document:
    store = {
        "name": "Foreshock store",
        "uid": STORE_UID,
        "type": STORE_TYPE,
        "url": "$FORESHOCK_STORE_HOST",
        "user": "$FORESHOCK_STORE_USER",
        "secureJsonData": {"password": "$FORESHOCK_STORE_PASSWORD"},
        "jsonData": {
            "database": "$FORESHOCK_STORE_DATABASE",
            "sslmode": "$FORESHOCK_STORE_SSLMODE",
            "postgresVersion": 1500,
            "maxOpenConns": 10,
        },
    }
    metrics = {
        "name": "Foreshock metrics",
        "uid": METRICS_UID,
        "type": "prometheus",
        "url": "$FORESHOCK_PROMETHEUS_URL",
        "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
    }
    return {
        "apiVersion": 1,
        "datasources": [{"access": "proxy", "orgId": 1, **one} for one in (store, metrics)],
    }


def _provider(home: str) -> Document:
    provider = {
        "name": "foreshock",
        "orgId": 1,
        "folder": FOLDER,
        "folderUid": "foreshock",
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": home},
    }
    return {"apiVersion": 1, "providers": [provider]}


def _contact_points() -> Document:
    receiver = {
        "uid": "foreshock-email",
        "type": "email",
        "settings": {"addresses": "$FORESHOCK_ALERT_EMAIL", "singleEmail": True},
    }
    point = {"orgId": 1, "name": CONTACT, "receivers": [receiver]}
    return {"apiVersion": 1, "contactPoints": [point]}


UNANSWERED = """
SELECT count(*) AS value FROM alerts
WHERE state = 'open' AND severity IN ('high', 'critical') AND acknowledged_at IS NULL
  AND closed_at IS NULL AND EXISTS (SELECT 1 FROM alert_events e WHERE e.alert_id = alerts.id
    AND e.event = 'opened' AND e.recorded_at BETWEEN now() - interval '2 days'
      AND now() - interval '30 minutes')
"""

DELIVERY_FAILED = """
SELECT count(*) AS value FROM deliveries
WHERE state IN ('pending', 'dead') AND recorded_at BETWEEN now() - interval '2 days'
  AND now() - interval '15 minutes'
"""

DEAD_LETTERS = """
SELECT count(*) AS value FROM dead_letters
WHERE retried_at IS NULL AND recorded_at > now() - interval '15 minutes'
"""


def _rules() -> Document:
    """Rules over the store, for those without Prometheus: few, and none that need a stream."""
    rules = [
        _rule(
            "alert-not-acknowledged",
            "Alert not acknowledged",
            UNANSWERED,
            0,
            "critical",
            "A high or critical alert was raised half an hour ago, and nobody acknowledged it.",
            "foreshock-alerts",
        ),
        _rule(
            "delivery-outstanding",
            "Delivery outstanding",
            DELIVERY_FAILED,
            0,
            "warning",
            "Somebody should have been told of an alert a quarter of an hour ago, and was not.",
            "foreshock-alerts",
        ),
        _rule(
            "dead-letters",
            "Messages put aside",
            DEAD_LETTERS,
            100,
            "warning",
            "More than a hundred messages could not be processed within a quarter of an hour.",
            "foreshock-health",
        ),
    ]
    group = {
        "orgId": 1,
        "name": "foreshock-store",
        "folder": FOLDER,
        "interval": "1m",
        "rules": rules,
    }
    return {"apiVersion": 1, "groups": [group]}


def _rule(
    name: str, title: str, sql: str, more_than: int, severity: str, summary: str, board: str
) -> Document:
    whole = {"from": 600, "to": 0}
    ask = {"refId": "A", "rawSql": sql.strip(), "format": "table", "rawQuery": True}
    above = {
        "refId": "B",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [more_than]}}],
    }
    return {
        "uid": f"foreshock-{name}",
        "title": title,
        "condition": "B",
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": whole,
                "datasourceUid": STORE_UID,
                "model": ask,
            },
            {
                "refId": "B",
                "relativeTimeRange": whole,
                "datasourceUid": "__expr__",
                "model": above,
            },
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "5m",
        "annotations": {"summary": summary, "__dashboardUid__": board},
        "labels": {"severity": severity, "service": "foreshock"},
        "notification_settings": {"receiver": CONTACT},
    }
