"""How much is too much?

Every number that Warren enforces on a guest or a caller, with its unit and the reason it is that number.
`docs/limits.md` is generated from this page, and a test holds the two together.

Rules
1. A limit is a whole number: bytes, milliseconds or a count. No floats, no strings to parse.
2. Who refuses something because of a limit names the limit, its value and what was observed.
3. What an operator may choose is a setting (`settings.py`); what protects the wall is here.
"""

from typing import Self

KIB = 1024
MIB = 1024 * KIB


class Limit(int):
    """A number that is enforced, with its unit and its reason."""

    unit: str
    why: str

    def __new__(cls, value: int, unit: str, why: str) -> Self:
        limit = super().__new__(cls, value)
        limit.unit = unit
        limit.why = why
        return limit


# --- HTTP ------------------------------------------------------------------------------------------------------------
REQUEST_BODY = Limit(20 * MIB, "bytes", "what Convex accepts; larger uploads belong in file storage")
RESPONSE_BODY = Limit(20 * MIB, "bytes", "what Convex sends; the stream is cut past it so that the client can tell")
REQUEST_HEADERS = Limit(64 * KIB, "bytes", "names and values together; the server in front of us reads no more")
RESPONSE_HEADERS = Limit(64 * KIB, "bytes", "names and values together; proxies refuse more")
RESPONSE_HEADER_COUNT = Limit(256, "headers", "enough for many cookies, too few to hurt a client")
FORM_PARTS = Limit(1_000, "parts", "of one multipart form; each costs a header to parse")
REQUEST_TARGET = Limit(16 * KIB, "bytes", "path and query; browsers stop at less")
PIPELINED_REQUESTS = Limit(256, "requests", "waiting on one connection before it is closed; each holds its head")
HEAD_TIME = Limit(60_000, "ms", "from the request to the response head; after that a 504")
BODY_IDLE_TIME = Limit(30_000, "ms", "a client that neither sends nor takes a byte for so long is gone")
CONCURRENT_REQUESTS = Limit(256, "requests", "of one deployment at once; one tenant must not take the whole router")
WAITING_REQUESTS = Limit(512, "requests", "of one deployment waiting for a permit before 429")
PERMIT_WAIT = Limit(5_000, "ms", "how long a request waits for a permit before 429")

# --- One call ---------------------------------------------------------------------------------------------------------
QUERY_TIME = Limit(5_000, "ms", "wall time of a query or mutation; it holds a snapshot for so long")
ACTION_TIME = Limit(300_000, "ms", "wall time of an action or HTTP action, its body stream included")
TURN_CPU = Limit(1_000, "ms", "CPU that one turn of the guest's loop may burn before the running call is interrupted")
TURN_SLEEP = Limit(2_000, "ms", "wall time that one turn may sleep in the kernel; an honest guest sleeps in its loop")
STOP_GRACE = Limit(60, "ms", "from the interruption to SIGKILL, for a call that does not listen")
CALL_DEPTH = Limit(8, "calls", "functions calling functions; each level holds a conversation")
NESTED_CALLS = Limit(2_048, "calls", "made by functions of one deployment, under way at once; each holds memory here")
SYSCALLS_PER_CALL = Limit(32_768, "syscalls", "in one invocation")
SYSCALLS_AT_ONCE = Limit(64, "syscalls", "of one invocation that wait for their answer; the guest queues the others")
VALUE_BYTES = Limit(8 * MIB, "bytes", "encoded arguments or result of one function")
VALUE_ITEMS = Limit(262_144, "items", "values and keys in arguments or a result; reading more takes the server a pause")
VALUE_DEPTH = Limit(64, "levels", "nesting of arguments and results")
LOG_LINES = Limit(256, "lines", "of one invocation; the rest is counted and dropped")
LOG_LINE_BYTES = Limit(16 * KIB, "bytes", "of one log line; longer ones are cut")

