"""Real HTTP servers that speak the protocols of S3 and of Google Cloud Storage."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
import fsspec
import requests
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}
REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    """A running S3 that checks signatures, and the one user who may do everything."""

    url: str
    key: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """What a service is given to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def options(self, **changed: str) -> dict[str, str]:
        """Options of the fsspec driver."""
        return {"endpoint_url": self.url, "key": self.key, "secret": self.secret} | changed

    def make_bucket(self, name: str) -> None:
        fsspec.filesystem("s3", **self.options()).mkdir(name)


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[S3]:
    """Serves S3 on a free port of an address of this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        iam = boto3.client(
            "iam", endpoint_url=url, aws_access_key_id="root", aws_secret_access_key="root",
            region_name=REGION,
        )  # fmt: skip
        iam.create_user(UserName="assay")
        iam.put_user_policy(UserName="assay", PolicyName="s3", PolicyDocument=json.dumps(ALLOW))
        made = iam.create_access_key(UserName="assay")["AccessKey"]
        # From here on every request must be signed by a user that exists.
        requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=30).raise_for_status()
        yield S3(url, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        server.stop()


@contextmanager
def gcs_server() -> Iterator[str]:
    """Serves Google Cloud Storage from memory, to everybody; gives the endpoint."""
    # Read when gcsfs is imported: the emulator does not speak gRPC.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
