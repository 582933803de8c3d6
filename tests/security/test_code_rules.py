"""What the code that is shipped never does, read from its syntax trees: the kinds of mistake no test by example finds."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

ROOMS = ("acoustic", "sensors", "localization", "alerts", "shotfix")

PICKLES = {"shotfix/checkpoint.py"}
"""The one place that unpickles: it checks whose the file is first, see tests/shotfix/test_checkpoint.py."""
STARTS_PROGRAMS = {"alerts/record/server_copy.py", "sensors/time_source.py", "shotfix/demo.py"}
"""pg_dump and pg_restore, chronyc and our own loopback receiver; each with a list of arguments."""
DICE = {"sensors/supervised.py", "sensors/uplink.py", "shotfix/city_street.py", "shotfix/ingest_nats.py"}
"""Waits that are not to fall together, and a city that is drawn: nothing that must not be guessed."""

NEVER_IMPORTED = {
    "marshal", "shelve", "dill", "yaml", "xml", "lxml", "telnetlib", "ftplib", "smtplib", "cgi", "ldap", "pymemcache", "jinja2",
    "mako", "jwt", "zipfile", "tarfile", "shutil.unpack_archive", "crypt",
}  # fmt: skip
ZIPS = {"acoustic/classifier.py"}
"""Names the error of numpy's reader; the archive is our own model, without objects in it."""


class Code:
    """All that is shipped, walked once: its nodes by kind, and its calls by the name that is called."""

    def __init__(self, root):
        self.nodes, self.calls, self.imports = {}, {}, {}
        for room in ROOMS:
            for path in sorted((root / room).rglob("*.py")):
                self._read(path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8")))
        assert len(self.imports) > 150

    def _read(self, path, tree):
        modules = self.imports[path] = set()
        for node in ast.walk(tree):
            self.nodes.setdefault(type(node), []).append((path, node))
            if isinstance(node, ast.Call):
                self.calls.setdefault(ast.unparse(node.func), []).append((path, node))
            elif isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)

    def importing(self, module):
        """The files that import it, or something of it."""
        return {path for path, modules in self.imports.items() if module in {name.split(".")[0] for name in modules}}


@pytest.fixture(scope="module")
def code(root):
    return Code(root)


def calls(code, pattern):
    """Where something is called, and the call."""
    wanted = re.compile(pattern)
    return [found for name, all_found in code.calls.items() if wanted.fullmatch(name) for found in all_found]


def places(found):
    return [f"{path}:{node.lineno}" for path, node in found]


def test_no_text_is_run_as_a_program(code):
    assert places(calls(code, r"eval|exec|compile|__import__|code\.\w+|runpy\.\w+")) == []
    assert {path for path, _ in calls(code, r"importlib\.import_module")} == {"shotfix/__init__.py"}  # its own table


def test_one_place_unpickles_and_numpy_never_does(code):
    assert code.importing("pickle") == PICKLES
    for path, node in calls(code, r"(np|numpy)\.load"):
        assert any(word.arg == "allow_pickle" and ast.unparse(word.value) == "False" for word in node.keywords), path
    assert places(calls(code, r".*\.(read_pickle|Unpickler)")) == []


def test_nothing_that_reads_dangerous_formats_or_speaks_old_protocols_is_used(code):
    for module in NEVER_IMPORTED:
        assert code.importing(module) <= (ZIPS if module == "zipfile" else set()), module


def test_programs_are_started_without_a_shell_and_in_known_places(code):
    assert places(calls(code, r"os\.(system|popen|spawn\w+|exec\w+)|subprocess\.get\w+|pty\.\w+")) == []
    starts = calls(code, r"subprocess\.(run|Popen|call|check_\w+)|(?:asyncio\.)?create_subprocess_\w+")
    assert {path for path, _ in starts} <= STARTS_PROGRAMS
    for path, node in starts:
        assert not any(word.arg == "shell" for word in node.keywords), path
        assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), f"{path}: a command is a list"


def test_what_must_not_be_guessed_comes_from_the_systems_randomness(code):
    assert code.importing("random") <= DICE
    assert "shotfix/api/people.py" in {path for path, _ in calls(code, r"secrets\.token_\w+")}
    assert places(calls(code, r"uuid\.uuid[1345]|uuid[1345]|tempfile\.mktemp")) == []


def test_hashes_are_of_256_bits(code):
    assert places(calls(code, r"hashlib\.(md5|sha1|new|md4|ripemd160|sha224)")) == []
    for path, node in calls(code, r"hmac\.(new|digest)"):
        assert "sha256" in ast.unparse(node), path