# --- Documents --------------------------------------------------------------------------------------------------------
DOCUMENT_BYTES = Limit(1 * MIB, "bytes", "encoded size of one document")
DOCUMENT_DEPTH = Limit(16, "levels", "nesting of a document")
DOCUMENT_FIELDS = Limit(1024, "fields", "of one object")
ARRAY_ITEMS = Limit(8192, "items", "of one array in a document")
FIELD_NAME_CHARACTERS = Limit(64, "characters", "of a top-level field name; 1024 deeper down")
READ_BYTES = Limit(16 * MIB, "bytes", "read by one transaction")
READ_DOCUMENTS = Limit(32_000, "documents", "read by one transaction, those a filter dropped included")
READ_RANGES = Limit(4_096, "ranges", "index ranges read by one transaction")
WRITE_BYTES = Limit(16 * MIB, "bytes", "written by one transaction")
WRITE_DOCUMENTS = Limit(16_000, "documents", "written by one transaction")
TABLES = Limit(10_000, "tables", "of one deployment; what Convex allows")
INDEXES = Limit(32, "indexes", "of one table; every write of a document writes its place in each of them")
INDEX_FIELDS = Limit(16, "fields", "of one index; what Convex allows")
INDEX_NAME_CHARACTERS = Limit(64, "characters", "of an index's name")
VALIDATION_STEPS = Limit(500_000, "steps", "to compare one document with its schema; unions multiply them")
COMMIT_ATTEMPTS = Limit(8, "attempts", "of a mutation whose commit meets a conflict, before 503")

# --- Scheduled functions ----------------------------------------------------------------------------------------------
SCHEDULED_PER_MUTATION = Limit(1_000, "functions", "scheduled by one mutation; what Convex allows")
SCHEDULED_ARGUMENTS = Limit(4 * MIB, "bytes", "encoded arguments of one scheduled function; what Convex allows")
SCHEDULED_OUTSTANDING = Limit(1_000_000, "functions", "of one deployment that have not ended; counted now and then")
SCHEDULED_SPAN = Limit(158_112_000_000, "ms", "from now to when a function is due, either way: five years")
SCHEDULED_KEPT = Limit(604_800_000, "ms", "that the record of a scheduled function is kept after its end: a week")
SCHEDULED_AT_ONCE = Limit(32, "functions", "of one deployment that one worker looks after at once, actions aside")
SCHEDULED_ACTIONS = Limit(16, "actions", "of one deployment that one worker runs at once; the others wait")
SCHEDULED_LEASE = Limit(30_000, "ms", "without a sign of life of its worker, after which a scheduled action has failed")
SHIFT_FUNCTIONS = Limit(256, "functions", "begun in one shift; then the other deployments have their turn")
SHIFT_TIME = Limit(1_000, "ms", "after which a shift begins nothing more")

# --- Live queries -----------------------------------------------------------------------------------------------------
LIVE_RUNS = Limit(16, "runs", "of one deployment's subscribed queries at once; the others wait, and are run for all")
SYNC_QUERIES = Limit(4_096, "queries", "subscribed on one connection")
SYNC_MUTATIONS = Limit(1_000, "mutations", "of one connection that wait for their turn; what Convex allows")
SYNC_ACTIONS = Limit(1_000, "actions", "of one connection under way; what Convex allows")
SYNC_MESSAGE = Limit(64 * MIB, "bytes", "of one message of a sync client; all its queries are in one when it returns")
SYNC_PING = Limit(15_000, "ms", "of silence after which the server says that it is there; clients wait 30 s")
SYNC_SILENCE = Limit(120_000, "ms", "without a sign of life, or without taking what waits, before a client is gone")
SYNC_FRAME = Limit(8 * MIB, "bytes", "of one frame to a sync client; longer messages are sent in several")
TICKET_AGE = Limit(1_209_600_000, "ms", "that the outcome of a sync client's mutation is remembered: two weeks")
MOMENTS = Limit(4, "moments", "of one deployment held for query_at_ts; the oldest is given up for a fifth")
MOMENT_AGE = Limit(30_000, "ms", "that a moment given out by query_ts can be read; it keeps the log from shrinking")
BATCH_QUERIES = Limit(100, "queries", "in one query_batch")

