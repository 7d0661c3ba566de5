"""What may a tenant's restricted code say?

Every rule of the language layer, on one page, as frozen data: which modules give out which names, which builtins there
are, which grammar is understood, which attributes nobody may touch. `gate` reads it before code runs, `importer` builds
what code can reach from it. It knows nothing of processes: the wall is the kernel's, this page is for determinism, for
early and friendly errors, and for depth.

Rules
1. What is not written here is refused. A newer Python adds nothing until somebody has thought about it.
2. A module is a list of names. No name on it may be a module, a metaclass, a frame, code, or a way to evaluate text, to
   read an attribute by its name, to open a file, to start a thread or to reach the event loop.
3. A name that this Python does not have yet is skipped, so that one page serves every version we run on.
4. What is missing on purpose has its reason beside it, and a hint where there is something to use instead.
"""

from collections.abc import Mapping
from types import MappingProxyType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODE = 'a module that begins with "use node" has all of Python'

# --- Grammar ----------------------------------------------------------------------------------------------------------
# By name, so that what a new Python adds is refused. Left out: TryStar (except* confused types up to CPython 3.13.1),
# TypeAlias and the type parameters (lazily evaluated scopes; `TypeVar` says the same), TemplateStr (nobody looked yet).
NODES = _words(
    """
    Module Expression Load Store Del
    FunctionDef AsyncFunctionDef ClassDef Lambda arguments arg Return Yield YieldFrom Await
    Assign AugAssign AnnAssign NamedExpr Delete Global Nonlocal Pass Expr
    If IfExp For AsyncFor While Break Continue With AsyncWith withitem Raise Try ExceptHandler Assert
    Import ImportFrom alias
    Match match_case MatchValue MatchSingleton MatchSequence MatchMapping MatchClass MatchStar MatchAs MatchOr
    BoolOp BinOp UnaryOp Compare Call keyword Attribute Subscript Slice Starred Name Constant
    Dict Set List Tuple ListComp SetComp DictComp GeneratorExp comprehension JoinedStr FormattedValue
    And Or Not Invert UAdd USub Add Sub Mult MatMult Div FloorDiv Mod Pow LShift RShift BitOr BitXor BitAnd
    Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn
    """
)
NODE_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "TryStar": "catch ExceptionGroup with a plain `except` and look at its .exceptions",
        "TypeAlias": "write `Name = ...` or use typing.TypeAlias",
        "TypeVar": "use typing.TypeVar and typing.Generic",
        "ParamSpec": "use typing.ParamSpec",
        "TypeVarTuple": "use typing.TypeVarTuple",
    }
)

# --- Double underscores -----------------------------------------------------------------------------------------------
# May be defined, and read as attributes (`super().__init__(...)`). Left out: __del__ (runs at a time nobody chose),
# __getattribute__ and __buffer__ (have crashed interpreters), __reduce__ and its family (calls and sets anything by
# way of `copy`), __match_args__ (positional patterns read any attribute), __prepare__, __mro_entries__ (metaclasses).
DEFINABLE = _words(
    """
    __init__ __new__ __post_init__ __init_subclass__ __class_getitem__ __set_name__ __slots__ __call__ __doc__
    __repr__ __str__ __bytes__ __format__ __hash__ __bool__ __dir__
    __eq__ __ne__ __lt__ __le__ __gt__ __ge__
    __len__ __length_hint__ __getitem__ __setitem__ __delitem__ __missing__ __contains__ __iter__ __next__ __reversed__
    __getattr__ __setattr__ __delattr__ __get__ __set__ __delete__
    __enter__ __exit__ __aenter__ __aexit__ __await__ __aiter__ __anext__ __copy__ __deepcopy__
    __add__ __sub__ __mul__ __matmul__ __truediv__ __floordiv__ __mod__ __divmod__ __pow__ __lshift__ __rshift__
    __and__ __xor__ __or__ __radd__ __rsub__ __rmul__ __rmatmul__ __rtruediv__ __rfloordiv__ __rmod__ __rdivmod__
    __rpow__ __rlshift__ __rrshift__ __rand__ __rxor__ __ror__ __iadd__ __isub__ __imul__ __imatmul__ __itruediv__
    __ifloordiv__ __imod__ __ipow__ __ilshift__ __irshift__ __iand__ __ixor__ __ior__
    __neg__ __pos__ __abs__ __invert__ __int__ __float__ __complex__ __index__ __round__ __trunc__ __floor__ __ceil__
    """
)
# Harmless to read on anything, and too common to miss.
READABLE = _words("__name__ __qualname__ __cause__ __context__ __suppress_context__ __notes__ __members__")
# Variables of a module.
MODULE_VARIABLES = _words("__all__ __author__ __version__ __debug__ __name__")
# Of those, what is read and never bound: dataclasses and enum look up a module by it.
READ_ONLY = _words("__name__ __debug__")

