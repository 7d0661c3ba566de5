"""What tenants import: everything here, and nothing else of Warren, is theirs to use."""

from runtime.protocol.user_identity import UserIdentity
from runtime.protocol.values import Int64
from runtime.sdk.annotations import Id
from runtime.sdk.auth.identity import InvalidToken
from runtime.sdk.auth.providers import AuthConfig, JwtProvider, OidcProvider
from runtime.sdk.cors import Cors
from runtime.sdk.crons import Crons
from runtime.sdk.data.database import UNSET
from runtime.sdk.data.pagination import PaginationOptions, PaginationResult
from runtime.sdk.data.schema import define_schema, define_table
from runtime.sdk.env import env
from runtime.sdk.fetch.blob import Blob, File
from runtime.sdk.fetch.headers import Headers
from runtime.sdk.fetch.multipart_form import FormData
from runtime.sdk.fetch.request import Request
from runtime.sdk.fetch.response import Response
from runtime.sdk.fetch.signals import AbortController, AbortError, AbortSignal
from runtime.sdk.fetch.url import URL, URLSearchParams
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
from runtime.sdk.outbound.fetch import fetch
from runtime.sdk.references import api, internal
from runtime.sdk.router import HttpRouter
from runtime.sdk.scheduling.scheduler import Retry
from runtime.sdk.validators import v

__all__ = [
    "UNSET",
    "URL",
    "AbortController",
    "AbortError",
    "AbortSignal",
    "ApplicationError",
    "AuthConfig",
    "Blob",
    "Cors",
    "Crons",
    "File",
    "FormData",
    "FunctionError",
    "Headers",
    "HttpRouter",
    "Id",
    "Int64",
    "InvalidToken",
    "JwtProvider",
    "LimitExceeded",
    "OidcProvider",
    "PaginationOptions",
    "PaginationResult",
    "Request",
    "Response",
    "Retry",
    "URLSearchParams",
    "UserIdentity",
    "action",
    "api",
    "define_schema",
    "define_table",
    "env",
    "fetch",
    "http_action",
    "internal",
    "internal_action",
    "internal_mutation",
    "internal_query",
    "mutation",
    "query",
    "v",
]
