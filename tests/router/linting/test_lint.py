from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from router import cli
from router.linting.lint import MOST_BYTES, lint, lint_text

NAMING = "You are ChatGPT, be brief."
ROOT = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run `pointsman lint` in this process: exit code, output, messages."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", "lint", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return command


def places(text: str, path: str = "a.txt") -> list[tuple[int, int, str]]:
    return [(one.line, one.column, one.words) for one in lint_text(text, path)]


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        pytest.param(NAMING, "a.txt", (1, 1), id="the first"),
        pytest.param(f"one\n\n  {NAMING}\n", "a.md", (3, 3), id="in the third line"),
        pytest.param(f"one\r\n{NAMING}\r\n", "a.txt", (2, 1), id="lines of Windows"),
        pytest.param(f"ünï 今天 {NAMING}", "a.txt", (1, 8), id="after other letters"),
        pytest.param(f"\U0001f600 {NAMING}", "a.txt", (1, 3), id="after a picture"),
        pytest.param(f'{{"content": "{NAMING}"}}', "a.json", (1, 14), id="JSON"),
        pytest.param(f'{{"a": "x\\n\\n{NAMING}"}}', "a.jsonl", (1, 13), id="after escapes"),
        pytest.param('{"a": "\\u4f60\\u662fChatGPT\\u3002"}', "a.json", (1, 8), id="escaped letters"),
        pytest.param(f"system: |\n  Rules\n  {NAMING}", "a.yaml", (3, 3), id="YAML"),
        pytest.param(f"{{% if x %}}{NAMING}{{% endif %}}", "a.j2", (1, 11), id="a template"),
        pytest.param(f"<|im_start|>system\n{NAMING}", "prompt", (1, 1), id="no ending"),
    ],
)
def test_a_finding_has_the_place_where_its_words_begin(text: str, path: str, found: tuple[int, int]) -> None:
    assert places(text, path)[0][:2] == found


def test_a_finding_says_what_breaks_and_what_to_write() -> None:
    (finding,) = lint_text(f"x\n{NAMING}", "prompts/a.txt")
    assert (finding.path, finding.rule, finding.words) == ("prompts/a.txt", "persona", "You are ChatGPT")
    assert (finding.breaks, finding.better) == (
        "another model is told that it is this one",
        "You are an AI assistant",
    )


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param(f'x = "{NAMING}"', [(1, 6)], id="a literal"),
        pytest.param(f"x = '{NAMING}'", [(1, 6)], id="single quotes"),
        pytest.param(f'x = """\nRules:\n{NAMING}\n"""', [(3, 1)], id="many lines"),
        pytest.param(f'x = f"{{a}}. {NAMING} {{b!r}}"', [(1, 12)], id="an f-string"),
        pytest.param(f'x = r"a\\n. {NAMING}"', [(1, 12)], id="a raw string"),
        pytest.param(f'x = b"{NAMING}"', [(1, 7)], id="bytes"),
        pytest.param(f'x = "Be brief.\\n{NAMING}"', [(1, 17)], id="after an escape"),
        pytest.param(f'x = "\\\n{NAMING}"', [(2, 1)], id="a line that goes on"),
        pytest.param('m = [{"role": "system", "content": "You are Claude."}]', [(1, 37)], id="a message"),
        pytest.param("""x = '{"content": "You are Claude."}'""", [(1, 19)], id="JSON in a string"),
        pytest.param(f"# {NAMING}", [], id="a comment"),
        pytest.param(f"x = 1  # {NAMING}", [], id="a comment behind"),
        pytest.param('def f():\n    """Says "You are ChatGPT" to it."""', [], id="a quotation"),
        pytest.param("You_are = ChatGPT", [], id="names"),
        pytest.param('complete(model="gpt-4o", as_="Claude")', [], id="arguments"),
        pytest.param('stop = ["<|im_end|>", "[INST]"]', [], id="marks alone"),
        pytest.param('if "you are chatgpt" in text: ...', [], id="a keyword"),
        pytest.param(f"def broken(:\n {NAMING}", [(2, 2)], id="no Python: every line"),
        pytest.param(f'x = """{NAMING}', [(1, 8)], id="a literal without end: every line"),
    ],
)
def test_in_python_only_the_literals_are_looked_at(code: str, found: list[tuple[int, int]]) -> None:
    assert [place[:2] for place in places(code, "a.py")] == found


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param(f"{NAMING} <!-- pointsman: allow -->", "a.md", id="markdown"),
        pytest.param(f'x = "{NAMING}"  # pointsman: allow', "a.py", id="behind a literal"),
        pytest.param(f'x = """\n{NAMING}\n"""  # pointsman: allow', "a.py", id="behind a long literal"),
        pytest.param(f"system: {NAMING}  # pointsman: allow", "a.yaml", id="YAML"),
    ],
)
def test_allow_silences_its_line(text: str, path: str) -> None:
    assert places(text, path) == []


def test_allow_silences_no_other_line() -> None:
    assert [line for line, _, _ in places(f"{NAMING} pointsman: allow\n{NAMING}")] == [2]


