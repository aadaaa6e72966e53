# SPDX-License-Identifier: Apache-2.0
"""How is AWS KMS asked, and what does it mean when it does not do it?

No message repeats what AWS or its library say: there may be an address with a password in it, or somebody's name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from strongroom.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["decrypt", "encrypt"]

_CONNECT_SECONDS = 5
_READ_SECONDS = 10
_ATTEMPTS = 3

_CREDENTIALS = "the AWS credentials are not valid, or have expired; log in anew"
_NONE = "there are no AWS credentials; set them up, or give the machine a role"
_AWAY = "KMS cannot be reached; see to the network, the region and AWS_ENDPOINT_URL_KMS, and try again"
_BUSY = "KMS does not do it just now; try again"
_REGION = "no AWS region is set; set AWS_REGION, or give the key by its ARN"

# What KMS answers -> what to say.
_ANSWERS = MappingProxyType(
    {
        # Where something else than KMS answers, such as a proxy, there may be no more than the number.
        "403": "AWS does not allow it; see to the credentials, and allow kms:Encrypt and kms:Decrypt with that key",
        "AccessDeniedException": "AWS does not allow it; allow kms:Encrypt and kms:Decrypt with that key",
        "NotFoundException": "there is no such key in that account and region",
        "DisabledException": "the KMS key is disabled; enable it",
        "KMSInvalidStateException": "the state of the KMS key does not allow it: it may be about to be deleted",
        "InvalidKeyUsageException": "that KMS key is not one that encrypts",
        "InvalidCiphertextException": "it was changed, or wrapped for another key; restore the file from a backup",
        "IncorrectKeyException": "it was wrapped by another KMS key; name that one in keys.url",
        "InvalidArnException": "that is no ARN of a KMS key",
        "ValidationException": "KMS does not take that name",
        "ExpiredTokenException": _CREDENTIALS,
        "IncompleteSignature": _CREDENTIALS,
        "InvalidClientTokenId": _CREDENTIALS,
        "InvalidSignatureException": _CREDENTIALS,
        "MissingAuthenticationToken": _CREDENTIALS,
        "SignatureDoesNotMatch": _CREDENTIALS,
        "UnrecognizedClientException": _CREDENTIALS,
        "DependencyTimeoutException": _BUSY,
        "KMSInternalException": _BUSY,
        "KeyUnavailableException": _BUSY,
        "LimitExceededException": _BUSY,
        "ThrottlingException": _BUSY,
    }
)

# What the library raises by itself, by the names of its classes and of those above them -> what to say.
_FAILURES = MappingProxyType(
    {
        "NoCredentialsError": _NONE,
        "PartialCredentialsError": "the AWS credentials are only there in part; set both, the id and the secret",
        "ProfileNotFound": "there is no AWS profile of that name; see AWS_PROFILE",
        "CredentialRetrievalError": _CREDENTIALS,
        "SSOError": _CREDENTIALS,
        "TokenRetrievalError": _CREDENTIALS,
        "NoRegionError": _REGION,
        "InvalidRegionError": "that is no AWS region; see AWS_REGION",
        "ConnectionError": _AWAY,
        "HTTPClientError": _AWAY,
    }
)


def encrypt(name: str, secret: bytes, context: Mapping[str, str]) -> bytes:
    """*secret*, encrypted by the KMS key *name* so that it is decrypted only together with *context*.

    Raises:
        KeyringError: KMS did not do it; says why.
    """
    answer = _ask(name, "wrap", lambda kms: kms.encrypt(KeyId=name, Plaintext=secret, EncryptionContext=dict(context)))
    return bytes(answer["CiphertextBlob"])


def decrypt(name: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
    """What the KMS key *name* has encrypted with *context*.

    Raises:
        KeyringError: KMS did not do it; says why.
    """
    # The key is named, although the bytes name one too: whoever wrote them must not choose who opens them.
    answer = _ask(
        name, "unwrap", lambda kms: kms.decrypt(KeyId=name, CiphertextBlob=wrapped, EncryptionContext=dict(context))
    )
    return bytes(answer["Plaintext"])


def _ask(name: str, what: str, request: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any]:
    import botocore.exceptions as aws  # its import takes longer than all of strongroom's

    try:
        return request(_client(name))
    except aws.ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        why = _ANSWERS.get(code) or f"KMS answers {code if code.isalnum() else 'what it should not'}"
    except (aws.BotoCoreError, aws.HTTPClientError) as exc:
        kinds = [kind.__name__ for kind in type(exc).__mro__]
        why = next((_FAILURES[kind] for kind in kinds if kind in _FAILURES), f"the AWS library raises {kinds[0]}")
    except (ValueError, TypeError) as exc:
        # Of an address or a file of settings that makes no sense to the library.
        why = f"the AWS settings are wrong ({type(exc).__name__})"
    # From nowhere: what the library says belongs into no report.
    raise KeyringError(f"the KMS key {name!r} does not {what} a key of the project: {why}") from None


def _client(name: str) -> Any:  # noqa: ANN401  # the library makes its classes when it runs
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    return boto3.session.Session().client("kms", region_name=_region(name), config=config)


def _region(name: str) -> str | None:
    """The region in an ARN, as ``arn:aws:kms:REGION:ACCOUNT:key/ID``; None leaves it to the settings of AWS."""
    parts = name.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 3 else None  # noqa: PLR2004  # the place of the region