# --- Bundles and environment ------------------------------------------------------------------------------------------
PUSH_BYTES = Limit(32 * MIB, "bytes", "of an archive as it is sent")
PUSHES_AT_ONCE = Limit(16, "pushes", "of one deployment under way before 429; each holds its archive")
ARCHIVE_BYTES = Limit(96 * MIB, "bytes", "that unpacking an archive may produce, ignored files and headers included")
ARCHIVE_MEMBERS = Limit(16_384, "members", "in one archive: files, directories and what is ignored")
BUNDLE_BYTES = Limit(32 * MIB, "bytes", "of all files of a bundle, unpacked; what a bomb would exceed")
BUNDLE_FILES = Limit(4_096, "files", "in one bundle")
BUNDLE_PATH_CHARACTERS = Limit(256, "characters", "in the path of one file")
LOAD_TIME = Limit(5_000, "ms", "wall time to import a bundle")
DIAGNOSTICS = Limit(100, "diagnostics", "reported for one push; the rest is counted")
DECLARATION_ITEMS = Limit(4_096, "items", "functions, and routes, of one bundle")
VARIABLE_BYTES = Limit(64 * KIB, "bytes", "of one environment variable; a certificate chain fits")
ENVIRONMENT_BYTES = Limit(8 * MIB, "bytes", "of all variables of one deployment; they share a frame with the bundle")
VARIABLES = Limit(1_000, "variables", "of one deployment")
VERSIONS_KEPT = Limit(50, "versions", "of one deployment that can be rolled back to; older ones are dropped")
DEPLOYMENT_KEYS = Limit(100, "keys", "of one deployment")
DOMAINS = Limit(100, "domains", "of one deployment's own")
DECLARATION_TEXT = Limit(1_024, "characters", "of one pattern, handler or path in a declaration")
VALIDATOR_BYTES = Limit(64 * KIB, "bytes", "of the validator of one function, or of one table's documents, as JSON")
SCHEMA_BYTES = Limit(4 * MIB, "bytes", "of a whole schema as JSON; a push writes it in one transaction")
IMPORT_BYTES = Limit(4_096 * MIB, "bytes", "of one import, as it is sent and unpacked; kept on disk while it is read")
IMPORT_LINE = Limit(4 * MIB, "bytes", "of one line of an import: a document of the largest size, escaped as JSON")
UNKNOWN_NAMES = Limit(120, "names", "a minute for which a proxy asks in vain whether it may order a certificate")
CONTROL_BODY = Limit(1 * MIB, "bytes", "of a JSON request to the control plane; pushes have their own limit")

# --- Crons ------------------------------------------------------------------------------------------------------------
CRONS = Limit(100, "crons", "of one bundle; a push writes their records in one transaction")
CRON_ARGUMENT_BYTES = Limit(1 * MIB, "bytes", "encoded arguments of one cron; what Convex allows")
CRONS_BYTES = Limit(4 * MIB, "bytes", "encoded arguments of all crons of a bundle; what is due is one transaction")
CRON_NAME_CHARACTERS = Limit(256, "characters", "of the name of a cron")
CRON_LINE_CHARACTERS = Limit(256, "characters", "of a cron line, and of the name of a time zone")
CRON_LATENESS = Limit(600_000, "ms", "after its time in which a cron may still begin; what is later is skipped")
CRON_RUNS = Limit(5, "runs", "of each cron that are remembered; what Convex keeps")
CRON_ERROR_CHARACTERS = Limit(1_000, "characters", "of the error that is remembered with a run of a cron")
CRON_PERIOD = Limit(31_622_400, "seconds", "between two runs of an interval: a leap year; a cron line reaches further")

# --- Packages of Node-style modules -----------------------------------------------------------------------------------
PACKAGE_REQUIREMENTS = Limit(256, "requirements", "in one requirements.txt, and dependencies in one package.json")
PACKAGE_TEXT = Limit(1_024, "characters", "of one requirement, its hashes left out")
PACKAGE_LOCK = Limit(
    2 * MIB, "bytes", "of what a requirements.txt or package.json resolves to; it is kept in the version"
)
PACKAGE_BYTES = Limit(1_024 * MIB, "bytes", "of everything installed for one engine of one bundle")
PACKAGE_FILES = Limit(100_000, "files", "and folders, installed for one engine of one bundle")
PACKAGE_TIME = Limit(180_000, "ms", "of one run of uv or npm, what it downloads included")
PACKAGE_MEMORY = Limit(2_048 * MIB, "bytes", "of data that uv or npm may hold while they resolve and install")
PACKAGE_RUNS = Limit(2, "runs", "of uv or npm at once on one worker; the others wait")