# --- Names nobody may say ---------------------------------------------------------------------------------------------
# Frames, tracebacks, generators, coroutines and code: from any of them it is one step to the globals of our own code.
FRAMES = _words(
    """
    f_back f_builtins f_code f_generator f_globals f_lasti f_lineno f_locals f_trace f_trace_lines f_trace_opcodes
    tb_frame tb_lasti tb_lineno tb_next
    gi_code gi_frame gi_running gi_suspended gi_yieldfrom
    cr_await cr_code cr_frame cr_origin cr_running cr_suspended ag_await ag_code ag_frame ag_running ag_suspended
    co_argcount co_branches co_cellvars co_code co_consts co_exceptiontable co_filename co_firstlineno co_flags
    co_freevars co_kwonlyargcount co_lines co_linetable co_lnotab co_name co_names co_nlocals co_positions
    co_posonlyargcount co_qualname co_stacksize co_varnames
    """
)
# Refused after a dot and in getattr; free as a variable or the name of a method.
ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "format": "str.format reads attributes; use an f-string (on a string literal, .format is fine)",
        "format_map": "str.format_map reads attributes; use an f-string",
        "obj": "AttributeError.obj hands out what was not given; use another name",
        "mro": "classes cannot be walked here",
        "get_loop": "the event loop is not offered; use what asyncio gives",
        "_get_loop": "the event loop is not offered; use what asyncio gives",
        "_loop": "the event loop is not offered; use what asyncio gives",
        "_callbacks": "the event loop is not offered; use what asyncio gives",
        "get_context": "contexts of tasks are not offered; use contextvars.ContextVar",
        "get_coro": "coroutines of tasks are not offered; await the task",
        "get_stack": "frames are not offered; use logging.exception",
        "print_stack": "frames are not offered; use logging.exception",
        "findCaller": "frames are not offered; use logging.exception",
        "_convert_": "it copies a module's globals; write the members down",
        "_create_": "write the class down, or call Enum('Name', members)",
    }
)
DUNDER_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "__class__": "use type(x) or isinstance(x, ...)",
        "__dict__": "use dataclasses.asdict or name the attributes",
        "__import__": "use an import statement",
        "__file__": "a bundle has no files when it runs",
        "__del__": "use a context manager",
        "__annotations__": "use dataclasses.fields",
        "__traceback__": "use logging.exception",
        "__match_args__": "name the attributes in the pattern: `case Point(x=a)`",
        "__getattribute__": "define __getattr__",
    }
)

# --- Builtins ---------------------------------------------------------------------------------------------------------
BUILTINS = _words(
    """
    abs aiter all anext any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod enumerate filter
    float format frozenset hash hex id int isinstance issubclass iter len list map max memoryview min next object oct
    ord pow property range repr reversed round set slice sorted staticmethod str sum super tuple zip
    None True False Ellipsis NotImplemented __build_class__ __debug__
    ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError
    BufferError BytesWarning ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError
    DeprecationWarning EOFError EncodingWarning EnvironmentError Exception ExceptionGroup FileExistsError
    FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning IndexError
    InterruptedError IsADirectoryError KeyError LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError
    NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError
    PythonFinalizationError RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning
    StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError TabError TimeoutError TypeError
    UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning
    UserWarning ValueError Warning ZeroDivisionError
    """
)
# Same name, same use, with a guard: attribute names are checked when they are text.
GUARDED_BUILTINS = _words("getattr setattr hasattr delattr type print")
BUILTIN_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "open": "bundles have no files; use ctx.storage, io.StringIO or io.BytesIO",
        "eval": "text is never run as code; use json.loads for data",
        "exec": "text is never run as code; use functions",
        "compile": "text is never run as code; use functions",
        "input": "nobody sits at a keyboard; take an argument",
        "globals": "use a dict of your own",
        "locals": "use a dict of your own",
        "vars": "name the attributes, or use dataclasses.asdict",
        "dir": "name the attributes",
        "breakpoint": "use print or logging",
        "help": "use print or logging",
        "exit": "return, or raise an exception",
        "quit": "return, or raise an exception",
        "SystemExit": "return, or raise an exception",
        "KeyboardInterrupt": "raise an exception of your own",
    }
)

