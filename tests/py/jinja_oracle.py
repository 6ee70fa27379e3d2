"""Chat templates by two engines: PyPI's jinja2 as Hugging Face sets it up, and ours."""

import ctypes
import datetime
import functools
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 3, 9, 10, 11, 12)
NOW_UNIX = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())


class RenderOptions(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("max_steps", "max_output", "max_memory", "max_depth")]
    _fields_ += [("now_unix", ctypes.c_int64)]


class Err(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("os_errno", ctypes.c_int), ("file", ctypes.c_char_p),
                ("line", ctypes.c_int), ("message", ctypes.c_char * 512)]


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


class Generation(jinja2.ext.Extension):
    """Hugging Face's {% generation %} block, which shows its content as it is."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class Dict:
    """Hugging Face's dict(): makes dicts, and can be asked for nothing else."""

    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    """Hugging Face's namespace(), which takes no name that begins with an underscore."""

    def __init__(*args, **kwargs):
        self, attributes = args[0], dict(*args[1:], **kwargs)
        for name in attributes:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    env.globals["dict"] = Dict()
    env.globals["namespace"] = Namespace
    return env


class Theirs:
    def __init__(self):
        # One template is asked for many texts, and to compile it takes longest.
        self.compiled = functools.lru_cache(64)(environment().from_string)

    def __call__(self, source, variables):
        """The text, or None where jinja2 fails."""
        try:
            return self.compiled(source).render(**json.loads(json.dumps(variables)))
        except Exception:  # noqa: BLE001 - Python's own errors are the template's too
            return None


class Ours:
    """libverdant's public C API."""

    def __init__(self, lib):
        self.lib = lib
        lib.vd_template_free.argtypes = lib.vd_text_free.argtypes = [ctypes.c_void_p]
        lib.vd_template_free.restype = lib.vd_text_free.restype = None
        self.message = ""
        self.status = 0

    def __call__(self, source, variables, **limits):
        """The text, or None; then `message` says why."""
        tmpl, err = ctypes.c_void_p(), Err()
        data = source.encode()
        self.status = self.lib.vd_template_parse(data, ctypes.c_size_t(len(data)),
                                                 ctypes.byref(tmpl), ctypes.byref(err))
        text, n = ctypes.c_void_p(), ctypes.c_size_t()
        if self.status == 0:
            data = json.dumps(variables).encode()
            options = RenderOptions(now_unix=NOW_UNIX, **limits)
            self.status = self.lib.vd_template_render(
                tmpl, data, ctypes.c_size_t(len(data)), ctypes.byref(options),
                ctypes.byref(text), ctypes.byref(n), ctypes.byref(err))
            self.lib.vd_template_free(tmpl)
        if self.status != 0:
            self.message = err.message.decode()
            return None
        result = ctypes.string_at(text, n.value).decode()
        self.lib.vd_text_free(text)
        return result