TOLD_OF_TOKENS = {"shotfix/api/token_log.py"}
"""What is called a token there is a line of the ledger about one: who got it, and that it was revoked."""


def test_secrets_are_compared_in_constant_time(code):
    """No ``==`` between things that are called a token, a signature, a secret or a password."""
    secret = re.compile(r"(?i)\w*(token|signature|secret|password)")
    for path, node in code.nodes[ast.Compare]:
        if path in TOLD_OF_TOKENS:
            continue
        sides = [node.left, *node.comparators]
        if not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        if not any(isinstance(side, ast.Constant) for side in sides):
            names = [ast.unparse(side).rpartition(".")[2] for side in sides]
            assert not any(secret.fullmatch(name) for name in names), f"{path}:{node.lineno}"
    assert {path for path, _ in calls(code, r"hmac\.compare_digest")} >= {
        "alerts/couriers/loopback.py", "shotfix/vital_signs.py", "shotfix/api/people.py",
    }  # fmt: skip


SCHEMA_ROOMS = ("alerts/record/", "alerts/places/", "alerts/gazetteer.py")
"""Where statements name tables and columns of the schema itself, which no placeholder can stand for; people's words do
not reach these rooms but as parameters."""


def test_statements_for_the_database_are_never_put_together_from_values(code):
    """A constant; or, where the schema is made, a constant with names of our own in it."""
    ran = calls(code, r"(sa|sqlalchemy)\.(text|literal_column)|.*\.(exec_driver_sql|execute|executescript)")
    assert len(ran) > 50
    for path, node in ran:
        statement = node.args[0] if node.args else None
        if isinstance(statement, ast.BinOp):
            assert not isinstance(statement.op, ast.Mod | ast.Add), f"{path}:{node.lineno}"
        if isinstance(statement, ast.JoinedStr):
            parts = [part.value for part in statement.values if isinstance(part, ast.FormattedValue)]
            constant = all(isinstance(part, ast.Name) and part.id.isupper() for part in parts)
            ours = path.startswith(SCHEMA_ROOMS) and all(isinstance(part, ast.Name) for part in parts)
            assert constant or ours, f"{path}:{node.lineno}: {ast.unparse(statement)}"


def test_no_client_follows_redirects_or_believes_the_environment(code):
    for path, node in calls(code, r"httpx\.(Async)?Client"):
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert words.get("follow_redirects", "False") == "False", path
        assert words.get("trust_env") == "False", path
    direct = r"httpx\.(get|post|put|delete|request|stream)|urllib\.request\.\w+|urlopen|requests\.\w+"
    assert places(calls(code, direct)) == []


def test_no_server_shows_a_folder_its_debugger_or_where_else_to_go(code):
    forbidden = {"StaticFiles", "RedirectResponse", "HTMLResponse", "CORSMiddleware", "SessionMiddleware"}
    assert [f"{path}:{node.lineno}" for path, node in code.nodes[ast.Name] if node.id in forbidden] == []
    for path, node in calls(code, r"Starlette"):
        assert not any(word.arg == "debug" for word in node.keywords), path


def test_no_cookie_is_ever_set(code):
    assert [path for path, node in code.nodes[ast.Attribute] if node.attr == "set_cookie"] == []
    words = [(path, node.value) for path, node in code.nodes[ast.Constant] if isinstance(node.value, str)]
    assert [path for path, word in words if word.lower() == "set-cookie"] == []


def test_no_bare_except_swallows_what_went_wrong(code):
    assert [f"{path}:{node.lineno}" for path, node in code.nodes[ast.ExceptHandler] if node.type is None] == []


SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|whsec_[A-Za-z0-9+/]{24,}|AKIA[0-9A-Z]{16}|shotfix_[A-Za-z0-9_-]{40,}|"
    r"xox[abp]-[0-9A-Za-z-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}"
)


def test_no_secret_is_in_what_is_shipped(root):
    """Known forms of keys and tokens, in all that is tracked; tests make theirs as they run."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git: what is tracked cannot be listed")
    for name in listed.stdout.decode().split("\0"):
        path = root / name
        if not name or not path.is_file() or path.stat().st_size > 2_000_000 or b"\0" in path.read_bytes()[:1_000]:
            continue
        if name.startswith(("tests/", "fixtures/")):
            continue
        assert not SECRETS.search(path.read_text("utf-8", "replace")), name
