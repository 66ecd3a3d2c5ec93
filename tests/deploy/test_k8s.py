"""The manifests of ``service/k8s``: rendered, held to Kubernetes' schemas, and to the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.kustomize import Manifest, documents, identity, merged, render
from voicecore.service.__main__ import HARD_EXIT_S
from voicecore.service.access_fields import AccessFields
from voicecore.service.calls import GOODBYES_S
from voicecore.service.config import Settings
from voicecore.service.config_load import load, variable_name
from voicecore.service.metrics import Metrics
from voicecore.service.probe import cli
from voicecore.service.setting_types import IceServer
from voicecore.transport.ice_servers import read

K8S = Path(__file__).parents[2] / "service" / "k8s"
OVERLAYS = ("hostnetwork", "nodeport")
FOLDERS = ("base", *(f"overlays/{name}" for name in OVERLAYS))
VERSIONS = ("1.30.0", "1.37.0")
"""The oldest that the manifests are for, and the newest whose schemas are installed."""
CUSTOM = {"ScaledObject"}
"""Kinds that Kubernetes' own schemas don't have."""
NOT_APPLIED = {"components/hpa/prometheus-adapter.yaml"}
SECRET = "of the test, of no use"
FIELDS = {
    "status.podIP": "10.1.2.3",
    "status.hostIP": "192.0.2.10",
    "metadata.name": "voicecore-7d9f8b6c5-x2x9z",
}
PROBE_VARIABLES = {cli.KEY_VARIABLE, f"{cli.KEY_VARIABLE}_FILE", "VOICECORE_CONFIG"}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(K8S / "overlays" / request.param)


IMAGES = r"(registry\.example\.org/voicecore|docker\.io/library/haproxy):[\d.]+"
BALANCERS = {"app.kubernetes.io/name": "haproxy"}


def one(manifests: list[Manifest], kind: str, name: str = "voicecore") -> Manifest:
    (found,) = [m for m in manifests if identity(m) == (kind, name)]
    return found


def pod_of(manifest: Manifest) -> dict[str, Any]:
    spec = manifest["spec"]
    result: dict[str, Any] = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]
    return result


def container(manifests: list[Manifest]) -> dict[str, Any]:
    (only,) = pod_of(one(manifests, "Deployment"))["spec"]["containers"]
    result: dict[str, Any] = only
    return result


def pods(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [pod_of(m) for m in manifests if m["kind"] in ("Deployment", "CronJob")]


# -- Kubernetes' side -------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_manifest_is_valid_strictly(folder: str) -> None:
    manifests = render(K8S / folder)
    assert len(manifests) >= 8
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            # Overlays have no field that the base hasn't, as far as versions go.
            for version in VERSIONS if folder == "base" else VERSIONS[-1:]:
                kubernetes_validate.validate(manifest, version, strict=True)


def test_validation_notices_what_is_wrong() -> None:
    manifest = one(render(K8S / "base"), "Deployment")
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_no_file_lies_about_unused() -> None:
    used = {K8S / name for name in NOT_APPLIED}
    for kustomization in K8S.rglob("kustomization.yaml"):
        (content,) = documents(kustomization)
        used.add(kustomization)
        named = content.get("resources", []) + [p["path"] for p in content.get("patches", [])]
        used |= {(kustomization.parent / name).resolve() for name in named}
    assert {path for path in K8S.rglob("*.yaml") if path not in used} == set()
    for name in NOT_APPLIED:
        assert yaml.safe_load((K8S / name).read_text())["rules"]["custom"]


def test_a_scaled_object_is_as_keda_wants_it() -> None:
    scaled = one(render(K8S / "overlays/nodeport"), "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaled["spec"]
    assert spec["scaleTargetRef"] == {"name": "voicecore"}
    assert 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert {"serverAddress", "query", "threshold"} == set(trigger["metadata"])
    # What stands under advanced is a HorizontalPodAutoscaler's own.
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    hpa = one(render(K8S / "overlays/hostnetwork"), "HorizontalPodAutoscaler")
    hpa["spec"]["behavior"] = behavior
    kubernetes_validate.validate(hpa, VERSIONS[-1], strict=True)


def test_every_pod_is_confined(overlay: list[Manifest]) -> None:
    assert len(pods(overlay)) == 3
    for pod in pods(overlay):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 10_000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in spec["containers"]:
            context = each["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert re.match(
                r"(registry\.example\.org/voicecore|docker\.io/library/haproxy):", each["image"]
            )
            assert "cpu" not in each["resources"]["limits"]
            assert each["resources"]["limits"]["memory"]
            for mount in each["volumeMounts"]:
                assert mount["name"] in {volume["name"] for volume in spec["volumes"]}


def test_selectors_find_the_pods_and_nothing_else(overlay: list[Manifest]) -> None:
    labels = pod_of(one(overlay, "Deployment"))["metadata"]["labels"]
    probe = pod_of(one(overlay, "CronJob", "voicecore-probe"))["metadata"]["labels"]
    selectors = [one(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [m["spec"]["selector"] for m in overlay if m["kind"] == "Service"]
    selectors.append(one(overlay, "Deployment")["spec"]["selector"]["matchLabels"])
    selectors.append(one(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors = [s for s in selectors if s != BALANCERS]
    assert len(selectors) >= 5
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= probe.items()


def test_secrets_are_named_and_never_held(overlay: list[Manifest]) -> None:
    assert "Secret" not in {m["kind"] for m in overlay}
    readme = (K8S / "README.md").read_text()
    for pod in pods(overlay):
        (volume,) = [v for v in pod["spec"]["volumes"] if "secret" in v]
        if pod["metadata"]["labels"] == BALANCERS:
            assert f"secret tls {volume['secret']['secretName']} " in readme
            continue
        (only,) = pod["spec"]["containers"]
        (mount,) = [m for m in only["volumeMounts"] if m["name"] == volume["name"]]
        files = [e["value"] for e in only["env"] if e["name"].endswith("_FILE")]
        assert files
        for file in files:
            folder, _, key = file.rpartition("/")
            assert folder == mount["mountPath"]
            assert f"--from-file={key}" in readme
    secret = {variable_name(n) for n in AccessFields.model_fields if "key" in n or "token" in n}
    plain = {e["name"] for e in container(overlay)["env"]}
    assert not plain & secret


# -- the service's side -------------------------------------------------------------------


def into_surroundings(manifests: list[Manifest], tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """The pod's variables and files, as the service would find them."""
    values: dict[str, str] = {}
    for entry in container(manifests)["env"]:
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        values[entry["name"]] = FIELDS[field] if field else entry["value"]
    for name, value in values.items():
        for other, known in values.items():
            value = value.replace(f"$({other})", known)
        assert "$(" not in value
        if name.endswith("_FILE"):
            file = tmp_path / Path(value).name
            file.write_text(f"probe=of-the-test-{name.lower()}" if "API_KEYS" in name else SECRET)
            if "REDIS" in name:
                file.write_text("redis://redis:6379/0")
            value = str(file)
        if name == "VOICECORE_CONFIG":
            config = next(m for m in manifests if m["kind"] == "ConfigMap")
            file = tmp_path / Path(value).name
            file.write_text(config["data"][file.name])
            value = str(file)
        patch.setenv(name, value)


