"""The settings files that the chart writes are accepted by the services' own settings classes."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from assay_core.settings import ServiceSettings, load_settings

ROOT = Path(__file__).parents[2]
CI_VALUES = sorted((ROOT / "charts" / "assay" / "ci").glob("*-values.yaml"))
CI_VALUES += sorted((ROOT / "k8s" / "values").glob("*.yaml"))


def settings_class(service):
    """The class of a service, from its file: compression and serving live in environments apart."""
    sources = str(ROOT / "services" / service / "src")
    if sources not in sys.path:
        # What the settings import of their own package, which needs no third party more.
        sys.path.append(sources)
    if service == "evaluators":
        file = ROOT / "services/evaluators/src/assay_evaluators/service/settings.py"
    else:
        file = ROOT / f"services/{service}/src/assay_{service}/settings.py"
    spec = importlib.util.spec_from_file_location(f"settings_of_{service}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ServiceSettings)
        and value is not ServiceSettings
    )
    return found


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_services_accept_their_settings(render, values, tmp_path, monkeypatch):
    found = render(values=values)
    # What the chart gives by environment, with the value a pod would have.
    monkeypatch.setenv("ASSAY_PEER_TOKEN", "x" * 43)
    monkeypatch.setenv("ASSAY_COORDINATOR_EXECUTOR_ID", "t-assay-coordinator-0")
    checked = 0
    for manifest in found.of("ConfigMap"):
        name = manifest["metadata"]["name"].removeprefix("t-assay-")
        if "config.yaml" not in manifest["data"]:
            continue
        file = tmp_path / f"{name}.yaml"
        file.write_text(manifest["data"]["config.yaml"])
        service = "evaluators" if name.startswith("evaluator-") else name
        settings = load_settings(settings_class(service), ["--config", str(file)])
        written = yaml.safe_load(file.read_text())
        assert settings.data_uri == written["data_uri"]
        assert settings.health_listen == "0.0.0.0:7600"
        checked += 1
    services = {name for kind in ("Deployment", "StatefulSet") for name in found.names(kind)}
    assert checked == len(
        [n for n in services if not n.endswith(("-head", "-worker", "-postgres"))]
    )


@pytest.mark.parametrize(
    ("component", "program"),
    [("coordinator", "coordinator"), ("compression", "compression"), ("serving", "serving"),
     ("evaluator-ethics", "evaluators")],
)  # fmt: skip
def test_commands_are_programs_of_the_package_in_the_image(render, component, program):
    found = render()
    kind = "StatefulSet" if component == "coordinator" else "Deployment"
    pod = found.one(kind, f"t-assay-{component}")["spec"]["template"]["spec"]
    (command,) = pod["containers"][0]["command"]
    project = tomllib.loads((ROOT / "services" / program / "pyproject.toml").read_text())
    assert command in project["project"]["scripts"]
    assert f'ENTRYPOINT ["{command}"]' in (ROOT / "services" / program / "Dockerfile").read_text()


def test_every_dimension_that_is_installed_is_deployed_and_no_other():
    values = yaml.safe_load((ROOT / "charts/assay/values.yaml").read_text())
    project = tomllib.loads((ROOT / "services/evaluators/pyproject.toml").read_text())["project"]
    installed = project["entry-points"]["assay.dimensions"]
    assert values["evaluators"]["dimensions"].keys() == installed.keys()
