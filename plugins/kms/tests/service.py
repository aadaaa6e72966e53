# SPDX-License-Identifier: Apache-2.0
"""What is KMS to its owner, who makes keys there and says who may use them?"""

from __future__ import annotations

import contextlib
import random
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["SECRET_ACCESS_KEY", "Service", "free_port"]

SECRET_ACCESS_KEY = "canary-of-a-secret-access-key"


def free_port() -> int:
    """A port that nobody uses, and that the system gives to nobody who asks for any before a server has bound it."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Service:
    """KMS as its owner has it: makes keys, and says who may use them."""

    url: str

    def client(self, kind: str = "kms") -> Any:  # noqa: ANN401  # boto3 makes its classes when it runs
        import boto3

        # The root of the account, whoever the tested code is.
        return boto3.session.Session().client(
            kind, endpoint_url=self.url, aws_access_key_id="root", aws_secret_access_key="root"
        )

    def make_key(self, alias: str | None = None) -> str:
        """The ARN of a new key."""
        made = self.client().create_key()["KeyMetadata"]
        if alias is not None:
            self.client().create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
        return str(made["Arn"])

    @contextlib.contextmanager
    def checking_who_asks(self) -> Iterator[None]:
        self._check("0")
        try:
            yield
        finally:
            self._check("Infinity")

    def _check(self, after: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", data=after.encode(), headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()
