"""What the dashboard and the alerts ask for: their expressions, and the names in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[2] / "service"
DASHBOARD = FILES / "grafana" / "voicecore.json"
ALERTS = FILES / "prometheus" / "alerts.yml"

_SELECTOR = re.compile(r"\b((?:voicecore|process|up)\w*)\s*(?:\{(.*?)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Query:
    """One expression, and where it stands."""

    place: str
    expr: str

    def selectors(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """Each series it asks for: its name, and ``(label, operator, value)`` of its matchers."""
        return [
            (name, _MATCHER.findall(inside or ""))
            for name, inside in _SELECTOR.findall(self.expr)
            if name == "up" or "_" in name
        ]

    def grouped(self) -> set[str]:
        """Labels it groups by."""
        found = ",".join(_GROUPED.findall(self.expr)).split(",")
        return {label.strip() for label in found if label.strip()}


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> list[Query]:
    return [
        Query(f"{panel['title']} {target['refId']}", target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def alert_queries() -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alerts()]