# --- Identity ---------------------------------------------------------------------------------------------------------
TOKEN_BYTES = Limit(16 * KIB, "bytes", "of one token; directories that list all groups stay below it")
PROVIDERS = Limit(16, "providers", "in one auth_config.py")
PROVIDER_TEXT = Limit(1_024, "characters", "of a domain, an issuer, an application id or the URL of a key set")
KEY_SET_BYTES = Limit(128 * KIB, "bytes", "of a key set or a discovery document; large providers need 20 KiB")
KEY_SET_KEYS = Limit(100, "keys", "of one key set; the others are not looked at")
KEY_SET_AGE = Limit(600_000, "ms", "that a key set is believed before it is read again, and a token before its key is")
KEY_SET_STALE = Limit(3_600_000, "ms", "that a key set serves on while its provider cannot be reached")
KEY_SET_REFRESHES = Limit(10, "refreshes", "a minute of one key set because a token names a key that is not in it")
LOOKUP_TIME = Limit(4_000, "ms", "for a look-up at a provider, its name's resolution included; a query waits no longer")
LOOKUPS = Limit(32, "look-ups", "at providers at once, of all deployments together")
EGRESS_URL = Limit(2_048, "characters", "of a URL that a tenant, or somebody a tenant named, sends this server to")

# --- The way out ------------------------------------------------------------------------------------------------------
# Fewer than SYSCALLS_AT_ONCE: however many answers one call waits for, it can still read, give up, and use documents.
FETCHES = Limit(48, "fetches", "of one deployment at once, their bodies included; each holds a connection and a window")
FETCHES_TOGETHER = Limit(512, "fetches", "of all deployments at once; connections are descriptors of the server")
FETCH_URL = Limit(16 * KIB, "characters", "of a URL that is fetched; signed addresses are long")
FETCH_REQUEST = Limit(20 * MIB, "bytes", "of the body that a fetch sends")
FETCH_RESPONSE = Limit(20 * MIB, "bytes", "of the body that a fetch gets, unpacked; twice as much on the wire")
FETCH_REDIRECTS = Limit(20, "redirects", "followed by one fetch; what the Fetch standard says")
FETCH_SILENCE = Limit(60_000, "ms", "in which a server neither takes nor sends anything before a fetch gives it up")
FETCH_WINDOW = Limit(256 * KIB, "bytes", "of a fetched body that wait here for their reader; then the server waits")
FETCH_REFUSALS = Limit(32, "lines", "in the log about refused fetches of one call; the others only raise")
EGRESS_ENTRIES = Limit(256, "entries", "in the list of hosts that one deployment may connect to")

# --- Files ------------------------------------------------------------------------------------------------------------
FILE_BYTES = Limit(1024 * MIB, "bytes", "of one stored file")
FILE_TYPE = Limit(256, "characters", "of a stored file's content type")
FILES_OPEN = Limit(48, "files", "that functions of one deployment write and read at once; each holds a descriptor")
FILE_TRANSFERS = Limit(128, "transfers", "uploads and downloads of one deployment at once; each holds a descriptor")
FILES_TOGETHER = Limit(512, "files", "that are written and read at once, of all deployments")
FILE_SPARE = Limit(512 * MIB, "bytes", "of a disk that files leave to documents and logs; past it nothing is stored")
UPLOAD_TIME = Limit(900_000, "ms", "for one upload; one that trickles in holds a descriptor")
DOWNLOAD_TIME = Limit(3_600_000, "ms", "for one download; then it is cut, and a client may ask for the rest")
UPLOAD_URL_AGE = Limit(3_600_000, "ms", "that an upload URL can be used; what Convex gives")
FILE_ORPHAN_AGE = Limit(3_600_000, "ms", "after which a content without metadata is removed; no upload takes as long")

# --- Node-style actions -----------------------------------------------------------------------------------------------
LANE_TASKS = Limit(256, "tasks", "processes and threads of one lane at once; Node.js has 11 before it does anything")
LANE_DATA = Limit(
    256 * MIB, "bytes", "that one process may reserve beyond its lane's memory: stacks, what V8 maps first"
)
LANE_FILE = Limit(256 * MIB, "bytes", "of one file in the scratch folder")
LANE_SCRATCH = Limit(512 * MIB, "bytes", "of all files in the scratch folder, deleted ones that are open included")
LANE_SCRATCH_FILES = Limit(20_000, "files", "in the scratch folder; counting them takes the keeper a moment")
LANE_DESCRIPTORS = Limit(512, "descriptors", "of one process of a lane")
LANE_CPU = Limit(7_200_000, "ms", "burnt by one process of a lane in its life; a backstop, calls have their own time")
LANE_CONNECTS = Limit(256, "connects", "of one lane under way at once; the others are refused")
LANE_QUESTIONS = Limit(64, "questions", "for names, of one lane under way at once")
LANE_NAMES = Limit(4_096, "addresses", "whose names are remembered for one lane")
LANE_REFUSALS = Limit(20, "lines", "a minute in the log about connections that were refused; the rest is counted")
CONNECT_TIME = Limit(60_000, "ms", "for one connection of a Node-style action")

