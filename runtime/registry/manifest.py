"""A worker's manifest: worker.toml, read and validated as a record.

docs/reference/worker-toml.md explains every key of worker.toml.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from runtime.errors import Invalid, WorkerInvalid
from runtime.model import Json
from runtime.registry import node
from runtime.registry.agents import AgentRole, AgentStyle
from runtime.registry.config_schema import ANYTHING, ConfigSchema
from runtime.registry.digest import digest_of
from runtime.sandbox.destinations import Destination
from runtime.sandbox.rules import Credential, Level, Rules


class WorkerType(StrEnum):
    """How a worker is started."""

    PYTHON = "python"
    """Forked from a process that has already imported the entrypoint."""
    NODE = "node"
    """Node.js runs the entrypoint."""
    EXEC = "exec"
    """A program, executed for each run."""
    HTTP = "http"
    """A web service: the pool posts the run to a URL."""
    REMOTE = "remote"
    """A machine elsewhere asks for its runs, and has its code."""

    @property
    def elsewhere(self) -> bool:
        """Whether its code is on another machine, and so in no sandbox of ours."""
        return self in (WorkerType.HTTP, WorkerType.REMOTE)


GRANTS = ("knowledge",)
"""What worker.toml may grant: ``knowledge`` is to search the knowledge base of the run's workspace,
and to add documents to it."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one child may use; None: no limit."""

    memory_bytes: int | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class WindowRules:
    """What of a conversation its runs are given."""

    messages: int | None = None
    """How many of the newest messages, besides the goal; None: as the settings say."""
    summary: str | None = None
    """The worker that sums up what is left out; None: nobody does."""


class Dialect(StrEnum):
    """What a web service speaks."""

    WORKER = "worker"
    """The worker protocol."""
    AGENT_SERVICE = "agent_service"
    """A prompt and its context are posted, and the text comes as Server-Sent Events."""


_CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class HttpRules:
    """How a web service is reached."""

    connect_timeout: float = _CONNECT_TIMEOUT
    """Seconds to connect."""
    idle_timeout: float | None = None
    """Seconds in which something comes; None: as long as the run may take."""
    secret: str | None = None
    """The environment variable with the secret by which requests are signed; None: they are not."""
    dialect: Dialect = Dialect.WORKER


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a worker.toml and its schema say, for any process, whether the folder is there or not."""

    id: str
    name: str
    description: str
    type: WorkerType
    pool: str
    config_schema: Mapping[str, Json]
    presets: Mapping[str, Mapping[str, Json]]
    """Configurations that its users may begin with, by name."""
    timeout_seconds: float | None
    max_attempts: int | None
    max_running: int | None
    """How many of its runs may run at once, in all processes of its pool."""
    env: tuple[str, ...]
    """Environment variables that it requires."""
    optional_env: tuple[str, ...]
    """Environment variables that it gets if they are set."""
    history: int | None
    """How many messages of the conversation it gets."""
    window: WindowRules | None
    """What it gets in place of that; None: its runs have no window."""
    limits: WorkerLimits
    sandbox: Rules
    accepts: tuple[str, ...]
    """The types of files that it takes, as ``image/*``; none: it takes no files."""
    grants: tuple[str, ...]
    """What its runs reach over the API beside themselves, see :data:`GRANTS`."""
    continues: bool
    """Whether an attempt goes on with the text of a lost one, which is void otherwise."""
    role: AgentRole
    style: AgentStyle
    enabled: bool
    digest: str
    """Identifies the version: SHA-256 over the folder's files."""
    schema: ConfigSchema = field(repr=False, compare=False)
    declared: Mapping[str, Json] = field(repr=False, compare=False)
    """worker.toml, as it was read."""

    def encode(self) -> dict[str, Json]:
        """As pools register it."""
        return {"worker": dict(self.declared), "config_schema": dict(self.config_schema)}

    @classmethod
    def decode(cls, data: Mapping[str, Any], digest: str) -> Manifest:
        """What a pool has registered of the version ``digest``. Raises WorkerInvalid.

        Keys of later versions of Branchline are ignored.
        """
        try:
            return cls(**_fields(data["worker"], ConfigSchema(data["config_schema"]), digest))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerInvalid(f"a pool of another version registered it ({error!r})") from error

    def check_config(self, config: Mapping[str, Json], caller: str = "") -> dict[str, Json]:
        """``config`` with defaults filled in, as :meth:`ConfigSchema.check` does it."""
        checked: dict[str, Json] = self.schema.check(config, caller)
        return checked

    def window_size(self, default: int) -> int:
        """How many messages the turns of a session are given that does not say so itself."""
        if self.window is not None:
            return self.window.messages or default
        return min(default, self.history or default)

    @property
    def summary_worker(self) -> str | None:
        """Which worker sums up what its window leaves out; None: nobody does."""
        return self.window.summary if self.window is not None else None

    def takes(self, type: str) -> bool:
        """Whether it takes files of a type, as ``image/png``."""
        kind = type.partition("/")[0]
        return any(accepted in (type, f"{kind}/*", "*/*") for accepted in self.accepts)


