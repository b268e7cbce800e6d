# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes: against the schemas of Kubernetes (which kubernetes-validate has in it: no network is asked),
against itself, and against the options that the command takes. `make deploy-test` runs it, with what it needs."""
import os
import pathlib
import subprocess

import pytest

yaml = pytest.importorskip("yaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate")
jsonschema = pytest.importorskip("jsonschema")

KITH = os.environ.get("KITH_BIN", "build/kith")
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.32", kubernetes_validate.latest_version())

# Of kinds that are not Kubernetes' own: what their definitions say of the members used here, no more.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SELECTOR = {"type": "object", "additionalProperties": False, "required": ["matchLabels"],
            "properties": {"matchLabels": TEXTS}}
COUNT = {"type": "integer", "minimum": 0}
BEHAVIOUR = {"type": "object", "additionalProperties": False, "properties": {
    way: {"type": "object", "additionalProperties": False, "properties": {"stabilizationWindowSeconds": COUNT}}
    for way in ("scaleUp", "scaleDown")}}
OTHERS = {
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "type": "object", "additionalProperties": False, "required": ["scaleTargetRef", "triggers"], "properties": {
            "scaleTargetRef": {"type": "object", "additionalProperties": False, "required": ["name"], "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"}}},
            "minReplicaCount": COUNT, "maxReplicaCount": COUNT, "pollingInterval": COUNT,
            "fallback": {"type": "object", "additionalProperties": False, "required": ["failureThreshold", "replicas"],
                         "properties": {"failureThreshold": COUNT, "replicas": COUNT}},
            "advanced": {"type": "object", "additionalProperties": False, "properties": {
                "horizontalPodAutoscalerConfig": {"type": "object", "additionalProperties": False,
                                                  "properties": {"behavior": BEHAVIOUR}}}},
            "triggers": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "required": ["type", "metadata"], "properties": {
                    "type": {"const": "metrics-api"}, "metricType": {"enum": ["AverageValue", "Value"]},
                    "metadata": {"type": "object", "additionalProperties": False,
                                 "required": ["url", "valueLocation", "targetValue"], "properties": {
                                     "url": {"type": "string"}, "format": {"enum": ["json"]},
                                     "valueLocation": {"type": "string"}, "targetValue": {"type": "string"}}}}}}}},
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "type": "object", "additionalProperties": False, "required": ["selector", "endpoints"], "properties": {
            "selector": SELECTOR, "targetLabels": {"type": "array", "items": {"type": "string"}},
            "endpoints": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "properties": {
                    "port": {"type": "string"}, "path": {"type": "string"}, "interval": {"type": "string"},
                    "scrapeTimeout": {"type": "string"},
                    "authorization": {"type": "object", "additionalProperties": False, "properties": {
                        "type": {"type": "string"}, "credentials": {"type": "object", "required": ["name", "key"],
                                                                    "additionalProperties": False, "properties": {
                            "name": {"type": "string"}, "key": {"type": "string"}}}}}}}}}},
}


def documents():
    return [(path, one) for path in FILES for one in yaml.safe_load_all(path.read_text()) if one]


ALL = documents()
NAMES = [f"{one['kind']}-{one['metadata']['name']}" for _, one in ALL]


def of_kind(*kinds):
    return [one for _, one in ALL if one["kind"] in kinds]


def templates():
    return {one["metadata"]["name"]: one["spec"]["template"] for one in of_kind("Deployment", "StatefulSet")}


def containers():
    for name, template in templates().items():
        for container in template["spec"]["containers"] + template["spec"].get("initContainers", []):
            yield name, template, container


def matches(selector, labels):
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def pods_of(selector):
    return [name for name, template in templates().items() if matches(selector, template["metadata"]["labels"])]


@pytest.mark.parametrize("one", [one for _, one in ALL], ids=NAMES)
def test_schema(one):
    kind = (one["apiVersion"], one["kind"])
    if kind in OTHERS:
        jsonschema.validate(one["spec"], OTHERS[kind])
        assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
        return
    for version in VERSIONS:
        kubernetes_validate.validate(one, version, strict=True)


def test_schemas_refuse_what_is_misspelt():
    hpa = of_kind("HorizontalPodAutoscaler")[0]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**hpa, "spec": {**hpa["spec"], "minReplica": 2}}, VERSIONS[0], strict=True)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"selector": {}, "endpoints": []}, OTHERS["monitoring.coreos.com/v1", "ServiceMonitor"])


def test_everything_is_applied():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert sorted(listed["resources"]) == sorted(path.name for path in FILES if path.parent == FOLDER)
    keda = yaml.safe_load((FOLDER / "keda" / "kustomization.yaml").read_text())
    assert keda["resources"] == [".."] + [path.name for path in FILES if path.parent != FOLDER]
    removed = yaml.safe_load(keda["patches"][0]["patch"])
    assert removed["$patch"] == "delete"
    assert removed["metadata"]["name"] == of_kind("HorizontalPodAutoscaler")[0]["metadata"]["name"]
    assert {image["name"] for image in listed["images"]} == {container["image"] for _, _, container in containers()}


def test_selectors_find_what_they_name():
    for one in of_kind("Deployment", "StatefulSet"):
        assert pods_of(one["spec"]["selector"]) == [one["metadata"]["name"]]
    for service in of_kind("Service"):
        pods = pods_of({"matchLabels": service["spec"]["selector"]})
        assert len(pods) == 1
        ports = {port["name"] for c in templates()[pods[0]]["spec"]["containers"] for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        monitored = of_kind("ServiceMonitor")[0]["spec"]
        assert matches(monitored["selector"], service["metadata"]["labels"])
        assert {end["port"] for end in monitored["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
    for one in of_kind("PodDisruptionBudget"):
        assert len(pods_of(one["spec"]["selector"])) == 1
    assert sorted(pods_of(one["spec"]["podSelector"])[0] for one in of_kind("NetworkPolicy")) == sorted(templates())
    for one in of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        assert one["spec"]["scaleTargetRef"]["name"] in templates()
    for one in of_kind("StatefulSet"):
        assert one["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind("Service")}


def test_what_is_mounted_is_there():
    claims = {one["metadata"]["name"] for one in of_kind("PersistentVolumeClaim")}
    for name, template, container in containers():
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        owner = next(one for one in of_kind("Deployment", "StatefulSet") if one["metadata"]["name"] == name)
        own = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        for mount in container["volumeMounts"]:
            assert mount["name"] in volumes or mount["name"] in own
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName", next(iter(claims))) in claims


def test_hardened():
    for _, template, container in containers():
        pod, own = template["spec"], container["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
    for name, template in templates().items():
        for container in template["spec"]["containers"]:
            assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_least_and_the_most_agree():
    [hpa], [keda] = of_kind("HorizontalPodAutoscaler"), of_kind("ScaledObject")
    arguments = templates()["kith-autoscale"]["spec"]["containers"][0]["args"]
    bounds = [int(next(a for a in arguments if a.startswith(name)).split("=")[1]) for name in ("--min=", "--max=")]
    assert bounds == [hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]]
    assert bounds == [keda["spec"]["minReplicaCount"], keda["spec"]["maxReplicaCount"]]


COMMANDS = [(name, container["args"]) for name, _, container in containers()
            if container["command"] == ["/usr/local/bin/kith"]]


@pytest.mark.parametrize("name, arguments", COMMANDS)
def test_the_command_takes_these_options(name, arguments):
    done = subprocess.run([KITH, *arguments, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    misspelt = subprocess.run([KITH, *arguments, "--addres=x", "--help"], capture_output=True, text=True, timeout=60)
    assert misspelt.returncode == 2