def written(folder: Path, **files: str | bytes) -> Path:
    """A folder with files; `__` in a name is a slash, `_` a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_folders_are_walked_in_order_without_what_is_not_the_teams(tmp_path: Path) -> None:
    names = (
        "b_txt",
        "a__b_md",
        "_git__x_txt",
        "_venv__x_txt",
        "node_modules__x_txt",
        "a____pycache____x_txt",
    )
    folder = written(tmp_path, **dict.fromkeys(names[:4], NAMING))
    for hidden in ("node_modules", "__pycache__", ".hidden"):
        (tmp_path / "a" / hidden).mkdir()
        (tmp_path / "a" / hidden / "x.txt").write_text(NAMING)
    (tmp_path / ".env").write_text(NAMING)
    found = [Path(one.path).relative_to(folder).as_posix() for one in lint([folder]).findings]
    assert found == ["b.txt", "a/b.md"]


def test_a_hidden_file_that_is_named_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".prompt").write_text(NAMING)
    assert len(lint([tmp_path / ".prompt"]).findings) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(NAMING.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf" + NAMING.encode(), id="a mark of UTF-8"),
        pytest.param(b"\xe9t\xe9. " + NAMING.encode(), id="Latin 1"),
    ],
)
def test_text_is_read_whatever_its_encoding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert [one.words for one in lint([tmp_path]).findings] == ["You are ChatGPT"]


def test_what_is_no_text_is_counted_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, a_png=b"\x89PNG\0\0", b_txt=NAMING, c_txt="x" * 2000)
    monkeypatch.setattr("router.linting.lint.MOST_BYTES", 1000)
    report = lint([folder])
    assert report.checked == 1
    assert report.skipped == [(str(folder / "a.png"), "binary"), (str(folder / "c.txt"), "larger than 0 MiB")]


def test_a_file_that_can_not_be_read_has_failed(tmp_path: Path) -> None:
    report = lint([tmp_path / "gone.txt"])
    assert (report.checked, report.failed) == (0, [(str(tmp_path / "gone.txt"), "No such file or directory")])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("a" * 10_000_000, id="a word without end"),
        pytest.param(" " * 10_000_000, id="blanks"),
        pytest.param('"' * 10_000_000, id="quotes"),
        pytest.param("you are a " * 1_000_000, id="beginnings"),
        pytest.param("<|" * 500_000, id="half marks, a tenth"),
        pytest.param("[INST] " * 150_000, id="marks, a tenth"),
    ],
)
def test_a_hostile_line_of_ten_megabytes_is_read_to_its_end(line: str) -> None:
    *_, last = places(f"{line}\n{NAMING}")
    assert last == (2, 1, "You are ChatGPT")


def test_a_line_of_nothing_but_escapes_is_read_to_its_end() -> None:
    assert places("\\" * 2_000_000 + f"\n{NAMING}", "a.json") == [(2, 1, "You are ChatGPT")]


def test_the_limit_of_a_file_is_above_a_hostile_line() -> None:
    assert MOST_BYTES > 10_000_000


def test_findings_are_printed_with_their_place_and_end_in_exit_code_1(run: Run, tmp_path: Path) -> None:
    written(tmp_path, a_txt=f"x\n{NAMING}", b_txt="Compare Claude and GPT-4.")
    assert run("a.txt", "b.txt") == (
        1,
        "a.txt:2:1: persona: 'You are ChatGPT': another model is told that it is this one; "
        "better: You are an AI assistant\n",
        "1 finding(s) in 2 file(s) checked\n",
    )


def test_clean_files_end_in_exit_code_0(run: Run, tmp_path: Path) -> None:
    written(tmp_path, a_txt="You are an AI assistant.", b_png=b"\0")
    assert run(".") == (0, "", "b.png: skipped: binary\n0 finding(s) in 1 file(s) checked, 1 skipped\n")


def test_a_file_that_can_not_be_read_is_told_and_ends_in_exit_code_1(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    written(tmp_path, a_txt="fine")
    monkeypatch.setattr("router.linting.lint._text_of", refuse)
    code, out, messages = run("a.txt")
    assert (code, out) == (1, "")
    assert messages == (
        "a.txt: can't be read: Permission denied\n0 finding(s) in 0 file(s) checked, 1 unreadable\n"
    )


@pytest.mark.parametrize(
    "arguments", [pytest.param([], id="nothing"), pytest.param(["gone.txt"], id="no file")]
)
def test_wrong_usage_ends_in_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_json_holds_the_findings_and_the_counts(run: Run, tmp_path: Path) -> None:
    written(tmp_path, a_txt=NAMING, b_png=b"\0")
    code, out, messages = run("--json", ".")
    assert (code, messages, out.count("\n")) == (1, "", 1)
    report = json.loads(out)
    assert (report["checked"], report["skipped"], report["failed"]) == (1, [["b.png", "binary"]], [])
    assert [(one["path"], one["line"], one["rule"]) for one in report["findings"]] == [
        ("a.txt", 1, "persona")
    ]


def test_words_with_markup_or_half_a_letter_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    written(tmp_path, a_json='{"a": "[INST] [red]x", "b": "you are \\ud800x by OpenAI, named ChatGPT"}')
    code, out, _ = run("a.json")
    assert code == 1
    assert "'[INST]'" in out


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def hooks() -> list[dict[str, object]]:
    return list(yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()))


def test_the_pre_commit_hook_is_declared_as_pre_commit_wants_it() -> None:
    from pre_commit.clientlib import load_manifest  # type: ignore[import-untyped] # it has no types

    (hook,) = load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    assert (hook["id"], hook["entry"], hook["types"]) == ("pointsman-lint", "pointsman lint", ["text"])


@pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit works on a git repository")
def test_pre_commit_stops_a_commit_with_a_finding(tmp_path: Path) -> None:
    (hook,) = hooks()
    entry = f"{sys.executable} -m router.cli lint"
    local = {"repo": "local", "hooks": [hook | {"language": "system", "entry": entry}]}
    folder = written(tmp_path / "team", a_txt=NAMING, b_txt="fine", c_png=b"\x89PNG\0")
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [local]}))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "a.txt:1:1: persona: 'You are ChatGPT'" in done.stdout
    assert "c.png" not in done.stdout
