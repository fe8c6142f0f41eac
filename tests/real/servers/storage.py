"""An S3 server on loopback (moto's: Apache-2.0, a protocol-true peer), and buckets in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.ports import free_port

PREFIX = "backups/database/"
_numbers = itertools.count()


class Bucket:
    """A bucket of a server that is like S3, filled by a synchronous client in the test."""

    def __init__(self, endpoint: str, client: Any) -> None:
        self.endpoint = endpoint
        self.client = client
        self.name = f"vault-{next(_numbers)}"

    def upload(self, path: Path, content: bytes | None = None, **options: Any) -> None:
        """Put a backup there under its name; ``content`` in place of its own."""
        body = path.read_bytes() if content is None else content
        self.client.put_object(Bucket=self.name, Key=PREFIX + path.name, Body=body, **options)

    def upload_in_parts(self, path: Path) -> None:
        """Put a backup there as one does with large ones: then its ETag is no MD5 of it."""
        place = {"Bucket": self.name, "Key": PREFIX + path.name}
        upload = self.client.create_multipart_upload(**place)["UploadId"]
        content, parts = path.read_bytes(), []
        for number in (1, 2):
            body = content[: 5 * 2**20] if number == 1 else content[5 * 2**20 :]
            told = self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)
            parts.append({"ETag": told["ETag"], "PartNumber": number})
        self.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The URL of the server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(storage: str) -> Iterator[Bucket]:
    """A bucket of its own."""
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3", region_name="us-east-1", endpoint_url=storage, aws_access_key_id="a", aws_secret_access_key="b"
    )
    made = Bucket(storage, client)
    client.create_bucket(Bucket=made.name)
    yield made
    client.close()
