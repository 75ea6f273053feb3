"""From what botocore raises to typed errors that say what to do; and whether another attempt may succeed.

Nothing that botocore or the server wrote about credentials is repeated, and the original is never chained: it holds
signed requests, and the output of credential processes. Code, status and request id are enough to look further.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any, cast

from botocore import exceptions as boto
from urllib3.exceptions import NameResolutionError

from backends.errors import (
    BackendDenied,
    BackendFull,
    BackendMisconfigured,
    BackendsError,
    BackendUnavailable,
    CorruptData,
    InvalidName,
    PreconditionFailed,
)
from backends.retry import Repeat

DAMAGED = 4  # attempts for what was damaged: on its way it passes soon, in the store it never does


class UploadGone(BackendUnavailable):
    """An upload was swept or completed while parts were sent."""


class NotSupported(BackendMisconfigured):
    """The server does not know the request."""


_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_TRANSIENT = frozenset(
    {
        "BandwidthLimitExceeded",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "InternalFailure",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "RequestTimedOut",
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequests",
    }
)
_DAMAGED_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"})
_FULL_WORDS = re.compile(r"no space left|quota exceeded|disk full|insufficient storage", re.IGNORECASE)
_REGION = frozenset({"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"})
_REGION_IN_WORDS = re.compile(r"expecting '([a-z0-9-]{2,40})'")

# A server or proxy may send back what it was sent: words that speak of such things are not repeated.
_TELLING = re.compile(r"signature|aws4|authori[sz]ation:|secret|token|credential", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9._=+/-]{1,80}")
_CREDENTIALS = "Check AWS_* in the environment, the profile, or the machine's role; boto3 looks there in this order."
_DENIED = {
    "InvalidAccessKeyId": f"The access key is unknown to the server. {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"The secret key does not belong to the access key. {_CREDENTIALS}",
    "ExpiredToken": "The session has expired: sign in anew, or use credentials that boto3 can refresh.",
    "ExpiredTokenException": "The session has expired: sign in anew, or use credentials that boto3 can refresh.",
    "InvalidToken": f"The session token is not valid. {_CREDENTIALS}",
    "TokenRefreshRequired": "The session has expired: sign in anew, or use credentials that boto3 can refresh.",
    "AccountProblem": "Ask the provider: the account has a problem.",
    "InvalidObjectState": "The object is archived: restore it, and use a storage class with immediate access.",
}
_ALLOW = (
    "Allow s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and the others of the documented policy to "
    "these credentials; with KMS also kms:GenerateDataKey and kms:Decrypt."
)


UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an answer raises that is not what it should be: botocore passes on what its conversions raise."""


def unreadable(error: Exception, doing: str) -> Repeat:
    """What an answer means that can't be read.

    Args:
        error: One of `UNREADABLE`.
        doing: As for `translate`.

    Returns:
        What to raise. Only the type of the error is told: its words repeat the answer's.
    """
    hint = "Something else may answer in the server's place: check the endpoint, and proxies on the way."
    message = f"{doing}: the server's answer can't be read ({type(error).__name__})"
    return Repeat(BackendUnavailable(message, hint=hint), most=DAMAGED)


def translate(error: Exception, doing: str, *, missing: BackendsError | None = None) -> BackendsError | Repeat:
    """What an exception of a request means.

    Args:
        error: One of `client.CAUGHT`.
        doing: What was being done and to what, to begin the message with.
        missing: What the absence of the object means here.

    Returns:
        An error to raise, wrapped in `Repeat` where another attempt may succeed.
    """
    if isinstance(error, boto.ClientError):
        return _of_answer(cast("Mapping[str, Any]", error.response), doing, missing)
    return _of_client(error, doing)


def _of_answer(response: Mapping[str, Any], doing: str, missing: BackendsError | None) -> BackendsError | Repeat:
    fields: Mapping[str, Any] = response.get("Error", {})
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    code, words = str(fields.get("Code", "")), str(fields.get("Message", ""))
    status = int(metadata.get("HTTPStatusCode", 0))
    known = code if _CODE.fullmatch(code) else "no reason given"
    message = f"{doing}: {known} (status {status}{_request_id(metadata)})"
    if status == 412 or code == "PreconditionFailed":
        return PreconditionFailed(message)
    if code == "NoSuchBucket":
        return BackendMisconfigured(message, hint="Create the bucket, or correct its name in the backend's URI.")
    if code in _MISSING and missing is not None:
        return missing
    if code == "NoSuchUpload":
        return UploadGone(message, hint="Something swept unfinished uploads; try again.")
    if code in _FULL or status == 507 or _FULL_WORDS.search(words):
        return BackendFull(message)
    if code in _TRANSIENT or "throttling" in code.lower():
        return Repeat(BackendUnavailable(message, hint=_LATER))
    if code in _DAMAGED_CODES:
        return Repeat(BackendUnavailable(message, hint=_DAMAGED_HINT), most=DAMAGED)
    if code.startswith(("KMS", "Kms")):
        return BackendDenied(
            f"{message}: {_clip(words)}", hint="Check the key's state, its policy and SSEKMSKeyId of the option put."
        )
    if code in _REGION or status == 301 or (code == "AuthorizationHeaderMalformed" and _right_region(fields, metadata)):
        right = _right_region(fields, metadata)
        return BackendMisconfigured(
            f"{message}: the bucket is in another region or at another endpoint",
            hint=f"Set region={right} in the backend's URI."
            if right
            else "Set the bucket's region in the URI; or use https, if a proxy redirects there.",
        )
    if code == "RequestTimeTooSkewed":
        return BackendMisconfigured(f"{message}: {_skew(metadata)}", hint="Let NTP set this machine's clock.")
    if code in _DENIED:
        return BackendDenied(message, hint=_DENIED[code])
    if status in {401, 403} or code in {"AccessDenied", "AllAccessDisabled", "Forbidden"}:
        return BackendDenied(message, hint=_ALLOW)
    if code in {"NotImplemented", "MethodNotAllowed"} or status in {405, 501}:
        return NotSupported(message, hint="Use a server that has this request; the documentation names some.")
    if code == "KeyTooLongError":
        return InvalidName(message, hint="Shorten the prefix in the backend's URI.")
    if status in _TRANSIENT_STATUS:
        return Repeat(BackendUnavailable(message, hint=_LATER))
    return BackendMisconfigured(
        f"{message}: {_clip(words)}",
        hint="Check the bucket, the endpoint and the option put; the server's words say why.",
    )


