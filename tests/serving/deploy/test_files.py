"""The production files: well-formed, at one with each other, and safe where it counts."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import promql_parser
import pytest
import yaml

from serving import stock
from serving.server import flags
from serving.server.metrics import Metrics

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving/deploy"
KUBERNETES = "1.33"
#: Of TensorFlow's own; the embedded server does not have them.
STOCK_ONLY = {":tensorflow:cc:saved_model:load_attempt_count"}
MODEL = tomllib.loads((ROOT / "headrace.toml").read_text())["serving"]["model_name"]


def text(name: str) -> str:
    return (DEPLOY / name).read_text()


def load(name: str) -> Any:
    return yaml.safe_load(text(name))


def manifests() -> list[tuple[str, Any]]:
    return [
        (path.name, one)
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
    ]


def manifest(kind: str) -> Any:
    return next(one for _, one in manifests() if one["kind"] == kind)


def container() -> Any:
    (only,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return only


def server() -> Any:
    return load("compose.yaml")["services"]["model-server"]


COMMANDS = {"compose": lambda: server()["command"], "kubernetes": lambda: container()["args"]}


# --- configuration files and flags -----------------------------------------------------------


def test_models_config_is_what_the_stock_server_reads() -> None:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(text("models.config"), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (MODEL, f"/models/{MODEL}")
    assert model.model_platform == "tensorflow"
    # A labelled version must stay loaded when newer ones come.
    assert model.version_labels
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"


def test_batching_and_monitoring_config_are_what_the_embedded_server_reads() -> None:
    from serving.server import configs

    batching = configs.read_batching(str(DEPLOY / "batching.config"), 1)
    assert batching.max_batch_size == 1024
    path = configs.read_monitoring(str(DEPLOY / "monitoring.config"))
    (scrape,) = load("prometheus/prometheus.yml")["scrape_configs"]
    (endpoint,) = manifest("ServiceMonitor")["spec"]["endpoints"]
    assert path == scrape["metrics_path"] == endpoint["path"]


@pytest.mark.parametrize("place", COMMANDS)
def test_every_flag_is_one_that_both_servers_know(place: str) -> None:
    words = COMMANDS[place]()
    parsed = flags.parse(words)
    assert parsed.warnings == ()
    assert (parsed.options.port, parsed.options.rest_api_port) == (8500, 8501)
    assert parsed.options.allow_version_labels_for_unavailable_models  # else the start fails
    assert parsed.options.enable_batching and parsed.options.max_num_load_retries == 2
    for word in words:
        if "=/config/" in word:
            assert (DEPLOY / word.rpartition("/")[2]).is_file()


def test_both_places_start_the_same_server() -> None:
    assert set(server()["command"]) == set(container()["args"])
    assert server()["entrypoint"] == container()["command"]
    assert server()["image"] == container()["image"] == stock.IMAGE


# --- compose -----------------------------------------------------------------------------------


def test_compose_follows_the_specification() -> None:
    # Variables are filled in before a file is checked, as compose does.
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text("compose.yaml"))
    compose_spec.PyCompose.from_yaml(filled).validate()
    with pytest.raises(ValueError, match="reed_only"):
        compose_spec.PyCompose.from_yaml(filled.replace("read_only", "reed_only"))


def test_compose_is_safe() -> None:
    services = load("compose.yaml")["services"]
    for name, service in services.items():
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", service["image"]), name
        assert service["cap_drop"] == ["ALL"]
        for volume in service["volumes"]:
            if isinstance(volume, dict):
                assert volume["read_only"] and volume["type"] == "bind"
                source = volume["source"].removeprefix("${HEADRACE_MODELS:-").removesuffix("}")
                if "runs" not in source:  # the models are there after the first run
                    assert (DEPLOY / source).exists()
    server = services["model-server"]
    assert server["read_only"] and server["user"] != "0"
    assert server["healthcheck"]["test"] == ["CMD", "bash", "/config/probe.sh", MODEL]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_ports_are_explained_with_every_limit() -> None:
    page = (DEPLOY.parents[1] / "docs/how-to/ports.md").read_text()
    for port in (8500, 8501, 9090, 3000):
        assert str(port) in page
    for flag in (
        "max_message_bytes", "max_filled_bytes", "max_inflight_bytes", "grpc_max_calls",
        "grpc_max_watches", "grpc_max_reflections", "grpc_client_seconds", "allow_reload",
        "verify_manifest", "drain_seconds",
    ):  # fmt: skip
        assert f"--{flag}" in page and hasattr(flags.Options(), flag)
    assert flags.Options().allow_reload == "loopback"


# --- kubernetes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one", [pytest.param(one, id=f"{name}-{one['kind']}") for name, one in manifests()]
)
def test_manifests_follow_the_schema(one: Any) -> None:
    if one["kind"] == "ServiceMonitor":  # its schema is not among Kubernetes' own
        assert one["apiVersion"] == "monitoring.coreos.com/v1"
        assert set(one["spec"]) <= {"selector", "endpoints", "jobLabel"}
        return
    kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_an_update_never_drops_below_what_is_ready() -> None:
    spec = manifest("Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["replicas"] > manifest("PodDisruptionBudget")["spec"]["minAvailable"] >= 1
    command = container()["readinessProbe"]["exec"]["command"]
    assert command == ["bash", "/config/probe.sh", MODEL]
    pod = spec["template"]["spec"]
    waits = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + 30


def test_pods_may_do_nothing_they_need_not() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert not pod["automountServiceAccountToken"]
    security = container()["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container()["resources"]["limits"])
    mounts = {one["name"]: one for one in container()["volumeMounts"]}
    assert mounts["models"]["readOnly"] and mounts["config"]["readOnly"]


def test_names_that_must_agree() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one["spec"].get("selector") or one["spec"]["podSelector"]
        for _, one in manifests()
        if one["kind"] in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
    ]
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= labels.items()
    ports = {port["name"] for port in container()["ports"]}
    for _, one in manifests():
        if one["kind"] == "Service":
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
    kustomization = load("kustomization.yaml")
    listed = {Path(name).name for name in kustomization["resources"]}
    assert listed == {name for name, _ in manifests()} - {"monitoring.yaml"}
    (generated,) = kustomization["configMapGenerator"]
    volumes = manifest("Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": generated["name"]}} in volumes
    for name in generated["files"]:
        assert (DEPLOY / name).is_file()


# --- metrics -----------------------------------------------------------------------------------


def expressions() -> Iterator[tuple[str, str]]:
    for group in load("prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    dashboard = json.loads(text("grafana/dashboards/serving.json"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
            yield f"panel {panel['title']}", expression


EXPRESSIONS = [pytest.param(expression, id=name) for name, expression in expressions()]


def exported() -> set[str]:
    """Names of the samples that the servers export."""
    from serving.server.errors import Code

    metrics = Metrics()
    metrics.request("m", 1, Code.OK)
    metrics.request_latency("m", "predict", "REST", 0.1, 1)
    metrics.runtime_latency("m", "predict", 0.1)
    metrics.warmup("/m/1", "OK", 1, 0.1)
    metrics.load("m", 1, 0.1, True)
    names = {
        re.split(r"[{ ]", line)[0]
        for line in metrics.text().splitlines()
        if line and line[0] != "#"
    }
    return names | STOCK_ONLY | {"up"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_asks_for_what_is_exported(expression: str) -> None:
    promql_parser.parse(expression)
    bare = re.sub(r'"[^"]*"', "", expression)
    asked = set(re.findall(r":[a-zA-Z_:]+:[a-z_]+", bare)) | set(re.findall(r"\bup\b", bare))
    assert asked and asked <= exported()


def test_alerts_say_what_to_do() -> None:
    for group in load("prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"].keys() == {"summary", "description"}


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    dashboard = json.loads(text("grafana/dashboards/serving.json"))
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}
    services = load("compose.yaml")["services"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services
    (provider,) = load("grafana/provisioning/dashboards/headrace.yaml")["providers"]
    targets = {volume["target"] for volume in services["grafana"]["volumes"][:-1]}
    assert provider["options"]["path"] in targets
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    for one, other in itertools.combinations(boxes, 2):
        assert (one["x"], one["y"]) != (other["x"], other["y"])


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus/prometheus.yml"),
        ("check", "rules", "prometheus/alerts.yml"),
        ("test", "rules", "prometheus/alerts_test.yml"),
    ],
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=DEPLOY, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- readiness ---------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    "states, ready",
    [
        ({3: "AVAILABLE"}, True),
        ({4: "LOADING", 3: "AVAILABLE"}, True),
        ({3: "LOADING"}, False),
        ({3: "END"}, False),
        ({}, False),
    ],
)
def test_only_an_available_version_makes_ready(
    monkeypatch: pytest.MonkeyPatch, states: dict[int, str], ready: bool
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/serving/client"))
    import fakes

    engine = fakes.Engine()
    engine.versions = states
    rest = fakes.Rest(engine)
    port = rest.address.rpartition(":")[2]
    try:
        assert (probe("m", port) == 0) is ready
        assert probe("other", port) != 0
    finally:
        rest.close()
    assert probe("m", port) != 0  # nobody is there


def probe(*arguments: str) -> int:
    command = ["bash", str(DEPLOY / "probe.sh"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode


def test_what_is_shipped_holds_the_files() -> None:
    assert stock.deploy_file("monitoring.config").is_file()
    assert sys.executable in stock.Start("m", Path("/m")).embedded()
