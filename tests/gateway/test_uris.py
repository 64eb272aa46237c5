"""URIs of many servers on one endpoint: passed through, never taken over, decided about in one spelling, matched in time."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.names import ToolNames
from mcplocal.offers.entries import Entry
from mcplocal.offers.kinds import RESOURCE, TEMPLATE
from mcplocal.offers.tables import Uris
from mcplocal.offers.uri_templates import InvalidTemplate, UriTemplate
from mcplocal.offers.uris import askable, qualified, server_of
from tests.gateway.conftest import World
from tests.gateway.test_upstreams import result
from tests.gateway.upstreams import resource, template

SPELLINGS = {
    "file:///a/b.md": "file:///a/b.md",
    "file:///%61/b%2Emd": "file:///a/b.md",
    "file:///a%2fb": None,
    "file:///a%2Fb": None,
    "file:///%2561": None,
    "file:///a%": None,
    "file:///a%zz": None,
    "file:///~a": None,
    "file:///%7Ea": None,
    "file:///a/../b": None,
    "file:///a/%2e%2e/b": None,
    "file:///a/%2E/b": None,
    "file:///a/..": None,
    "file:..": None,
    "file:../a": None,
    "file:///a/...": "file:///a/...",
    "file:///.a/..b": "file:///.a/..b",
    "file:////a": None,
    "file:///a//b": None,
    "file:///a//": None,
    "s3://a//b": None,
    "web://https://a/b": "web://https://a/b",
    "FILE:///A": "FILE:///A",
    "a:b*": None,
    "a:b?c": None,
    "a:ü": None,
    "": None,
    "a:" + "b" * 510: "a:" + "b" * 510,
    "a:" + "b" * 511: None,
}


@pytest.mark.parametrize("uri", SPELLINGS)
def test_a_uri_is_asked_about_percent_normalized_or_not_at_all(uri: str) -> None:
    assert SPELLINGS[uri] == askable(uri)


@given(st.text(st.sampled_from("aB0._~-/:%2e%2F%41"), max_size=30))
def test_what_can_be_asked_about_is_its_own_normal_form(uri: str) -> None:
    name = askable(uri)
    if name is not None:
        assert name == askable(name)
        assert "%" not in name
        assert {".", ".."}.isdisjoint(re.split("[/:]", name))
        assert "" not in re.split("/", name.rpartition(":")[2].lstrip("/").removesuffix("/"))[1:]


def listed(server: str, *uris: str) -> list[Entry]:
    entries, dropped = RESOURCE.judge(server, [resource(uri) for uri in uris])
    assert () == dropped
    return list(entries)


def templates(server: str, *texts: str) -> list[Entry]:
    entries, dropped = TEMPLATE.judge(server, [template(text) for text in texts])
    assert () == dropped
    return list(entries)


def exposed(table: Uris, key: str = "uri") -> list[str]:
    return [name for name, _ in table.listed(key)]


def found(table: Uris, uri: str) -> tuple[str, str] | None:
    """The server that a URI leads to, and what it is called there."""
    entry = table.find(uri)
    return (entry.ref.server, entry.original) if entry is not None else None


def test_a_uri_that_one_server_claims_is_passed_through_and_one_that_two_claim_says_whose_it_is() -> None:
    table = Uris("prefixed", [*listed("a", "x:1", "same:1"), *listed("b", "y:1", "sam%65:1")])
    assert ["x:1", "mcplocal://a/same:1", "y:1", "mcplocal://b/sam%65:1"] == exposed(table)
    assert ("a", "x:1") == found(table, "x:1")
    assert ("b", "sam%65:1") == found(table, "mcplocal://b/same:1") == found(table, "mcplocal://b/sam%65:1")
    for uri in ("same:1", "sam%65:1", "mcplocal://c/same:1", "mcplocal://a/y:1", "mcplocal://a", "mcplocal:///same:1", "x:2"):
        assert found(table, uri) is None, uri


def test_the_longer_form_is_good_at_any_time_so_what_was_read_before_a_collision_is_read_after_it() -> None:
    alone, together = Uris("prefixed", listed("a", "x:1")), Uris("prefixed", [*listed("a", "x:1"), *listed("b", "x:1")])
    assert [("a", "x:1")] * 2 == [found(table, "mcplocal://a/x:1") for table in (alone, together)]
    assert [("a", "x:1"), None] == [found(table, "x:1") for table in (alone, together)]


def test_a_uri_that_only_a_template_matches_leads_to_its_server_and_one_that_two_match_to_neither() -> None:
    table = Uris("prefixed", [*templates("a", "repo://{owner}/{name}", "wiki://{page}"), *templates("b", "repo://{+path}")])
    assert ["mcplocal://a/repo://{owner}/{name}", "wiki://{page}", "mcplocal://b/repo://{+path}"] == exposed(
        table, "uriTemplate"
    )
    assert ("a", "wiki://home") == found(table, "wiki://home")
    assert ("b", "repo://one/two/three") == found(table, "repo://one/two/three")
    assert found(table, "repo://one/two") is None
    assert ("a", "repo://one/two") == found(table, "mcplocal://a/repo://one/two")
    assert ("b", "repo://one/two") == found(table, "mcplocal://b/repo://one/two")
    assert found(table, "mcplocal://a/repo://one/two/three") is None


def test_a_template_takes_over_nothing_that_another_server_lists_and_the_other_way_round() -> None:
    table = Uris("prefixed", [*listed("a", "file:///readme", "x:1"), *templates("b", "file:///{name}")])
    assert ["mcplocal://a/file:///readme", "x:1"] == exposed(table)
    assert ["mcplocal://b/file:///{name}"] == exposed(table, "uriTemplate")
    assert found(table, "file:///readme") is None
    assert ("b", "file:///other") == found(table, "file:///other")


def test_a_server_claims_what_it_lists_and_what_its_own_template_matches_but_once() -> None:
    table = Uris("prefixed", [*listed("a", "file:///%72eadme"), *templates("a", "file:///{name}", "file:///{+path}")])
    assert ["file:///%72eadme"] == exposed(table)
    assert ["file:///{name}", "file:///{+path}"] == exposed(table, "uriTemplate")
    assert ("a", "file:///%72eadme") == found(table, "file:///readme")


def test_what_looks_like_the_longer_form_is_never_taken_for_another_servers() -> None:
    table = Uris("prefixed", [*listed("a", "mcplocal://b/x:1"), *listed("b", "x:1"), *templates("a", "mcplocal://b/{x}")])
    assert ["mcplocal://a/mcplocal://b/x:1", "x:1"] == exposed(table)
    assert ["mcplocal://a/mcplocal://b/{x}"] == exposed(table, "uriTemplate")
    assert ("b", "x:1") == found(table, "mcplocal://b/x:1")
    assert ("a", "mcplocal://b/x:1") == found(table, "mcplocal://a/mcplocal://b/x:1")


def test_in_plain_mode_nothing_is_changed_and_what_two_claim_is_neithers() -> None:
    entries = [*listed("a", "x:1", "same:1", "file:///r", "mcplocal://b/y:1"), *listed("b", "same:1", "y:1", "file:///a/b")]
    table = Uris("plain", [*entries, *templates("a", "t:{x}", "same:{x}"), *templates("b", "file:///{name}", "same:{x}")])
    assert ["x:1", "mcplocal://b/y:1", "y:1", "file:///a/b"] == exposed(table)
    assert ["t:{x}", "file:///{name}"] == exposed(table, "uriTemplate")
    assert {"a/resource:same:1", "b/resource:same:1", "a/resource:file:///r", "a/resource:same:{x}", "b/resource:same:{x}"} == {
        refused.ref.asked for refused in table.refused
    }
    assert ("a", "mcplocal://b/y:1") == found(table, "mcplocal://b/y:1")
    for uri in ("same:1", "file:///r", "mcplocal://a/x:1"):
        assert found(table, uri) is None, uri


URIS = st.builds(
    lambda scheme, path: f"{scheme}:{path}", st.sampled_from(["x", "y"]), st.text("ab/", min_size=1, max_size=4)
).filter(askable)
TEXTS = st.sampled_from(["x:{p}", "x:{+p}", "x:a{p}", "y:{p}/{q}", "y:a/{+p}", "y:{p}{q}b"])
CLAIMS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.tuples(st.lists(URIS, unique=True, max_size=4), st.lists(TEXTS, unique=True, max_size=3)),
)


@pytest.mark.requirement("R21")
@given(CLAIMS, st.sampled_from(["prefixed", "plain"]), URIS)
def test_whatever_is_listed_leads_back_to_it_and_no_uri_leads_where_two_could_be_meant(
    claims: dict[str, tuple[list[str], list[str]]], mode: ToolNames, uri: str
) -> None:
    entries = [e for server, (uris, texts) in claims.items() for e in [*listed(server, *uris), *templates(server, *texts)]]
    table = Uris(mode, entries)
    for name, entry in table.listed("uri"):
        assert table.find(name) is entry
        assert name == entry.original or (mode == "prefixed" and name == qualified(entry.ref.server, entry.original))
    claiming = [s for s, (uris, texts) in claims.items() if uri in uris or any(UriTemplate(t).matches(uri) for t in texts)]
    here = table.find(uri)
    assert (claiming[0] if len(claiming) == 1 else None) == (here.ref.server if here is not None else None)
    assert len(table) + len(table.refused) == len(entries)
    if mode == "prefixed":
        assert [] == table.refused
        for server in claims:
            there = table.find(qualified(server, uri))
            assert (server in claiming) == (there is not None and (server, uri) == (there.ref.server, there.ref.name))


MATCHES: dict[str, tuple[list[str], list[str]]] = {
    "a:{x}": (["a:b", "a:b:c"], ["a:", "a:b/c", "b:c", "aa:b"]),
    "a:{+x}": (["a:b", "a:b/c"], ["a:"]),
    "a:{x*}": (["a:b/c"], ["a:"]),
    "a:{x}/c": (["a:b/c"], ["a:b", "a:b/c/c", "a:/c"]),
    "a:{x}{y}": (["a:bc"], ["a:b"]),
    "a:{x}.{y}": (["a:b.c", "a:b.c.d"], ["a:bc", "a:.c"]),
    "a:b{/x}": (["a:b", "a:b/c"], ["a:bc", "a:b/", "a:b/c/d"]),
    "a:b{/x*}": (["a:b", "a:b/c/d"], ["a:bc"]),
    "a:b{.x}": (["a:b", "a:b.c"], ["a:bc"]),
    "a:{x}{?y,z}": (["a:b"], ["a:"]),
    "a:{x:3}": (["a:b"], ["a:"]),
    "a:b": (["a:b"], ["a:bc", "a:"]),
    "a:{x}aab": (["a:aaab", "a:xaab"], ["a:aab", "a:aaa"]),
}


@pytest.mark.parametrize("text", MATCHES)
def test_a_template_matches_what_it_could_have_been_expanded_to(text: str) -> None:
    matched, unmatched = MATCHES[text]
    template = UriTemplate(text)
    assert matched == [uri for uri in [*matched, *unmatched] if template.matches(uri)]


@given(st.lists(st.sampled_from(["{x}", "{+x}", "a", "b", "/", "ab"]), max_size=6), st.text("ab/", max_size=12))
def test_templates_match_as_the_regular_expression_does_that_says_the_same(parts: list[str], path: str) -> None:
    pattern = "".join({"{x}": "[^/]+", "{+x}": ".+"}.get(part, part) for part in parts)
    try:
        template = UriTemplate("s:" + "".join(parts))
    except InvalidTemplate:
        assert "//" in "".join(parts)
        return
    assert bool(re.fullmatch("s:" + pattern, "s:" + path)) == template.matches("s:" + path)


@given(st.lists(st.sampled_from(["{x}", "{+x}", "{/x}", "a", "b/"]), max_size=4), st.text("abx/", max_size=5))
def test_samples_are_matched_and_one_begins_with_what_is_named_wherever_one_can(parts: list[str], begin: str) -> None:
    template = UriTemplate("s:" + "".join(parts).replace("b/{/x}", "b{/x}"))
    samples = list(template.samples(["s:" + begin + "*"]))
    assert samples
    assert all(template.matches(sample) and askable(sample) == sample for sample in samples)
    ends = ("", "x", "a", "b/", "xx", "xa", "xb/x", "b/x", "/x", "a/x", "x/x", "xb/")
    if any(askable(uri := f"s:{begin}{end}") and template.matches(uri) for end in ends):
        assert any(sample.startswith(f"s:{begin}") for sample in samples)


@pytest.mark.parametrize(
    "text", ["{x}", "{+x}:a", "a{x}:b", "a:{x", "a:x}", "a:{}", "a:b?c={x}", "a:{x} ", "a:" + "{x}" * 17, "a:../{x}"]
)
def test_a_template_that_says_no_scheme_or_nothing_that_can_be_asked_about_is_none(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        UriTemplate(text)


def test_no_template_takes_time_without_end() -> None:
    template = UriTemplate("a:" + "{x}{+y}" * 8 + "c")
    begun = time.process_time()
    for _ in range(100):
        assert not template.matches("a:" + "b" * 510)
    assert time.process_time() - begun < 1


def test_the_longer_form_names_a_server() -> None:
    assert ("a", "x:1/2") == server_of(qualified("a", "x:1/2"))
    assert server_of("x:1/2") is None


@pytest.mark.requirement("R21")
def test_a_resource_of_two_servers_is_read_of_the_one_that_is_named_and_its_contents_say_so(world: World) -> None:
    def read(params: dict[str, Any]) -> str:
        uri = params["uri"]
        return f'{{"contents":[{{"uri":"{uri}","text":"1.50","vendor":1.50}},{{"uri":"{uri}/part"}},{{"text":"none"}}]}}'

    answers: dict[str, Any] = {"resources/read": read}
    one = world.upstream(resources=[resource("docs://a/1"), resource("docs://a/2")], answers=answers)
    two = world.upstream(era="legacy", resources=[resource("docs://a/1")], templates=[template("memo://{name}")])
    project = world.project(one=one, two=two)
    first, second = project.servers
    endpoint = world.gateway().as_(project.token()["token"])
    whose = [f"mcplocal://{server}/docs://a/1" for server in project.servers]
    assert [whose[0], "docs://a/2", whose[1]] == endpoint.resources()
    assert -32602 == endpoint.read("docs://a/1").json()["error"]["code"]
    answer = endpoint.read(whose[0])
    assert [whose[0], f"{whose[0]}/part", None] == [part.get("uri") for part in result(answer)["contents"]]
    assert '"vendor":1.50' in answer.text
    assert [{"uri": whose[1], "text": "text of docs://a/1"}] == result(endpoint.read(whose[1]))["contents"]
    assert [{"uri": "memo://x", "text": "text of memo://x"}] == result(endpoint.read("memo://x"))["contents"]
    assert [["docs://a/1"], ["docs://a/1", "memo://x"]] == [
        [call.body["params"]["uri"] for call in upstream.calls("resources/read")] for upstream in (one, two)
    ]
    narrow = endpoint.as_(project.token(f"role:run,resource:servers,name:{second}/resource:docs://a/1")["token"])
    assert [whose[1]] == narrow.resources()
    assert -32602 == narrow.read(whose[0]).json()["error"]["code"]
    assert "contents" in result(narrow.read(whose[1]))
    assert 1 == len(one.calls("resources/read")), first
