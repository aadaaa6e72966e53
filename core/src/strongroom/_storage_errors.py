# SPDX-License-Identifier: Apache-2.0
"""What does an error of somebody's file system mean: not found, transient, or permanent?

Each library raises what it likes: s3fs says EINVAL for a failed precondition, gcsfs and azure keep an HTTP status,
ftplib has nothing but a text. None of these libraries is imported here: an exception is known by its class, its number
or its status, and its text is never repeated, since it may hold credentials.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from strongroom.errors import (
    NotFoundError,
    PermanentStorageError,
    SettingsError,
    StorageError,
    TransientStorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["PERMANENT_ERRNO", "as_storage_error", "retrying", "storage_errors"]

_T = TypeVar("_T")
_DENIED = "access was denied; check the credentials and what they may do"

PERMANENT_ERRNO: Mapping[int, str] = MappingProxyType(
    {
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EROFS: "the file system is read-only",
        errno.ENOTDIR: "part of its path is a file",
        errno.EISDIR: "it is a folder",
        errno.ENAMETOOLONG: "its name is too long",
        errno.EFBIG: "it is larger than files may be here",
        errno.ENOSPC: "no space is left on the device",
        errno.EDQUOT: "the quota is used up",
    }
)

# By what is said of a request over HTTP, whoever says it.
_STATUS: Mapping[int, str] = MappingProxyType(
    {
        401: _DENIED,
        403: _DENIED,
        405: "this storage can only be read",
        501: "this storage cannot do that",
        507: "no space is left",
    }
)
_TRANSIENT_STATUS = frozenset({408, 423, 425, 429})
_NOT_FOUND_STATUS = frozenset({404, 410})
_CLIENT_ERROR, _SERVER_ERROR = 400, 500

# By the name of the class, where there is neither number nor status. A subclass counts as its parent.
_NOT_FOUND = frozenset(
    {"ResourceNotFound", "ResourceNotFoundError", "NoSuchKey", "SFTPNoSuchFile", "SFTPNoSuchPath", "BlobNotFound"}
)
_PERMANENT: Mapping[str, str] = MappingProxyType(
    {
        "PermissionError": _DENIED,
        "NotImplementedError": "this storage cannot do that",
        "UnsupportedOperation": "this storage can only be read",
        # botocore, google.auth, azure
        "NoCredentialsError": "no credentials were found where its library looks",
        "PartialCredentialsError": "no credentials were found where its library looks",
        "CredentialRetrievalError": "no credentials were found where its library looks",
        "NoAuthTokenError": "no credentials were found where its library looks",
        "TokenRetrievalError": _DENIED,
        "DefaultCredentialsError": "no credentials were found where its library looks",
        "RefreshError": _DENIED,
        "ClientAuthenticationError": _DENIED,
        "ParamValidationError": "its library refuses the name",
        # asyncssh
        "PermissionDenied": _DENIED,
        "SFTPPermissionDenied": _DENIED,
        "SFTPNoSpaceOnFilesystem": "no space is left",
        "SFTPQuotaExceeded": "the quota is used up",
        "SFTPWriteProtect": "the file system is read-only",
        "SFTPOpUnsupported": "this storage cannot do that",
        "HostKeyNotVerifiable": "the key of the host is not one that is trusted",
        # paramiko
        "AuthenticationException": _DENIED,
        "BadHostKeyException": "the key of the host is not one that is trusted",
        # webdav4
        "ForbiddenOperation": _DENIED,
        "InsufficientStorage": "no space is left",
        "ResourceConflict": "the folder that it belongs into is not there",
        "IsACollectionError": "it is a folder",
        # Certificates that do not hold do not hold the next time either.
        "SSLCertVerificationError": "the certificate of the server does not hold",
        "ClientConnectorCertificateError": "the certificate of the server does not hold",
        # A mistake in the options.
        "TypeError": "its library does not take these options",
    }
)
_TRANSIENT = frozenset(
    {
        "ConnectionError",
        "TimeoutError",
        "EOFError",
        "ClientConnectionError",
        "ClientPayloadError",
        "EndpointConnectionError",
        "HTTPClientError",
        "ServiceRequestError",
        "ServiceResponseError",
        "TransportError",
        "ConnectionLost",
        "SFTPConnectionLost",
        "SFTPNoConnection",
        "ChannelOpenError",
        "ResourceLocked",
        "BadGatewayError",
        "ChecksumError",
        "IncompleteReadError",
        "error_temp",
        "SSHException",
    }
)
# FTP answers with three digits and a text: those whose meaning does not depend on the request.
_FTP: Mapping[str, str] = MappingProxyType(
    {
        "530": _DENIED,
        "532": _DENIED,
        "552": "no space is left",
        "553": "its name is not allowed, or it may not be written",
    }
)
# S3 answers with words; botocore keeps them beside the status.
_TRANSIENT_CODES = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"})

_FIRST_PAUSE = 0.1
_GROWTH = 4


def as_storage_error(exc: BaseException, location: str, *, writing: bool = False) -> StorageError:
    """What *exc*, raised by a file system for *location*, means here.

    When *writing*, a thing that is not found is the bucket or the folder, and will not be there the next time either.
    """
    if isinstance(exc, StorageError):
        return exc
    found = next((verdict for error in _chain(exc) if (verdict := _judge(error))), "transient")
    if found == "not found":
        if not writing:
            return NotFoundError(location)
        found = "the bucket, container or folder that it belongs into is not there"
    return TransientStorageError(location, exc) if found == "transient" else PermanentStorageError(location, found)


@contextlib.contextmanager
def storage_errors(location: str, *, writing: bool = False) -> Iterator[None]:
    """Turn whatever a file system raises into an error of strongroom."""
    try:
        yield
    except SettingsError:
        # Such as an option that is to come from a variable which is not set: it names the way out.
        raise
    except Exception as exc:  # each file system raises what its library does
        error = as_storage_error(exc, location, writing=writing)
        if error is exc:
            raise
        # Without the cause, whose text a traceback would show: it may hold credentials.
        raise error from None


def retrying(
    step: Callable[[], _T],
    *,
    recover: Callable[[], object],
    attempts: int = 4,
    patient: Callable[[], bool] = lambda: True,
    pause: Callable[[float], object] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> _T:
    """What *step* returns, tried up to *attempts* times if its errors are transient.

    The pauses between four attempts take 2.1 s at most.

    *recover* is called before each further try: a connection that broke stays broken. There is none once nobody is
    *patient* any more.
    """
    for attempt in range(attempts - 1):
        try:
            return step()
        except TransientStorageError:
            if not patient():
                raise
            # By chance, or all that failed together would come back together.
            pause(_FIRST_PAUSE * _GROWTH**attempt * chance())
            recover()
    return step()


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """*exc* and what led to it, the innermost first: it knows most, and was raised by the library itself."""
    found: list[BaseException] = []
    error: BaseException | None = exc
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return reversed(found)


def _judge(exc: BaseException) -> str | None:
    """``not found``, ``transient``, or why it is permanent; None if *exc* does not say."""
    if isinstance(exc, FileNotFoundError):
        return "not found"
    for judge in (_by_code, _by_status, _by_ftp_reply, _by_number, _by_class):
        if verdict := judge(exc):
            return verdict
    return None


def _by_code(exc: BaseException) -> str | None:
    response = getattr(exc, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return "transient" if code in _TRANSIENT_CODES else None


def _by_status(exc: BaseException) -> str | None:
    status = _status(exc)
    if status in _NOT_FOUND_STATUS:
        return "not found"
    if status in _STATUS:
        return _STATUS[status]
    if status in _TRANSIENT_STATUS or status >= _SERVER_ERROR:
        return "transient"
    return f"the server refused the request (HTTP {status})" if status >= _CLIENT_ERROR else None


def _status(exc: BaseException) -> int:
    response = getattr(exc, "response", None)
    if isinstance(response, dict):
        told = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        told = next((getattr(exc, name) for name in ("status_code", "status", "code") if hasattr(exc, name)), None)
    number = int(told) if isinstance(told, (int, str)) and str(told).isdigit() else 0
    # Exit codes, codes of SFTP and the like are numbers, too.
    return number if _CLIENT_ERROR <= number < _SERVER_ERROR + 100 else 0


def _by_ftp_reply(exc: BaseException) -> str | None:
    if type(exc).__module__ != "ftplib" or type(exc).__name__ != "error_perm":
        return None
    # These are said of what is not there, and of what may not be touched, too.
    reply = str(exc)[:3]
    return _FTP.get(reply) or (
        "not found" if reply in {"501", "550"} else f"the server refused the request (FTP {reply})"
    )


def _by_number(exc: BaseException) -> str | None:
    if isinstance(exc, socket.gaierror):
        return "transient" if exc.errno == socket.EAI_AGAIN else "its host is not known"
    if not isinstance(exc, OSError):
        return None
    return "its library refuses the request" if exc.errno == errno.EINVAL else PERMANENT_ERRNO.get(exc.errno or 0)


def _by_class(exc: BaseException) -> str | None:
    names = [kind.__name__ for kind in type(exc).__mro__]
    if _NOT_FOUND.intersection(names):
        return "not found"
    for name in names:
        if name in _PERMANENT:
            return _PERMANENT[name]
        if name in _TRANSIENT:
            return "transient"
    return None