_LATER = "The server is overloaded or failing: try again later, with fewer transfers at once if it is throttling."
_DAMAGED_HINT = "Data was damaged on its way: check the network and the memory of this machine, then try again."


def _of_client(error: Exception, doing: str) -> BackendsError | Repeat:
    message = f"{doing}: {type(error).__name__}"
    match error:
        case boto.NoCredentialsError() | boto.PartialCredentialsError():
            return BackendDenied(f"{message}: no credentials found", hint=_CREDENTIALS)
        case boto.ProfileNotFound():
            return BackendMisconfigured(message, hint="Correct the profile's name, or add it to the AWS configuration.")
        case boto.SSOError() | boto.RefreshWithMFAUnsupportedError() | boto.NoAuthTokenError():
            return BackendDenied(message, hint="Sign in anew: aws sso login.")
        case (
            boto.CredentialRetrievalError()
            | boto.MetadataRetrievalError()
            | boto.TokenRetrievalError()
            | JSONDecodeError()
            | UnicodeDecodeError()
        ):
            # What gives the credentials (a process, the instance's metadata) may be back in a moment.
            return Repeat(BackendUnavailable(message, hint="Check what gives boto3 its credentials; see its log."))
        case boto.FlexibleChecksumError():
            return Repeat(CorruptData(f"{doing}: the content does not match its checksum"), most=DAMAGED)
        case boto.SSLError() if _is_certificate(error):
            return BackendMisconfigured(
                f"{message}: the server's certificate is not trusted",
                hint="Correct the endpoint's name, or name the authority's file in AWS_CA_BUNDLE.",
            )
        case boto.EndpointConnectionError() if _is(error, NameResolutionError):
            return Repeat(BackendUnavailable(message, hint="The endpoint's name does not resolve: check it, and DNS."))
        case boto.HTTPClientError() | boto.ConnectionError() | boto.IncompleteReadError():
            return Repeat(BackendUnavailable(message, hint="Check that the endpoint is right and reachable."))
        case boto.BotoCoreError() | ValueError():
            # Parameters, configuration files, regions. Their texts repeat values, so only the type is told.
            return BackendMisconfigured(
                message, hint="Check the backend's URI and options and the AWS configuration file."
            )
        case _:
            return Repeat(
                BackendUnavailable(message, hint="The connection broke or the answer was cut off; try again.")
            )


def _clip(words: str) -> str:
    if _TELLING.search(words):
        return "(words withheld)"
    return "".join(character if character.isprintable() else "?" for character in words[:200])


def _request_id(metadata: Mapping[str, Any]) -> str:
    found = metadata.get("RequestId")
    return f", request {found}" if isinstance(found, str) and _CODE.fullmatch(found) else ""


def _right_region(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    found = fields.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if found is None and (said := _REGION_IN_WORDS.search(str(fields.get("Message", "")))):
        found = said.group(1)
    return str(found) if found and re.fullmatch(r"[a-z0-9-]{2,40}", str(found)) else None


def _skew(metadata: Mapping[str, Any]) -> str:
    try:
        server = parsedate_to_datetime(metadata.get("HTTPHeaders", {})["date"]).timestamp()
    except (KeyError, ValueError):
        return "this machine's clock differs from the server's"
    difference = round(time.time() - server)
    return f"this machine's clock is {abs(difference)} s {'ahead of' if difference > 0 else 'behind'} the server's"


def _is(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error stands for one of a kind. botocore keeps the original as an argument, urllib3 as a reason."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return True
        seen.add(id(error))
        kwargs = cast("Mapping[str, Any]", getattr(error, "kwargs", {}))
        wrapped = kwargs.get("error") or getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__
    return False


def _is_certificate(error: BaseException) -> bool:
    return _is(error, ssl.SSLCertVerificationError)
