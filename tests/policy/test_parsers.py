"""Names, subjects and bindings: a value or a Problem, and nothing else, whatever is thrown at them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl.errors import InvalidBinding, InvalidInput, InvalidName, Problem
from mcpctl.policy import names, vocabulary
from mcpctl.policy.bindings import BUILT_IN_ROLES, Binding, parse
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ANY, DENY, OPERATIONS, OPERATIONS_RESOURCE, PROJECT_OPERATIONS, RESOURCES
from tests.policy.worlds import SHA

LOOKALIKES = [
    "ADMIN",
    "Admin",
    "\uff41dmin",
    "\u0430dmin",
    "ad\u200bmin",
    "admin ",
    " admin",
    "admin\n",
    "admin\0",
    "\u00e4dmin",
    "\ufb01le",
    "adm\u202ein",
    "\ud800",
]
"""authz d, row 25."""
SPECIAL = [
    ",",
    '"',
    "'",
    "\n",
    "\r",
    "#",
    "[",
    "]",
    "(",
    ")",
    "*",
    "a*",
    "a*b",
    ".*",
    "a|b",
    "(a+)+$",
    "[a-z]",
    "a b",
    "a,b",
    "a;b",
    "a\\b",
    "a=b",
]
"""authz d, rows 26, 28 and 29: what could end a field, open a comment or be taken for a pattern."""
EDGES = ["", ".", "-", "_", "-a", "a-", ".a", "a.", "a" * 64, "..", "../a", "a/b", "a//b"]
HUGE = [
    "a" * 1_000_000,
    "role:" * 200_000,
    "," * 1_000_000,
    "a:b," * 250_000,
    "\u202e" * 300_000,
    "role:view," + " " * 1_000_000,
]

DOORS: dict[str, Callable[[str], object]] = {
    "name": names.check_name,
    "user": names.check_user_name,
    "server": names.check_server_name,
    "subject": names.parse_subject,
    "bound server": lambda text: names.check_bound_name("servers", text),
    "bound token": lambda text: names.check_bound_name("mcptokens", text),
    "bound instance": lambda text: names.check_bound_name("instances", text),
    "bound project": lambda text: names.check_bound_name(OPERATIONS_RESOURCE, text, "logs"),
    "resource": vocabulary.resource,
    "action": lambda text: vocabulary.action(text, "servers"),
    "operation": lambda text: vocabulary.action(text, OPERATIONS_RESOURCE),
    "binding": parse,
    "binding's name": lambda text: parse(f"role:view,resource:servers,name:{text}"),
    "binding's role": lambda text: parse(f"role:{text},resource:servers"),
}

hostile = st.one_of(
    st.text(),
    st.text(alphabet="abz09._-@+/:*, \t\n#\"'"),
    st.sampled_from(LOOKALIKES + SPECIAL + EDGES),
    st.lists(
        st.sampled_from(
            [
                "role",
                "resource",
                "name",
                "effect",
                "action",
                ":",
                ",",
                " ",
                *BUILT_IN_ROLES,
                *RESOURCES,
                *OPERATIONS,
                "a",
                "*",
                "deny",
            ]
        )
    ).map("".join),
)


@given(st.sampled_from(sorted(DOORS)), hostile)
def test_every_door_gives_a_value_or_a_problem(door: str, text: str) -> None:
    said = "a value"
    try:
        DOORS[door](text)
    except InvalidInput as problem:
        said = problem.detail
    assert said
    assert said.isascii()
    assert said.isprintable()


@pytest.mark.parametrize("text", [*LOOKALIKES, *SPECIAL, *EDGES], ids=ascii)
def test_rows_25_26_28_what_is_not_plainly_a_name_is_refused_at_every_door(text: str) -> None:
    """authz d, rows 25, 26 and 28."""
    for door in ("name", "user", "server", "bound project"):
        if door == "user" and text == "a" * 64:
            continue  # user names may be longer
        if (door, text) == ("bound project", "*"):
            continue
        with pytest.raises(InvalidName, match=r"begin.*and ending with a letter or digit"):
            DOORS[door](text)


@pytest.mark.parametrize("name", ["a", "0", "a" * 63, "a.b_c-d", "a__b", "mcplocal"])
def test_a_name_within_the_rule_comes_back_as_it_is(name: str) -> None:
    assert name == names.check_name(name)


@pytest.mark.parametrize("name", ["a__b", "mcplocal"])
def test_a_server_has_neither_a_double_underscore_nor_the_gateways_own_name(name: str) -> None:
    with pytest.raises(InvalidName, match="without '__', and not 'mcplocal'"):
        names.check_server_name(name)


@pytest.mark.parametrize(
    ("resource", "name", "valid"),
    [
        ("servers", "github", True),
        ("servers", "github/create_issue", True),
        ("servers", "github/get_*", True),
        ("servers", "github/*", True),
        ("servers", "github/prompt:Review", True),
        ("servers", "github/prompt:*", True),
        ("servers", "github/resource:file:///etc/*", True),
        ("servers", "github/" + "x" * 512, True),
        ("servers", "github/" + "x" * 513, False),
        ("servers", "git*", False),
        ("servers", "github/", False),
        ("servers", "github/prompt:", False),
        ("servers", "github/get_**", False),
        ("servers", "github/*_issue", False),
        ("servers", "github/a b", False),
        ("servers", "github/a%20b", False),
        ("servers", "github/\u00e4", False),
        ("servers", "*/x", False),
        ("servers", "/x", False),
        ("mcptokens", "demo", True),
        ("mcptokens", "demo/ci", True),
        ("mcptokens", "demo/ci*", False),
        ("mcptokens", "demo/a/b", False),
        ("instances", "github/gw-1", True),
        ("instances", "mcplocal/gw-1", False),
        ("secrets", "a/b", False),
        ("secrets", "*", True),
        ("users", "bob@example.org", True),
        ("groups", "bob@example.org", False),
        ("sessions", "bob+ci@example.org", True),
        ("*", "*", True),
        ("*", "a", False),
    ],
)
def test_a_binding_names_what_its_resource_may_be_called(resource: str, name: str, valid: bool) -> None:
    if valid:
        assert name == names.check_bound_name(resource, name, "view")
    else:
        with pytest.raises(InvalidName):
            names.check_bound_name(resource, name, "view")


@pytest.mark.parametrize(
    "text",
    [
        "User:McpToken:" + SHA,
        "User:User:bob",
        "User:Group:admins",
        "user:bob",
        "User:",
        "User:Bob",
        "Group:bob@x",
        "McpToken:" + SHA.upper(),
        "McpToken:" + SHA[:8],
        "McpToken:" + SHA + "0",
        "Robot:r2",
        ":bob",
        "bob",
        "User: bob",
        "User:bob,Group:admins",
        "User:mallory, Group:admins",
    ],
)
def test_rows_10_and_31_a_subject_is_of_one_kind_and_whole(text: str) -> None:
    """authz d, rows 10 and 31: no name passes for another kind, and a token is its whole SHA in one case."""
    with pytest.raises(InvalidName):
        names.parse_subject(text)


def test_row_10_namesakes_of_two_kinds_are_never_equal() -> None:
    """authz d, row 10."""
    assert names.parse_subject("User:admins") != names.parse_subject("Group:admins")


@pytest.mark.parametrize("text", HUGE, ids=["letters", "keys", "commas", "pairs", "bidi", "blanks"])
@pytest.mark.parametrize("door", DOORS)
def test_a_huge_input_is_refused_without_being_copied_around(door: str, text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as refusal:
            DOORS[door](text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(refusal.value.detail) < 1000
    assert peak < 10 * len(text.encode("utf-8", "surrogatepass"))


# --- bindings

PARTS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "__" not in name and name != "mcplocal"
)
BELOW = st.tuples(
    PARTS,
    st.sampled_from(["", "prompt:", "resource:"]),
    st.from_regex(r"[A-Za-z0-9._:/-]{1,12}", fullmatch=True),
    st.sampled_from(["", "*"]),
)
NAMES: dict[str, st.SearchStrategy[str]] = {
    "servers": PARTS | BELOW.map(lambda below: f"{below[0]}/{below[1]}{below[2]}{below[3]}"),
    "mcptokens": PARTS | st.tuples(PARTS, PARTS).map("/".join),
    "instances": PARTS | st.tuples(PARTS, PARTS).map("/".join),
    "*": st.just(ANY),
}
EFFECTS = st.sampled_from(["allow", "deny"])


@st.composite
def valid_bindings(draw: st.DrawFn) -> Binding:
    resource = draw(st.sampled_from([*RESOURCES, ANY]))
    if resource == OPERATIONS_RESOURCE:
        role = draw(st.sampled_from([*OPERATIONS, ADMIN]))
        name = draw(PARTS | st.just(ANY)) if role in PROJECT_OPERATIONS else ANY
    else:
        role = draw(st.sampled_from(BUILT_IN_ROLES))
        name = draw(NAMES.get(resource, PARTS) | st.just(ANY))
    return Binding(role, resource, name, draw(EFFECTS))  # type: ignore[arg-type]


@given(valid_bindings())
def test_a_binding_reads_back_from_its_own_text(binding: Binding) -> None:
    assert binding == parse(str(binding))


@given(valid_bindings(), st.randoms(use_true_random=False))
def test_the_order_of_keys_and_blanks_around_them_mean_nothing(binding: Binding, random: object) -> None:
    parts = [part.replace(":", " :\t", 1) for part in str(binding).split(",")]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert binding == parse(" , ".join(parts) + "  ")


@given(hostile)
def test_what_parses_is_canonical(text: str) -> None:
    try:
        binding = parse(text)
    except InvalidBinding:
        return
    assert binding == parse(str(binding))
    assert str(binding) == str(parse(str(binding)))


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "a key is missing"),
        ("role:view", None, "has no 'resource'"),
        ("resource:servers", None, "has no 'role'"),
        ("rol:view,resource:servers", 1, "did you mean 'role'?"),
        ("Role:view,resource:servers", 1, "did you mean 'role'?"),
        ("role:veiw,resource:servers", 6, "did you mean 'view'?"),
        ("role:view, resource: sevrers", 22, "did you mean 'servers'?"),
        ("role:view,resource:servers,effect:dney", 35, "did you mean 'deny'?"),
        ("action:loggs", 8, "did you mean 'logs'?"),
        ("action:view", 8, "write 'role:view,resource:<resource>'"),
        ("role:logs,resource:operations", 6, "write 'action:logs'"),
        ("role:view,resource:operations", 20, "write 'action:<operation>'"),
        ("role:admin,resource:operations,name:demo", 37, "leave name out"),
        ("action:backup,name:demo", 20, "leave name out"),
        ("role:view,resource:*,name:a", 27, "leave name out, or name one resource"),
        ("role:view,role:admin,resource:servers", 11, "'role' stands here twice"),
        ("role:view,resource:servers,resource:secrets", 28, "'resource' stands here twice"),
        ("role:view,resource:servers,name:", 28, "'name' has no value"),
        ("role:view,resource:servers,name:foo,resource:*", 37, "'resource' stands here twice"),
        ("role:view,resource:servers,name:foo,", 37, "a key is missing"),
        ("role:view,resource:servers,name:foo\n", 33, "cannot be a server name"),
        ("action:logs,resource:servers", 22, "do not go together"),
        ("action:logs,role:view", 18, "do not go together"),
        ("role:view,resource:servers,name:a*", 33, "a server name is"),
    ],
)
def test_row_29_a_faulty_binding_is_refused_with_its_column_and_a_cure(text: str, column: int | None, says: str) -> None:
    """authz d, row 29: a grammar, not a split; duplicate, unknown and empty are refused."""
    with pytest.raises(InvalidBinding) as refusal:
        parse(text)
    assert says in refusal.value.detail
    if column is not None:
        assert refusal.value.detail.startswith(f"column {column} of ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("edit:servers", "role:edit,resource:servers"),
        ("view:server:github", "role:view,resource:servers,name:github"),
        ("admin:*", "role:admin,resource:*"),
        ("logs:demo", "action:logs,name:demo"),
        ("backup:*", "action:backup"),
        (" run : secrets : db ", "role:run,resource:secrets,name:db"),
    ],
)
def test_the_old_form_is_refused_with_the_new_form_of_the_very_same_binding(old: str, new: str) -> None:
    with pytest.raises(InvalidBinding, match="is the old form") as refusal:
        parse(old)
    assert refusal.value.detail.endswith(f"write {new!r}")
    assert new == str(parse(new))


@pytest.mark.parametrize("key", ["role", "resource", "name", "effect", "action"])
def test_a_role_called_like_a_key_takes_no_binding_for_the_old_form(key: str) -> None:
    assert Binding("logs", OPERATIONS_RESOURCE) == parse("action:logs", [*BUILT_IN_ROLES, key])


@pytest.mark.parametrize(
    "text", ["role:view,resource:servers", "role:admin,resource:*", "role:admin,resource:operations", "action:backup"]
)
def test_a_star_for_a_name_is_the_same_as_no_name(text: str) -> None:
    assert parse(text) == parse(f"{text},name:*")


def test_every_word_of_the_vocabulary_is_one_word_only() -> None:
    assert not set(ACTIONS) & set(OPERATIONS)
    assert not {ADMIN, ANY, DENY} & {*ACTIONS, *OPERATIONS, *RESOURCES}


@pytest.mark.parametrize(
    ("word", "resource", "says"),
    [
        ("veiw", "servers", "did you mean 'view'?"),
        ("logs", "servers", "ask about it on the resource 'operations'"),
        ("admin", "servers", "'admin' is a role, not an action"),
        ("view", "operations", "is not an operation"),
        ("admin", "operations", "is not an operation"),
        ("", "servers", "is not an action"),
    ],
)
def test_what_is_asked_must_be_an_action_of_its_resource(word: str, resource: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says.replace("?", r"\?")):
        vocabulary.action(word, resource)