# --- Logs -------------------------------------------------------------------------------------------------------------
LOG_BYTES = Limit(32 * MIB, "bytes", "of one deployment's log on disk; the oldest eighth is dropped for more")
LOG_BACKLOG = Limit(64 * MIB, "bytes", "of log lines not yet on disk; past it lines are dropped and counted")
LOG_READ = Limit(10_000, "lines", "of one answer")
LOG_FOLLOWER_BYTES = Limit(8 * MIB, "bytes", "of lines that wait for one slow reader")
LOG_FOLLOWER = Limit(4_096, "lines", "that wait for one slow reader; then lines are dropped and counted")

# --- The queue --------------------------------------------------------------------------------------------------------
ERRAND_WAIT = Limit(30_000, "ms", "that a call of a Node-style action waits for a worker before it is refused")
ERRAND_LEASE = Limit(10_000, "ms", "that a worker is believed to run a call without saying so again")
ERRAND_TIME = Limit(900_000, "ms", "that a worker's answer is waited for, whatever it does; it ends earlier by itself")

# --- The wall ---------------------------------------------------------------------------------------------------------
GUEST_FRAME = Limit(8 * MIB + 64 * KIB, "bytes", "one frame from a guest: the largest value and its envelope")
GUEST_FRAME_ITEMS = Limit(327_680, "items", "in one frame from a guest: the largest value and its envelope")
HOST_FRAME = Limit(48 * MIB, "bytes", "one frame to a guest: a whole bundle and its environment")
BODY_CHUNK = Limit(256 * KIB, "bytes", "one piece of a body on the wire")
BODY_WINDOW = Limit(1 * MIB, "bytes", "of a body under way and not yet taken by the other side")
GUEST_MEMORY = Limit(256 * MIB, "bytes", "that an isolate may add to its address space after the lock-down")
GUEST_BACKLOG = Limit(64 * MIB, "bytes", "written to an isolate that does not read, before it is killed")
GUEST_STDERR = Limit(64 * KIB, "bytes", "that an isolate may write to its standard error in its life")
START_TIME = Limit(10_000, "ms", "from the wish for another isolate to its proof that it is locked down, before 503")
ISOLATE_CALLS = Limit(1_000_000, "calls", "after which an isolate is retired: leaks and state end here")
ISOLATE_AGE = Limit(3_600_000, "ms", "after which an isolate is retired")
ISOLATE_IDLE = Limit(300_000, "ms", "without a call, after which an isolate is retired")
ISOLATE_CONVERSATIONS = Limit(64, "conversations", "in one isolate before the deployment gets another one")
IDLE_CPU = Limit(200, "ms", "burnt by an isolate that has no call to run, before it is retired")

# --- Node-style actions -----------------------------------------------------------------------------------------------
NODE_ACTION_TIME = Limit(600_000, "ms", "wall time of a Node-style action; what Convex allows")
NODE_STOP_GRACE = Limit(5_000, "ms", "from the deadline of a Node-style action to SIGKILL, if it does not end")
NODE_LOAD_TIME = Limit(60_000, "ms", "wall time to import a bundle's Node-style modules, their packages included")
NODE_ARGUMENT_BYTES = Limit(5 * MIB, "bytes", "encoded arguments of a Node-style action; what Convex allows")
NODE_MEMORY = Limit(512 * MIB, "bytes", "in use by a Node-style process before it is ended; what Convex allows")
NODE_THREADS = Limit(32, "threads", "that run plain functions (`def`) in one Node-style process; the others wait")
NODE_IDLE = Limit(600_000, "ms", "without a call, after which a Node-style process is retired")
NODE_AGE = Limit(3_600_000, "ms", "after which a Node-style process is retired")
NODE_IDLE_CPU = Limit(500, "ms", "of CPU in a second burnt by a Node-style process with no call, before it is ended")