# --- Modules ----------------------------------------------------------------------------------------------------------
_MODULES: dict[str, str] = {
    "__future__": "annotations barry_as_FLUFL division generator_stop generators nested_scopes print_function "
    "unicode_literals absolute_import with_statement",
    "abc": "ABC abstractmethod",  # not ABCMeta: a metaclass makes classes out of any namespace
    # No loops, runners, streams, subprocesses, threads; not all_tasks: other calls are none of this one's business.
    "asyncio": "ALL_COMPLETED Barrier BoundedSemaphore BrokenBarrierError CancelledError Condition Event "
    "FIRST_COMPLETED FIRST_EXCEPTION Future InvalidStateError LifoQueue Lock PriorityQueue Queue QueueEmpty QueueFull "
    "QueueShutDown Semaphore Task TaskGroup TimeoutError as_completed create_task current_task ensure_future gather "
    "iscoroutine iscoroutinefunction isfuture shield sleep timeout wait wait_for",
    "base64": "a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode "
    "b64encode b85decode b85encode decodebytes encodebytes standard_b64decode standard_b64encode urlsafe_b64decode "
    "urlsafe_b64encode z85decode z85encode",
    "binascii": "Error Incomplete a2b_base64 a2b_hex a2b_qp a2b_uu b2a_base64 b2a_hex b2a_qp b2a_uu crc32 crc_hqx "
    "hexlify unhexlify",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    # Not the functions that print, nor the Locale* classes: they change the process's locale.
    "calendar": "Calendar FRIDAY HTMLCalendar IllegalMonthError IllegalWeekdayError MONDAY SATURDAY SUNDAY THURSDAY "
    "TUESDAY TextCalendar WEDNESDAY calendar day_abbr day_name firstweekday isleap leapdays month month_abbr "
    "month_name monthcalendar monthrange timegm weekday weekheader",
    "cmath": "acos acosh asin asinh atan atanh cos cosh e exp inf infj isclose isfinite isinf isnan log log10 nan "
    "nanj phase pi polar rect sin sinh sqrt tan tanh tau",
    "collections": "ChainMap Counter OrderedDict UserDict UserList UserString defaultdict deque namedtuple",
    "collections.abc": "AsyncGenerator AsyncIterable AsyncIterator Awaitable Buffer ByteString Callable Collection "
    "Container Coroutine Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping "
    "MutableSequence MutableSet Reversible Sequence Set Sized ValuesView",
    "colorsys": "hls_to_rgb hsv_to_rgb rgb_to_hls rgb_to_hsv rgb_to_yiq yiq_to_rgb",
    # Not redirect_stdout and friends: they set attributes of sys.
    "contextlib": "AbstractAsyncContextManager AbstractContextManager AsyncContextDecorator AsyncExitStack "
    "ContextDecorator ExitStack aclosing asynccontextmanager closing contextmanager nullcontext suppress",
    "contextvars": "ContextVar Token",  # not Context and copy_context: they list the variables of everybody
    "copy": "Error copy deepcopy",  # not replace (3.13): it reads attributes whose names are data
    "csv": "Dialect DictReader DictWriter Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC QUOTE_NOTNULL "
    "QUOTE_STRINGS Sniffer excel excel_tab get_dialect list_dialects reader register_dialect unix_dialect "
    "unregister_dialect writer",
    # Not make_dataclass: it runs source made of its arguments.
    "dataclasses": "Field FrozenInstanceError InitVar KW_ONLY MISSING asdict astuple dataclass field fields "
    "is_dataclass replace",
    "datetime": "MAXYEAR MINYEAR UTC date datetime time timedelta timezone tzinfo",
    "decimal": "BasicContext Clamped Context Decimal DecimalException DecimalTuple DefaultContext DivisionByZero "
    "DivisionImpossible DivisionUndefined ExtendedContext FloatOperation HAVE_CONTEXTVAR HAVE_THREADS Inexact "
    "InvalidContext InvalidOperation MAX_EMAX MAX_PREC MIN_EMIN MIN_ETINY Overflow ROUND_05UP ROUND_CEILING "
    "ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP Rounded Subnormal Underflow "
    "getcontext localcontext setcontext",
    "difflib": "Differ HtmlDiff IS_CHARACTER_JUNK IS_LINE_JUNK Match SequenceMatcher context_diff diff_bytes "
    "get_close_matches ndiff restore unified_diff",
    # Dates and addresses of headers; not make_msgid (asks for the host's name) nor formatdate, localtime (real clock).
    "email.utils": "format_datetime formataddr getaddresses parseaddr parsedate parsedate_to_datetime parsedate_tz "
    "quote unquote",
    # Not EnumType (a metaclass) nor global_enum (writes into a module).
    "enum": "CONFORM CONTINUOUS EJECT Enum EnumCheck Flag FlagBoundary IntEnum IntFlag KEEP NAMED_FLAGS ReprEnum "
    "STRICT StrEnum UNIQUE auto member nonmember property unique verify",
    "fractions": "Fraction",
    # Not singledispatch (evaluates annotations), nor update_wrapper and the assigned= of wraps (copy any attribute).
    "functools": "cache cached_property cmp_to_key lru_cache partial partialmethod reduce total_ordering wraps",
    "graphlib": "CycleError TopologicalSorter",
    "hashlib": "algorithms_available algorithms_guaranteed blake2b blake2s md5 new pbkdf2_hmac scrypt sha1 sha224 "
    "sha256 sha384 sha3_224 sha3_256 sha3_384 sha3_512 sha512 shake_128 shake_256",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "hmac": "HMAC compare_digest digest new",
    "html": "escape unescape",
    "html.entities": "codepoint2name entitydefs html5 name2codepoint",
    "html.parser": "HTMLParser",  # regular expressions over text it was fed; opens nothing
    "io": "BytesIO SEEK_CUR SEEK_END SEEK_SET StringIO UnsupportedOperation",  # not open, FileIO, TextIOWrapper
    "ipaddress": "AddressValueError IPV4LENGTH IPV6LENGTH IPv4Address IPv4Interface IPv4Network IPv6Address "
    "IPv6Interface IPv6Network NetmaskValueError collapse_addresses get_mixed_type_key ip_address ip_interface "
    "ip_network summarize_address_range v4_int_to_packed v6_int_to_packed",
    "itertools": "accumulate batched chain combinations combinations_with_replacement compress count cycle dropwhile "
    "filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    "json": "JSONDecodeError JSONDecoder JSONEncoder dump dumps load loads",
    "keyword": "iskeyword issoftkeyword kwlist softkwlist",
    # Handlers open files and sockets, formatters read attributes; every line goes to the deployment's log.
    "logging": "CRITICAL DEBUG ERROR FATAL Filter INFO LogRecord Logger LoggerAdapter NOTSET NullHandler WARN WARNING "
    "basicConfig critical debug error exception fatal getLevelName getLogger info log warning",
    "math": "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 "
    "expm1 fabs factorial floor fma fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp "
    "lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod tan tanh "
    "tau trunc ulp",
    "numbers": "Complex Integral Number Rational Real",
    # Not attrgetter and methodcaller: attributes by name, unchecked.
    "operator": "abs add and_ call concat contains countOf delitem eq floordiv ge getitem gt iadd iand iconcat "
    "ifloordiv ilshift imatmul imod imul index indexOf inv invert ior ipow irshift is_ is_not isub itemgetter "
    "itruediv ixor le length_hint lshift lt matmul mod mul ne neg not_ or_ pos pow rshift setitem sub truediv truth "
    "xor",
    "pprint": "isreadable isrecursive pformat pp pprint saferepr",
    "random": "Random SystemRandom betavariate binomialvariate choice choices expovariate gammavariate gauss "
    "getrandbits lognormvariate normalvariate paretovariate randbytes randint random randrange sample seed shuffle "
    "triangular uniform vonmisesvariate weibullvariate",
    "re": "A ASCII DEBUG DOTALL I IGNORECASE L LOCALE M MULTILINE Match NOFLAG Pattern PatternError RegexFlag S U "
    "UNICODE VERBOSE X compile error escape findall finditer fullmatch match purge search split sub subn",
    "reprlib": "Repr aRepr recursive_repr repr",
    "secrets": "SystemRandom choice compare_digest randbelow randbits token_bytes token_hex token_urlsafe",
    "statistics": "NormalDist StatisticsError correlation covariance fmean geometric_mean harmonic_mean kde "
    "linear_regression mean median median_grouped median_high median_low mode multimode pstdev pvariance quantiles "
    "stdev variance",
    # not Formatter: it reads attributes
    "string": "Template ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable "
    "punctuation whitespace",
    "struct": "Struct calcsize error iter_unpack pack pack_into unpack unpack_from",
    "textwrap": "TextWrapper dedent fill indent shorten wrap",
    "time": "altzone asctime ctime daylight get_clock_info gmtime localtime mktime monotonic monotonic_ns "
    "perf_counter perf_counter_ns strftime strptime struct_time time time_ns timezone tzname",
    # Types of functions and frames are for annotations and isinstance only: stand-ins that cannot be called.
    "types": "AsyncGeneratorType BuiltinFunctionType CodeType CoroutineType EllipsisType FrameType FunctionType "
    "GeneratorType GenericAlias LambdaType MappingProxyType MethodType ModuleType NoneType NotImplementedType "
    "SimpleNamespace TracebackType UnionType",
    # Not get_type_hints, ForwardRef, evaluate_forward_ref: they evaluate text.
    "typing": "AbstractSet Annotated Any AnyStr AsyncContextManager AsyncGenerator AsyncIterable AsyncIterator "
    "Awaitable BinaryIO ByteString Callable ChainMap ClassVar Collection Concatenate Container ContextManager "
    "Coroutine Counter DefaultDict Deque Dict Final FrozenSet Generator Generic Hashable IO ItemsView Iterable "
    "Iterator KeysView List Literal LiteralString Mapping MappingView Match MutableMapping MutableSequence MutableSet "
    "NamedTuple Never NewType NoDefault NoReturn NotRequired Optional OrderedDict ParamSpec ParamSpecArgs "
    "ParamSpecKwargs Pattern Protocol ReadOnly Required Reversible Self Sequence Set Sized SupportsAbs SupportsBytes "
    "SupportsComplex SupportsFloat SupportsIndex SupportsInt SupportsRound TYPE_CHECKING Text TextIO Tuple Type "
    "TypeAlias TypeGuard TypeIs TypeVar TypeVarTuple TypedDict Union Unpack ValuesView assert_never assert_type cast "
    "dataclass_transform final get_args get_origin get_protocol_members is_protocol is_typeddict no_type_check "
    "overload override runtime_checkable",
    "unicodedata": "bidirectional category combining decimal decomposition digit east_asian_width is_normalized "
    "lookup mirrored name normalize numeric unidata_version",
    "urllib.parse": "DefragResult DefragResultBytes ParseResult ParseResultBytes SplitResult SplitResultBytes "
    "parse_qs parse_qsl quote quote_from_bytes quote_plus unquote unquote_plus unquote_to_bytes urldefrag urlencode "
    "urljoin urlparse urlsplit urlunparse urlunsplit",
    # Not uuid1 and getnode: the host's network card and clock.
    "uuid": "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 RESERVED_FUTURE RESERVED_MICROSOFT RESERVED_NCS "
    "RFC_4122 SafeUUID UUID uuid3 uuid4 uuid5",
    "zlib": "DEFLATED MAX_WBITS Z_BEST_COMPRESSION Z_BEST_SPEED Z_DEFAULT_COMPRESSION Z_DEFAULT_STRATEGY Z_FINISH "
    "Z_FULL_FLUSH Z_NO_FLUSH Z_SYNC_FLUSH adler32 compress compressobj crc32 decompress decompressobj error",
    "zoneinfo": "InvalidTZPathWarning ZoneInfo ZoneInfoNotFoundError available_timezones",
}
MODULES: Mapping[str, frozenset[str]] = MappingProxyType({name: _words(text) for name, text in _MODULES.items()})
# Importable only as the way to the modules below them.
PACKAGES = _words("email urllib")
# The package tenants import from: its __all__ is its list.
SDK = "runtime"