@dataclass(frozen=True, slots=True)
class Worker(Manifest):
    """A worker whose folder is on this machine."""

    folder: Path
    """In which its runs are started: a copy, where a pool has made one of this version."""
    source: Path
    """Its folder, as its author knows it."""
    entrypoint: Path | None
    """Set for python and node."""
    command: tuple[str, ...]
    """Set for exec; run in ``folder``."""
    python: Path | None
    """The interpreter of an environment of its own; for python."""
    requirements: Path | None
    """What is to be installed into an environment of its own; for python."""
    url: str | None
    """Set for http. It may begin with the name of a variable of the pool, as ``${AGENTS}/stream``."""
    http: HttpRules = HttpRules()
    """Used for http."""

    def unavailable(self, environ: Mapping[str, str]) -> str | None:
        """Why it cannot run in the environment ``environ``; None: it can."""
        if not self.enabled:
            return "it is disabled in its worker.toml"
        needed = (*self.env, *(credential.variable for credential in self.sandbox.credentials))
        missing = [name for name in needed if not environ.get(name)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            return f"{' and '.join(missing)} {verb} not set; set it where the pool runs"
        if self.url is not None and not _is_url(self.url_in(environ)):
            return f"{_variable_of(self.url)} does not begin a URL such as http://agents.example.com:8052"
        if self.type is WorkerType.NODE and self.entrypoint is not None:
            try:
                node.command(self.entrypoint, environ)
            except node.NodeMissing as missing_node:
                return str(missing_node)
            return None
        program = self.program
        if program and os.sep not in program and not shutil.which(program, path=environ.get("PATH")):
            return f"the program {program!r} is not on the PATH of the pool"
        return None

    def url_in(self, environ: Mapping[str, str]) -> str:
        """Where a service is, in the environment ``environ``; for http."""
        assert self.url is not None
        name = _variable_of(self.url)
        return environ.get(name, "").rstrip("/") + self.url[len(name) + 3 :] if name else self.url

    @property
    def written(self) -> frozenset[str]:
        """Paths in its folder that its runs write to, by its worker.toml."""
        return _written(self.source, self.sandbox.write)

    def in_copy(self, copy: Path) -> Worker:
        """The same, with ``copy`` in place of its folder."""
        command = self.command
        if command:
            command = (str(_moved(Path(command[0]), self.folder, copy)), *command[1:])
        entrypoint = self.entrypoint and _moved(self.entrypoint, self.folder, copy)
        requirements = self.requirements and _moved(self.requirements, self.folder, copy)
        return replace(self, folder=copy, entrypoint=entrypoint, command=command, requirements=requirements)

    @property
    def program(self) -> str | None:
        """The program that is executed for each run; None if there is none."""
        if self.type is WorkerType.NODE:
            return "node"
        return self.command[0] if self.command else None


def load(folder: Path, digest: str | None = None) -> Worker:
    """The worker in ``folder``. Raises WorkerInvalid that says what is wrong.

    ``digest``: that of the folder, where it is known.
    """
    try:
        return _load(folder, digest)
    except OSError as error:
        raise WorkerInvalid(f"{error.filename} cannot be read: {error.strerror}") from error


def _load(folder: Path, digest: str | None) -> Worker:
    declared = _manifest(folder)
    path = declared.get("config_schema_path")
    schema = ConfigSchema.read(_inside(folder, path)) if path else ConfigSchema(ANYTHING)
    _check_presets(declared.get("presets", {}), schema)
    entrypoint = declared.get("entrypoint_path")
    command, sandbox = tuple(declared.get("command", ())), declared.get("sandbox", {})
    if command and "/" in command[0] and not command[0].startswith("/"):
        command = (str(_inside(folder, command[0])), *command[1:])
    if digest is None:
        digest = digest_of(folder, _written(folder, sandbox.get("write", ())))
    return Worker(
        **_fields(declared, schema, digest),
        folder=folder,
        source=folder,
        entrypoint=_inside(folder, entrypoint) if entrypoint else None,
        command=command,
        python=Path(os.path.join(folder, declared["python"])) if "python" in declared else None,
        requirements=_inside(folder, declared["requirements"]) if "requirements" in declared else None,
        url=declared.get("url"),
        http=_http_rules(declared.get("http", {})),
    )


def _window_rules(table: Mapping[str, Any] | None) -> WindowRules | None:
    return None if table is None else WindowRules(table.get("messages"), table.get("summary"))


def _http_rules(table: Mapping[str, Any]) -> HttpRules:
    return HttpRules(
        table.get("connect_timeout_seconds", _CONNECT_TIMEOUT),
        table.get("idle_timeout_seconds"),
        table.get("secret"),
        Dialect(table.get("dialect", Dialect.WORKER)),
    )


def _written(folder: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths, as a worker.toml has them, that are in the folder."""
    inside = (os.path.normpath(os.path.join(folder, os.path.expanduser(path))) for path in paths)
    return frozenset(path for path in inside if Path(path).is_relative_to(folder))


def _moved(path: Path, folder: Path, copy: Path) -> Path:
    """Where a file of the folder is in its copy; any other path stays."""
    for known in (folder, folder.resolve()):
        if path.is_relative_to(known):
            return copy / path.relative_to(known)
    return path


def _fields(declared: Mapping[str, Any], schema: ConfigSchema, digest: str) -> dict[str, Any]:
    """What a manifest says, by the names of its fields."""
    limits, sandbox = declared.get("limits", {}), declared.get("sandbox", {})
    variables = (*declared.get("env", ()), *sandbox.get("env", ()))
    return {
        "id": declared["id"],
        "name": declared["name"],
        "description": declared.get("description", ""),
        "type": WorkerType(declared["type"]),
        "pool": declared.get("pool", declared["type"]),
        "config_schema": schema.document,
        "presets": declared.get("presets", {}),
        "timeout_seconds": declared.get("timeout_seconds"),
        "max_attempts": declared.get("max_attempts"),
        "max_running": declared.get("max_running"),
        "env": tuple(name for name in variables if not name.endswith("?")),
        "optional_env": tuple(name[:-1] for name in variables if name.endswith("?")),
        "history": declared.get("history"),
        "window": _window_rules(declared.get("window")),
        "limits": WorkerLimits(limits.get("memory_bytes"), limits.get("open_files")),
        "sandbox": _rules(sandbox),
        "accepts": tuple(declared.get("accepts", ())),
        "grants": tuple(declared.get("grants", ())),
        "continues": declared.get("resume") == "continue",
        "role": AgentRole(declared.get("role", AgentRole.OTHER)),
        "style": AgentStyle(declared.get("style", AgentStyle.STRUCTURED_CHAT)),
        "enabled": declared.get("enabled", True),
        "digest": digest,
        "schema": schema,
        "declared": declared,
    }


def _check_presets(presets: Mapping[str, Json], schema: ConfigSchema) -> None:
    for name, config in presets.items():
        try:
            schema.check(config)
        except Invalid as error:
            problems = "; ".join(f"{'.'.join(map(str, one.path))} {one.message}" for one in error.errors)
            raise WorkerInvalid(f"its preset {name!r} does not fit its config schema: {problems}") from error


def _rules(table: Mapping[str, Any]) -> Rules:
    return Rules(
        level=Level(table.get("level", Level.STANDARD)),
        required=table.get("required", False),
        read=tuple(table.get("read", ())),
        write=tuple(table.get("write", ())),
        connect=tuple(table.get("connect", ())),
        disk_bytes=table.get("disk_bytes"),
        credentials=tuple(
            Credential(
                host=host.lower(),
                variable=entry["env"],
                base_url_variable=entry["base_url_env"],
                **{key: entry[key] for key in ("path", "header", "format") if key in entry},
            )
            for host, entry in table.get("credentials", {}).items()
        ),
    )


NAME = validate.Regexp(
    r"[a-z0-9][a-z0-9_-]{0,63}\Z",
    error="must be 1 to 64 of a-z, 0-9, _ and -, and begin with a letter or digit",
)
"""The id of a worker, or the name of a pool."""


def _no_nul(text: str) -> None:
    if "\0" in text:
        raise ValidationError("may not contain the NUL character")


def _text(least: int = 0, most: int | None = None, **options: Any) -> fields.String:
    return fields.String(validate=[validate.Length(least, most), _no_nul], **options)


def _member_of(kind: type[StrEnum]) -> Callable[[str], None]:
    """Checks for a value of ``kind``, by any of its names."""

    def check(name: str) -> None:
        try:
            kind(name)
        except ValueError:
            raise ValidationError(f"must be one of: {', '.join(kind)}") from None

    return check


_MAX_LIMIT = 2**62
"""The highest limit that the kernel accepts."""
_TYPE = validate.Regexp(
    r"(\*/\*|[a-z]+/(\*|[a-z0-9][a-z0-9.+-]*))\Z",
    error='must be the type of a file, such as "image/*" or "*/*"',
)
_VARIABLE = validate.Regexp(
    r"(?!BRANCHLINE_)[A-Za-z_][A-Za-z0-9_]{0,127}\??\Z",
    error='must be the name of an environment variable, with "?" after it if it is optional; '
    "workers do not get those that begin with BRANCHLINE_",
)
_SECRET = validate.Regexp(
    r"(?!BRANCHLINE_)[A-Za-z_][A-Za-z0-9_]{0,127}\Z",
    error="must be the name of an environment variable of the pool",
)
_AT_VARIABLE = re.compile(r"\A\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}(?=/|\Z)")
_URL = validate.URL(schemes={"http", "https"}, require_tld=False)


def _variable_of(url: str) -> str | None:
    """The environment variable that a URL begins with; None: it begins with a scheme."""
    found = _AT_VARIABLE.match(url)
    return found[1] if found else None


def _is_url(text: str) -> bool:
    try:
        _URL(text)
    except ValidationError:
        return False
    return True


def _service_url(text: str) -> None:
    filled = _AT_VARIABLE.sub("http://host", text, count=1)
    if "${" in filled:
        raise ValidationError("may have one variable, at its beginning, as ${NAME}/path")
    _URL(filled)


_NEEDS = {"python": "entrypoint_path", "node": "entrypoint_path", "exec": "command", "http": "url"}


class _LimitsSchema(Schema):
    memory_bytes = fields.Integer(strict=True, validate=validate.Range(min=1 << 20, max=_MAX_LIMIT))
    open_files = fields.Integer(strict=True, validate=validate.Range(min=16, max=_MAX_LIMIT))


class _WindowSchema(Schema):
    messages = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    summary = fields.String(validate=NAME)


class _HttpSchema(Schema):
    connect_timeout_seconds = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=600))
    idle_timeout_seconds = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=7 * 86400))
    secret = fields.String(validate=_SECRET)
    dialect = fields.String(validate=_member_of(Dialect))


def _destination(text: str) -> None:
    try:
        Destination.parse(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _named_host(text: str) -> None:
    """The host of a credential."""
    _destination(text)
    entry = Destination.parse(text)
    if entry.name is None or entry.name.startswith("*"):
        raise ValidationError('must be the name of one host, with ":port" after it if that is not 443')


class _CredentialSchema(Schema):
    env = fields.String(required=True, validate=_SECRET)
    base_url_env = fields.String(required=True, validate=_SECRET)
    path = fields.String(
        validate=validate.Regexp(
            r"(/[A-Za-z0-9._~-]+)*\Z", error='must be like "/v1", without a "/" at its end'
        )
    )
    header = fields.String(
        validate=validate.Regexp(r"[A-Za-z0-9-]{1,100}\Z", error="must be the name of a header")
    )
    format = fields.String(
        validate=validate.Regexp(r"[!-z| ]*\{\}[!-z| ]*\Z", error="must have one {{}}, for the secret")
    )


class _SandboxSchema(Schema):
    level = fields.String(validate=validate.OneOf(list(Level)))
    required = fields.Boolean(truthy={True}, falsy={False})
    read = fields.List(_text(1, 1000))
    write = fields.List(_text(1, 1000))
    connect = fields.List(fields.String(validate=_destination))
    env = fields.List(fields.String(validate=_VARIABLE))
    disk_bytes = fields.Integer(strict=True, validate=validate.Range(min=1 << 20, max=_MAX_LIMIT))
    credentials = fields.Dict(
        fields.String(validate=_named_host), fields.Nested(_CredentialSchema, unknown=RAISE)
    )

    @validates_schema
    def check_network(self, data: dict[str, Any], **_: Any) -> None:
        for key in ("connect", "credentials"):
            if data.get(key) and data.get("level") != Level.STRICT:
                raise ValidationError('means something at level = "strict" only', key)


class _ManifestSchema(Schema):
    """worker.toml."""

    id = fields.String(required=True, validate=NAME)
    name = _text(1, 100, required=True)
    description = _text(0, 2000)
    type = fields.String(required=True, validate=validate.OneOf(list(WorkerType)))
    entrypoint_path = _text(1, 500)
    command = fields.List(_text(), validate=validate.Length(min=1))
    python = _text(1, 500)
    requirements = _text(1, 500)
    url = fields.String(validate=_service_url)
    config_schema_path = _text(1, 500)
    presets = fields.Dict(
        keys=_text(1, 100), values=fields.Dict(keys=fields.String()), validate=validate.Length(max=50)
    )
    pool = fields.String(validate=NAME)
    timeout_seconds = fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=7 * 86400))
    max_attempts = fields.Integer(strict=True, validate=validate.Range(min=1, max=100))
    max_running = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    env = fields.List(fields.String(validate=_VARIABLE))
    history = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    window = fields.Nested(_WindowSchema, unknown=RAISE)
    accepts = fields.List(fields.String(validate=_TYPE), validate=validate.Length(max=100))
    grants = fields.List(fields.String(validate=validate.OneOf(GRANTS)))
    resume = fields.String(validate=validate.OneOf(("restart", "continue")))
    role = fields.String(validate=_member_of(AgentRole))
    style = fields.String(validate=_member_of(AgentStyle))
    limits = fields.Nested(_LimitsSchema, unknown=RAISE)
    sandbox = fields.Nested(_SandboxSchema, unknown=RAISE)
    http = fields.Nested(_HttpSchema, unknown=RAISE)
    enabled = fields.Boolean(truthy={True}, falsy={False})

    @validates_schema
    def check_sandbox(self, data: dict[str, Any], **_: Any) -> None:
        sandbox = data.get("sandbox", {})
        given = {name.rstrip("?") for name in (*data.get("env", ()), *sandbox.get("env", ()))}
        for host, credential in sandbox.get("credentials", {}).items():
            if credential["env"] in given:
                message = (
                    f"gives the worker {credential['env']}, which the credential of {host} keeps from it"
                )
                raise ValidationError(message, "env")
        if "sandbox" in data and data.get("type") in (WorkerType.HTTP, WorkerType.REMOTE):
            problem = f"is not allowed for a worker of type {data['type']}, which runs elsewhere"
            raise ValidationError(problem, "sandbox")

    @validates_schema
    def check_environment(self, data: dict[str, Any], **_: Any) -> None:
        given = [key for key in ("python", "requirements") if key in data]
        if given and data.get("type") != WorkerType.PYTHON:
            raise ValidationError("is allowed for a worker of type python only", given[0])
        if len(given) > 1:
            raise ValidationError("is not allowed beside python, whose environment is your own", given[1])

    @validates_schema
    def check_window(self, data: dict[str, Any], **_: Any) -> None:
        if "window" in data and "history" in data:
            raise ValidationError("is not allowed beside window, which says the same", "history")

    @validates_schema
    def check_http(self, data: dict[str, Any], **_: Any) -> None:
        if "http" in data and data.get("type") != WorkerType.HTTP:
            raise ValidationError("means something for a worker of type http only", "http")
        secret = data.get("http", {}).get("secret")
        if secret is not None and secret not in data.get("env", ()):
            raise ValidationError(f"must be one of the variables in env: add {secret} there", "http.secret")
        variable = _variable_of(data.get("url", ""))
        if variable is not None and variable not in data.get("env", ()):
            raise ValidationError(f"begins with a variable that is not in env: add {variable} there", "url")

    @validates_schema
    def check_start_keys(self, data: dict[str, Any], **_: Any) -> None:
        type = data.get("type", "")
        needed = _NEEDS.get(type)
        if needed is None and type != WorkerType.REMOTE:
            return
        if needed is not None and needed not in data:
            raise ValidationError(f"is missing; a worker of type {data['type']} needs it", needed)
        for other in sorted(set(_NEEDS.values()) - {needed}):
            if other in data:
                raise ValidationError(f"is not allowed for a worker of type {data['type']}", other)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "worker.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        manifest: dict[str, Any] = _ManifestSchema().load(content, unknown=RAISE)
    except OSError as error:
        raise WorkerInvalid(f"its worker.toml cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise WorkerInvalid(f"its worker.toml is wrong: {_describe(error.normalized_messages())}") from error
    except RecursionError as error:
        raise WorkerInvalid("its worker.toml nests too deeply") from error
    except ValueError as error:
        raise WorkerInvalid(f"its worker.toml is not TOML: {error}") from error
    return manifest


def _describe(messages: Any, at: str = "") -> str:
    """Marshmallow's nested messages on one line: ``limits.open_files: Not a valid integer``."""
    if isinstance(messages, Mapping):
        parts = (_describe(inner, f"{at}.{key}".lstrip(".")) for key, inner in messages.items())
        return "; ".join(parts)
    return f"{at}: {' '.join(messages).rstrip('.')}"


def _inside(folder: Path, relative: str) -> Path:
    """The file at ``relative``, which must be inside ``folder``, also after following links."""
    try:
        path = (folder / relative).resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12; later versions find no file
        raise WorkerInvalid(f"{relative!r} is a link to itself; use the path of a file") from error
    if not path.is_relative_to(folder.resolve()):
        raise WorkerInvalid(f"{relative!r} is outside the worker's folder; use a file inside it")
    if not path.is_file():
        raise WorkerInvalid(f"the file {relative!r} does not exist; create it or correct worker.toml")
    return path