@pytest.fixture
def settings(overlay: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    into_surroundings(overlay, tmp_path, monkeypatch)
    loaded = load({})
    assert loaded.warnings == ()
    return loaded.settings


def test_the_probe_may_name_the_balancer_so(settings: Settings, overlay: list[Manifest]) -> None:
    (prober,) = pod_of(one(overlay, "CronJob", "voicecore-probe"))["spec"]["containers"]
    name = urlsplit(prober["args"][0]).hostname
    assert name in settings.allowed_hosts
    service = one(overlay, "Service", str(name))["spec"]
    assert service["selector"] == BALANCERS
    assert [port["port"] for port in service["ports"]] == [80]


def test_every_variable_is_a_setting(overlay: list[Manifest]) -> None:
    known = {variable_name(name) for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known} | PROBE_VARIABLES
    for pod in pods(overlay):
        if pod["metadata"]["labels"] == BALANCERS:
            continue  # its own variables begin like ours: test_haproxy_k8s.py
        for each in pod["spec"]["containers"]:
            ours = {e["name"] for e in each["env"] if e["name"].startswith("VOICECORE_")}
            assert ours
            assert ours <= known


def test_the_service_takes_the_settings(settings: Settings, overlay: list[Manifest]) -> None:
    assert settings.instance == FIELDS["metadata.name"]
    assert settings.advertise_url == "http://10.1.2.3:8080"
    assert settings.needs_key
    assert settings.admin_token.get_secret_value() == SECRET
    assert settings.redis_url.get_secret_value().startswith("redis://")
    if any(m["kind"] == "Service" and m["spec"].get("type") == "NodePort" for m in overlay):
        assert settings.public_ip == ["192.0.2.10"]
        assert settings.turn_urls


def test_ports_are_the_same_everywhere(settings: Settings, overlay: list[Manifest]) -> None:
    ports = {p["name"]: (p["containerPort"], p["protocol"]) for p in container(overlay)["ports"]}
    assert ports == {
        "http": (settings.port, "TCP"),
        "admin": (settings.admin_port, "TCP"),
        "media": (settings.udp_port, "UDP"),
    }
    pod = pod_of(one(overlay, "Deployment"))["spec"]
    if pod.get("hostNetwork"):
        assert all(p["hostPort"] == p["containerPort"] for p in container(overlay)["ports"])
    else:
        service = one(overlay, "Service", "voicecore-media")["spec"]
        (media,) = service["ports"]
        assert {media["port"], media["nodePort"]} == {settings.udp_port}
        assert service["externalTrafficPolicy"] == "Local"
    open_ = one(overlay, "NetworkPolicy")["spec"]["ingress"]
    assert {(p["port"], p["protocol"]) for rule in open_ for p in rule["ports"]} == set(
        ports.values()
    )
    (admin,) = [r for r in open_ if {"port": settings.admin_port, "protocol": "TCP"} in r["ports"]]
    assert admin["from"]
    annotations = pod_of(one(overlay, "Deployment"))["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.admin_port)


def test_prometheus_finds_the_pods_by_a_port_that_they_have(
    settings: Settings, overlay: list[Manifest]
) -> None:
    text = (K8S.parent / "prometheus" / "prometheus.yml").read_text()
    commented = text.partition("  # In Kubernetes")[2].partition("\n")[2]
    (job,) = yaml.safe_load(re.sub(r"^  #", "", commented, flags=re.M))
    (by_port,) = [rule for rule in job["relabel_configs"] if rule.get("action") == "keep"]
    named = {p["name"]: p["containerPort"] for p in container(overlay)["ports"]}
    assert named[by_port["regex"]] == settings.admin_port, "where metrics are told"


def test_pods_may_ask_the_turn_servers_whether_they_work(
    settings: Settings, overlay: list[Manifest]
) -> None:
    ours = pod_of(one(overlay, "Deployment"))["metadata"]["labels"]
    policies = [m["spec"] for m in overlay if m["kind"] == "NetworkPolicy"]
    rules = [
        rule
        for spec in policies
        if spec["podSelector"]["matchLabels"].items() <= ours.items()
        for rule in spec["egress"]
    ]
    open_ = {(p.get("port"), p["protocol"]) for rule in rules for p in rule["ports"]}
    for url in settings.turn_urls:
        _, (server,) = read([IceServer(urls=[url], username="u", credential="p")])
        protocol = server.transport.upper()
        assert {(server.port, protocol), (None, protocol)} & open_, server.url


def test_a_drain_has_the_time_it_takes(settings: Settings, overlay: list[Manifest]) -> None:
    pre_stop_s = container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = pre_stop_s + settings.drain_timeout_s + GOODBYES_S + HARD_EXIT_S
    assert pod_of(one(overlay, "Deployment"))["spec"]["terminationGracePeriodSeconds"] >= needed_s


def test_an_update_keeps_as_many_pods_as_the_overlay_can(overlay: list[Manifest]) -> None:
    deployment = one(overlay, "Deployment")["spec"]
    rolling = deployment["strategy"]["rollingUpdate"]
    assert {rolling["maxSurge"], rolling["maxUnavailable"]} == {0, 1}
    assert one(overlay, "PodDisruptionBudget")["spec"]["maxUnavailable"] < deployment["replicas"]


def test_probes_ask_for_what_is_there(overlay: list[Manifest]) -> None:
    only = container(overlay)
    for name, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert only[name]["httpGet"] == {"path": path, "port": "http"}
    startup = only["startupProbe"]
    check_probe_command(startup["exec"]["command"], startup["timeoutSeconds"])
    job = one(overlay, "CronJob", "voicecore-probe")["spec"]["jobTemplate"]["spec"]
    (prober,) = job["template"]["spec"]["containers"]
    check_probe_command(prober["command"] + prober["args"], job["activeDeadlineSeconds"])


def check_probe_command(command: list[str], limit_s: int) -> None:
    assert command[:3] == ["python", "-m", "voicecore.service.probe"]
    assert limit_s >= cli.build_parser().parse_args(command[3:]).timeout + 3


def test_deep_readiness_waits_as_long_as_a_request_may() -> None:
    from voicecore.service.probe.deep_check import WAIT_S

    (patch,) = documents(K8S / "components/deep-readiness/deployment.yaml")
    manifest = merged(one(render(K8S / "base"), "Deployment"), patch)
    kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    (only,) = pod_of(manifest)["spec"]["containers"]
    assert only["readinessProbe"]["httpGet"]["path"] == "/readyz?deep=1"
    assert only["readinessProbe"]["timeoutSeconds"] > WAIT_S
    assert only["image"]


def test_pods_are_added_by_a_metric_that_there_is(
    settings: Settings, overlay: list[Manifest]
) -> None:
    names = {
        sample.name
        for family in text_string_to_metric_families(Metrics().render()[0].decode())
        for sample in family.samples
    }
    scalers = [m for m in overlay if m["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    (scaler,) = scalers
    if scaler["kind"] == "ScaledObject":
        (trigger,) = scaler["spec"]["triggers"]
        query, target = trigger["metadata"]["query"], trigger["metadata"]["threshold"]
    else:
        (metric,) = scaler["spec"]["metrics"]
        query = metric["pods"]["metric"]["name"]
        target = metric["pods"]["target"]["averageValue"]
    assert "voicecore_calls_active" in query
    assert "voicecore_calls_active" in names
    assert 0.5 <= int(target) / settings.max_calls <= 0.7


# -- the renderer -------------------------------------------------------------------------


def test_a_strategic_merge() -> None:
    under = {"env": [{"name": "a", "value": "1"}, {"name": "b"}], "args": ["x"], "keep": {"k": 1}}
    over = {"env": [{"name": "a", "value": "2"}, {"name": "c"}], "args": ["y"], "keep": {"l": 2}}
    assert merged(under, over) == {
        "env": [{"name": "a", "value": "2"}, {"name": "b"}, {"name": "c"}],
        "args": ["y"],
        "keep": {"k": 1, "l": 2},
    }
    assert under["args"] == ["x"]


def test_settings_that_change_are_another_config_map(tmp_path: Path) -> None:
    for path in K8S.rglob("*"):
        if path.is_file():
            copied = tmp_path / path.relative_to(K8S)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    before = render(tmp_path / "base")
    toml = tmp_path / "base/voicecore.toml"
    toml.write_text(toml.read_text().replace("max_calls = 8", "max_calls = 9"))
    after = render(tmp_path / "base")

    def named(manifests: list[Manifest]) -> str:
        (volume,) = [
            v for v in pod_of(one(manifests, "Deployment"))["spec"]["volumes"] if "configMap" in v
        ]
        name: str = volume["configMap"]["name"]
        assert one(manifests, "ConfigMap", name)
        return name

    assert named(before) != named(after)