MODULE_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "os": "for environment variables use `from runtime import env`",
        "sys": "nothing of the interpreter is offered",
        "pathlib": "bundles have no files; use ctx.storage",
        "tempfile": "bundles have no files; use ctx.storage",
        "shutil": "bundles have no files; use ctx.storage",
        "sqlite3": "use ctx.db",
        "http": "use `from runtime import Request, Response`",
        "threading": "use asyncio",
        "multiprocessing": "use asyncio",
        "concurrent": "use asyncio",
        "queue": "use asyncio.Queue or collections.deque",
        "pickle": "use json",
        "marshal": "use json",
        "warnings": "use logging.warning",
        "traceback": "use logging.exception",
        "inspect": "functions and frames cannot be taken apart here",
        "ast": "text is never run as code; use json.loads for data",
    }
)
MEMBER_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "asyncio.run": "make the function `async def`: the loop is already running",
        "asyncio.to_thread": "there are no threads; await what you need",
        "copy.replace": "use dataclasses.replace",
        "datetime.now": "use datetime.datetime.now()",
        "io.open": "use io.StringIO or io.BytesIO",
        "logging.StreamHandler": "every line goes to the deployment's log already",
        "logging.FileHandler": "every line goes to the deployment's log already",
        "operator.attrgetter": "use a lambda",
        "operator.methodcaller": "use a lambda",
        "string.Formatter": "use an f-string or string.Template",
        "time.sleep": "use `await asyncio.sleep(...)` in an action",
        "uuid.uuid1": "use uuid.uuid4",
        "dataclasses.make_dataclass": "write the class down",
    }
)
