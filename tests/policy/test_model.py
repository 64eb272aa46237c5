"""``model.conf``: what Casbin would drop or misread without a word is refused, and what is edited changes decisions."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mcpctl.errors import InvalidPolicy
from mcpctl.policy import files
from mcpctl.policy.model import PolicyModel
from tests.policy.test_files import directory
from tests.policy.worlds import MODEL_TEXT, person, piece

LAST = "|| (p.eft"
ON_SEVERAL_LINES = (
    "a matcher on several lines has '\\' at the end of each but the last, and no comment or blank line between them"
)
SPOILED: dict[str, tuple[str, str, int, str]] = {
    # what is done: old text, new text, the line of the finding, what is said
    "a comment line within the matcher": (
        f"     {LAST}",
        f"# denies\n     {LAST}",
        29,
        f"nothing reads '|| (p.eft' in [matchers]; {ON_SEVERAL_LINES}",
    ),
    "a blank line within the matcher": (
        f"     {LAST}",
        f"\n     {LAST}",
        29,
        f"nothing reads '|| (p.eft' in [matchers]; {ON_SEVERAL_LINES}",
    ),
    "a comment behind a clause": (
        "g(r.sub, p.sub) \\",
        "g(r.sub, p.sub) # who \\",
        25,
        "a comment stands behind 'm': Casbin would drop all that follows it",
    ),
    "a hash in a string": ('"admin" ||', '"#" ||', 25, "a comment stands behind 'm': Casbin would drop all that follows it"),
    "a forgotten backslash": (
        "g(r.sub, p.sub) \\",
        "g(r.sub, p.sub)",
        26,
        f"nothing reads '&& (g2(p.role, r.act) || p.role' in [matchers]; {ON_SEVERAL_LINES}",
    ),
    "a comment behind the effect": (
        "(p.eft == deny))",
        "(p.eft == deny)) # deny wins",
        22,
        "a comment stands behind 'e': Casbin would drop all that follows it",
    ),
    "a second matcher": ("[matchers]\n", "[matchers]\nm = p.eft == r.act\n", 26, "'m' stands twice in model.conf"),
    "a matcher of another name": (
        "m = g",
        "m2 = g",
        25,
        f"nothing reads 'm2' in [matchers]; {ON_SEVERAL_LINES}",
    ),
    "a misspelt section": ("[matchers]", "[matcher]", 24, "model.conf has no section 'matcher'; did you mean 'matchers'?"),
    "a setting before any section": (
        "[request_definition]",
        "x = y\n[request_definition]",
        11,
        "'x' stands before any section of model.conf",
    ),
    "a second statement": ("m = g", "m = 'a' == 'a'; g", 25, "the matcher of model.conf is not an expression: …"),
    "an assignment": ("m = g", "m = x = g", 25, "the matcher of model.conf is not an expression: …"),
    "a syntax error": ("m = g(r.sub, p.sub)", "m = g(r.sub, p.sub", 25, "the matcher of model.conf is not an expression: …"),
    "an unknown name": (
        "r.act)",
        "r.action)",
        25,
        "the matcher of model.conf is not an expression: nothing is called 'r.action'",
    ),
    "an unknown function": (
        "g2(p.role, r.act)",
        "g9(p.role, r.act)",
        25,
        "the matcher of model.conf is not an expression: nothing is called 'g9'",
    ),
    "a function of Python": (
        "g2(p.role, r.act)",
        "list(p.role)",
        25,
        "the matcher of model.conf is not an expression: nothing is called 'list'",
    ),
    "a field that is called": (
        "g2(p.role, r.act)",
        "p.role(r.act)",
        25,
        "the matcher of model.conf is not an expression: 'p_role' is not a function",
    ),
    "text of the policy as code": (
        "g2(p.role, r.act)",
        "eval(p.role)",
        25,
        "the matcher of model.conf is not an expression: it calls eval(), which would run the text of policy lines",
    ),
    "the clock": (
        "g2(p.role, r.act)",
        "timeMatch(p.role, r.act)",
        25,
        "the matcher of model.conf is not an expression: it asks the clock (timeMatch), and answers are remembered",
    ),
    "another question": ("r = sub, act, res, name", "r = sub, act, res", 12, "model.conf must ask 'r = sub, act, res, name'"),
    "fields in another order": (
        "r = sub, act, res, name",
        "r = sub, res, act, name",
        12,
        "model.conf must ask 'r = sub, act, res, name'",
    ),
    "another kind of line": (
        "p = sub, role, res, name, eft, origin",
        "p = sub, role, res, name, eft",
        15,
        "model.conf must state 'p = sub, role, res, name, eft, origin'",
    ),
    "roles with domains": (
        "g = _, _\n",
        "g = _, _, _\n",
        18,
        "model.conf must define the two role definitions 'g = _, _' and 'g2 = _, _'",
    ),
    "conditional roles": (
        "g2 = _, _\n",
        "g2 = _, _, (_, _)\n",
        18,
        "model.conf must define the two role definitions 'g = _, _' and 'g2 = _, _'",
    ),
    "no groups": ("g = _, _\n", "", 17, "model.conf does not define 'g' in [role_definition]"),
    "a third role definition": (
        "g2 = _, _\n",
        "g2 = _, _\ng3 = _, _\n",
        20,
        f"nothing reads 'g3' in [role_definition]; {ON_SEVERAL_LINES}",
    ),
    "another effect": (
        "some(where (p.eft == allow)) && ",
        "any(where (p.eft == allow)) && ",
        22,
        "Casbin knows no such policy effect: any(where (p_eft == allow)) && !some(where (p_eft == deny))",
    ),
    "an effect that allows what no line allows": (
        "some(where (p.eft == allow)) && ",
        "",
        22,
        "the policy effect '!some(where (p.eft == deny))' allows what no line allows; "
        "it must ask for 'some(where (p.eft == allow))'",
    ),
    "a line that is no definition": (
        "[role_definition]\n",
        "[role_definition]\nnonsense\n",
        0,
        "model.conf cannot be read as a Casbin model: parse the content error : line 18 , nonsense = ?",
    ),
    "no matcher": (
        "m = g",
        "m =\nx = g",
        26,
        f"nothing reads 'x' in [matchers]; {ON_SEVERAL_LINES}",
    ),
    "no effect": ("[policy_effect]\ne", "[policy_effect]\n#", 21, "model.conf does not define 'e' in [policy_effect]"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_model_that_casbin_would_misread_is_a_finding_with_its_line(tmp_path: Path, how: str) -> None:
    old, new, line, says = SPOILED[how]
    text = MODEL_TEXT.replace(old, new, 1)
    assert MODEL_TEXT != text
    found = files.check(directory(tmp_path, {"model.conf": text}))
    assert [("model.conf", line)] == [(finding.file, finding.line) for finding in found]
    said, python = found[0].cause, says.endswith("…")  # what follows is in the words of this Python
    assert says.removesuffix("…") == (said[: len(says) - 1] if python else said)
    assert "compare it with the one that ships with the program" == found[0].cure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "[",
        "[]",
        "=",
        "m",
        "\\",
        "[matchers]\nm = (" + "(" * 5000,
        MODEL_TEXT.replace("m = g", "m = " + "!" * 3000 + "g"),
    ],
)
def test_whatever_is_no_model_is_an_invalid_policy(text: str) -> None:
    with pytest.raises(InvalidPolicy):
        PolicyModel(text)


@pytest.mark.parametrize(
    ("old", "new", "asked", "before", "after"),
    [
        ("&& covers(p.name, r.name)", "", ("view", "servers", "time"), False, True),
        ("g2(p.role, r.act)", "p.role == r.act", ("view", "servers", "github"), True, False),
        ('|| p.role == "admin"', '|| p.role == "run"', ("delete", "servers", "github"), False, True),
        ("&& !some(where (p.eft == deny))", "", ("run", "servers", "github/delete"), False, True),
        ("covers(p.name, r.name)", "keyMatch(r.name, p.name)", ("run", "servers", "github/x"), True, False),
    ],
)
def test_editing_the_model_changes_decisions(
    old: str, new: str, asked: tuple[str, str, str], before: bool, after: bool
) -> None:
    """ "casbin is really the engine"."""
    lines = ("role:run,resource:servers,name:github", "role:run,resource:servers,name:github/delete,effect:deny")
    edited = PolicyModel(MODEL_TEXT.replace(old, new, 1))
    assert edited.compiled is not None
    assert before is piece("User:alice", *lines).ask(*asked).allowed
    assert after is piece("User:alice", *lines, model=edited).ask(*asked).allowed


def test_a_model_without_the_star_is_not_the_same_as_one_with_it() -> None:
    assert PolicyModel(MODEL_TEXT).digest != PolicyModel(MODEL_TEXT + "\n").digest
    assert PolicyModel(MODEL_TEXT).digest == PolicyModel(MODEL_TEXT).digest


def test_models_are_read_by_several_threads_at_once() -> None:
    """CPython 3.11's parser fails at random when two threads are in it; here only one ever is."""
    failed: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(30):
                assert PolicyModel(MODEL_TEXT).compiled is not None
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failed


def test_the_shipped_model_is_compiled() -> None:
    assert person().own.policy_model.compiled is not None
    assert person().own.policy_model.uncompiled_because is None
