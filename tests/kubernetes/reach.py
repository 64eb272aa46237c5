"""Who reaches whom by the NetworkPolicies of a manifest, as networking.k8s.io/v1 says: both ends must allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.kubernetes.rendering import Document


@dataclass(frozen=True)
class End:
    """One end: a pod of ``namespace``, or an address outside."""

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None


def reaches(documents: Sequence[Document], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether ``source`` may open a connection to ``port`` of ``target``."""
    return _allowed(documents, source, "Egress", target, port, protocol) and _allowed(
        documents, target, "Ingress", source, port, protocol
    )


def _allowed(documents: Sequence[Document], here: End, direction: str, there: End, port: int, protocol: str) -> bool:
    policies = [
        document["spec"]
        for document in documents
        if document["kind"] == "NetworkPolicy"
        and document["metadata"]["namespace"] == here.namespace
        and direction in document["spec"]["policyTypes"]
        and _matches(document["spec"]["podSelector"], here.labels)
    ]
    if not policies:
        return True
    members = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _port(rule, port, protocol) and (members[1] not in rule or any(_peer(peer, here, there) for peer in rule[members[1]]))
        for policy in policies
        for rule in policy.get(members[0], ())
    )


def _port(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    return "ports" not in rule or any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in rule["ports"])


def _peer(peer: Mapping[str, Any], here: End, there: End) -> bool:
    if block := peer.get("ipBlock"):
        if there.address is None:
            return False
        address = ip_address(there.address)
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(hole) for hole in block.get("except", ()))
    if there.namespace is None:
        return False
    if "namespaceSelector" in peer:
        if not _matches(peer["namespaceSelector"], there.namespace_labels):
            return False
    elif there.namespace != here.namespace:
        return False
    return "podSelector" not in peer or _matches(peer["podSelector"], there.labels)


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
