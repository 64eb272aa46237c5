"""Proxy models on the command line: written as flags, explained, shown, and refused in words that help."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpctl.cli.stage_flags import as_flag, complete_stages, in_words, parsed, seconds
from mcpctl.errors import InvalidInput
from mcpctl.main import cli
from mcpctl.proxy_models.detectors import DETECTORS
from mcpctl.proxy_models.stages import builtin_stages
from tests.cli.conftest import Mcpctl
from tests.cli.test_help import parse
from tests.cli.test_story import login
from tests.serving import ADMIN_PASSWORD, Served

STAGES = {stage.name: stage for stage in builtin_stages()}
PAGE = (Path(__file__).parents[2] / "docs" / "proxy-models.md").read_text()

REFUSED = [
    ("truncate:maxchars=8000", "truncate has no such option; did you mean 'maxChars'?"),
    ("truncate:maxChars=many", "truncate: maxChars: it must be a whole number"),
    ("truncate:maxChars=1,maxChars=2", "maxChars stands there twice"),
    ("truncate:8000", "'8000' names no option: write STAGE:OPTION=VALUE, or STAGE:{JSON}"),
    ("select:items[].name", "'items[].name' names no option: write select:expression=items[].name, or STAGE:{JSON}"),
    ("select", "select: expression: it is missing"),
    ('select:{"expression": ', "select: its options are not JSON: "),
    ("html-to-markdown:links=yes", "html-to-markdown: links: it must be true or false"),
    ("redact:detectors=email,jwx", "did you mean 'jwt'?"),
    ('redact:patterns=[{"name": "x", "pattern": "(?=a)"}]', "it is no RE2 pattern"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_a_stage_that_is_none_is_refused_before_anything_is_sent(text: str, why: str, mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:9")
    ran = mcpctl("create", "proxymodel", "x", "--stage", text)
    assert (2, True) == (ran.code, why in ran.err), ran.err
    assert "mcpctl explain proxymodel" in ran.err


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--cache-ttl", "5m"], "--stage: give it at least once, or -f FILE"),
        (["--stage", "redact", "--cache-tool", "a/b"], "--cache-ttl: give it beside --cache-tool"),
        (["--stage", "redact", "--cache-ttl", "8d"], "it must be from one second to a week"),
        (["--stage", "redact", "--cache-ttl", "soon"], "'soon' is not a duration such as 30s, 5m or 1h30m"),
        (["--stage", "redact", "--cache-ttl", "5m", "--cache-tool", "github"], "'github' names no tool"),
        (["--stage", "redact", "-f", "x.yaml"], "leave it out, or the other flags"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_before_anything_is_sent(flags: list[str], why: str, mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:9")
    ran = mcpctl("create", "proxymodel", "x", *flags)
    assert (2, True) == (ran.code, why in ran.err), ran.err


def test_a_file_that_holds_another_thing_is_refused(mcpctl: Mcpctl) -> None:
    mcpctl.use("http://127.0.0.1:9")
    for text, why in [
        ("kind: group\nname: x\n", "and not proxymodel/x"),
        ("name: y\nstages: [{stage: redact}]\n", "holds proxymodel/y, and not proxymodel/x"),
        ("stages: []\n---\nstages: []\n", "must hold one proxymodel, and holds 2"),
        ("", "must hold one proxymodel, and holds nothing"),
    ]:
        ran = mcpctl("create", "proxymodel", "x", "-f", "-", stdin=text)
        assert (2, True) == (ran.code, why in ran.err), ran.err


values = st.integers(1, 10**7) | st.booleans() | st.text(max_size=20) | st.lists(st.sampled_from(sorted(DETECTORS)), max_size=3)


@settings(max_examples=200)
@given(st.sampled_from(sorted(STAGES)), st.data())
def test_whatever_is_shown_as_a_flag_is_that_very_stage(name: str, data: st.DataObject) -> None:
    options = data.draw(st.dictionaries(st.sampled_from([*STAGES[name].options, "other"]), values, max_size=3))
    stage: dict[str, Any] = {"stage": name, "options": options}
    try:
        assert stage == parsed(as_flag(stage))
    except InvalidInput as error:  # then it is no stage, in whatever form it is written
        with pytest.raises(InvalidInput, match=re.escape(error.detail)):
            parsed(f"{name}:{json.dumps(options)}")


@settings(max_examples=50)
@given(st.integers(1, 604_800))
def test_a_duration_is_shown_as_it_is_read(total: int) -> None:
    assert str(total) == seconds(in_words(total)) == seconds(str(total))


def test_the_shell_completes_stages_and_their_options() -> None:
    ctx, param = None, None
    assert ["redact"] == complete_stages(ctx, param, "re")  # type: ignore[arg-type]
    assert ["truncate:maxChars=", "truncate:keep="] == complete_stages(ctx, param, "truncate:")  # type: ignore[arg-type]
    assert [] == complete_stages(ctx, param, "nothing:")  # type: ignore[arg-type]


# Explaining


def test_every_stage_is_listed_with_what_it_does(mcpctl: Mcpctl) -> None:
    said = mcpctl.ok("explain", "proxymodel")
    assert [] == [name for name, stage in STAGES.items() if f"{name} " not in said or stage.summary not in said]
    listed = json.loads(mcpctl.ok("explain", "proxymodel", "-o", "json"))
    names = [one["name"] for one in listed["stages"]]  # those of packages that happen to be installed come after
    assert (list(STAGES), {}) == (names[: len(STAGES)], listed["leftOut"])


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_a_page_has_every_option_and_the_commands_on_it_work(stage: Any, mcpctl: Mcpctl) -> None:
    said = mcpctl.ok("explain", "proxymodel", stage.name)
    for name, option in stage.options.items():
        assert re.search(rf"^  {name} +\S", said, re.MULTILINE)
        assert option["description"] in said
    commands = re.findall(r"^  mcpctl (create proxymodel .*)$", said, re.MULTILINE)
    assert commands
    for command in commands:
        import shlex

        parse(cli, [word if word != "NAME" else "short" for word in shlex.split(command)])
    document = said.partition("for 'mcpctl apply -f':\n")[2].replace("NAME", "short")
    mcpctl.use("http://127.0.0.1:9")
    assert 4 == mcpctl("apply", "-f", "-", stdin=document).code, "it is a document; only the control plane is not there"
    assert stage.options_schema == json.loads(mcpctl.ok("explain", "proxymodel", stage.name, "-o", "json"))["optionsSchema"]


def test_a_stage_that_is_not_here_is_answered_with_the_nearest(mcpctl: Mcpctl) -> None:
    ran = mcpctl("explain", "proxymodel", "summarise")
    assert (2, True) == (ran.code, "did you mean 'summarize'?" in ran.err)


# A story


def test_a_model_is_made_selected_looked_at_changed_and_deleted(mcpctl: Mcpctl, served_on_sqlite: Served) -> None:
    login(mcpctl, served_on_sqlite, "admin", ADMIN_PASSWORD)
    flags = ("--stage", "redact:detectors=email", "--stage", "truncate:maxChars=8000", "--cache-ttl", "5m")
    assert "proxymodel/short created\n" == mcpctl.ok("create", "proxymodel", "short", *flags, "--cache-tool", "time/get_*")
    mcpctl.ok("create", "server", "time", "--url", "https://time.example.com/mcp", "--proxy-model", "short")
    mcpctl.ok("create", "project", "demo", "--server", "time")
    ran = mcpctl("set", "project", "demo", "--proxy-model", "shrt")
    assert (2, True) == (ran.code, "--proxy-model: there is no proxy model 'shrt'" in ran.err)
    mcpctl.ok("set", "project", "demo", "--proxy-model", "short")
    row = mcpctl.ok("get", "proxymodels").splitlines()[1].split()
    assert ["short", "redact,truncate", "5m", "demo", "time"] == row[:5]
    said = mcpctl.ok("describe", "proxymodel", "short")
    for line in ("redact:detectors=email\n", "truncate:maxChars=8000\n", "and time/get_*\n"):
        assert line in said
    ran = mcpctl("delete", "proxymodel", "short", "-y")
    assert (7, True) == (ran.code, "in use, by project/demo, server/time: take it out there first" in ran.err)
    mcpctl.ok("set", "proxymodel", "short", "--stage", "truncate:maxChars=4000")
    answer = served_on_sqlite.admin.get("/gateway/upstreams?project=demo").json()
    assert [[{"stage": "truncate", "options": {"maxChars": 4000}}]] == [one["stages"] for one in answer["proxyModels"]]
    mcpctl.ok("set", "project", "demo", "--no-proxy-model")
    mcpctl.ok("set", "server", "time", "--no-proxy-model")
    assert "proxymodel/short deleted\n" == mcpctl.ok("delete", "proxymodel", "short", "-y")


def test_the_page_about_proxy_models_speaks_of_every_stage_and_its_commands_work(mcpctl: Mcpctl) -> None:
    import shlex

    assert [] == [name for name in STAGES if f"`{name}`" not in PAGE]
    commands = re.findall(r"^mcpctl (.*?)(?:\s+#.*)?$", PAGE.replace("\\\n", " "), re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        parse(cli, shlex.split(command))
