"""What tenants import: everything here, and nothing else of Warren, is theirs to use."""

from runtime.protocol.values import Int64
from runtime.sdk.annotations import Id
from runtime.sdk.blob import Blob, File
from runtime.sdk.cors import Cors
from runtime.sdk.database import UNSET
from runtime.sdk.env import env
from runtime.sdk.functions import (
    ApplicationError,
    FunctionError,
    LimitExceeded,
    action,
    http_action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from runtime.sdk.headers import Headers
from runtime.sdk.multipart_form import FormData
from runtime.sdk.references import api, internal
from runtime.sdk.request import Request
from runtime.sdk.response import Response
from runtime.sdk.router import HttpRouter
from runtime.sdk.signals import AbortSignal
from runtime.sdk.url import URL, URLSearchParams
from runtime.sdk.validators import v

__all__ = [
    "UNSET",
    "URL",
    "AbortSignal",
    "ApplicationError",
    "Blob",
    "Cors",
    "File",
    "FormData",
    "FunctionError",
    "Headers",
    "HttpRouter",
    "Id",
    "Int64",
    "LimitExceeded",
    "Request",
    "Response",
    "URLSearchParams",
    "action",
    "api",
    "env",
    "http_action",
    "internal",
    "internal_action",
    "internal_mutation",
    "internal_query",
    "mutation",
    "query",
    "v",
]
