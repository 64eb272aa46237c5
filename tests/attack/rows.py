"""Every attack that is known of systems like this one, in one line each, and the tests that try it here.

``AUTHZ`` are pitfalls of an authorization core with a creator ceiling, ``INCIDENTS`` what happened to others. A row that
concerns only the gateway names the gateway's tests, or why there is nothing here that could be attacked.
"""

# ruff: noqa: E501 - a row is a row
from __future__ import annotations

from typing import NamedTuple

CEILING = "tests/attack/test_rows_ceiling.py::"
NAMES = "tests/attack/test_rows_names.py::"
TOKENS = "tests/attack/test_rows_tokens.py::"
PROCESSES = "tests/attack/test_rows_processes.py::"
TRIED = "tests/attack/test_rows_incidents.py::"
RACES = "tests/attack/test_concurrency.py::"
MACHINE = "tests/attack/test_state_machine.py::"
DOORS = "tests/api/test_ceiling_doors.py::"
LIMITS = "tests/api/test_token_limits.py::"
MINTED = "tests/api/test_tokens.py::"
IDENTITY = "tests/api/test_identity.py::"
WATCH = "tests/api/test_watch.py::"
APPLY = "tests/api/test_apply.py::"
INPUT = "tests/api/test_bad_input.py::"
ROUTES = "tests/api/test_routes.py::"
LISTS = "tests/api/test_lists.py::"
FRONT = "tests/gateway/test_front_door.py::"
MODERN = "tests/gateway/test_modern_wire.py::"
LEGACY = "tests/gateway/test_legacy_wire.py::"
UPSTREAMS = "tests/gateway/test_upstreams.py::"
GUARDS = "tests/gateway/test_guards.py::"
CHILDREN = "tests/gateway/test_stdio_servers.py::"
TEXT = "tests/gateway/test_json_text.py::"
FRESHNESS = "tests/gateway/test_freshness.py::"


class Row(NamedTuple):
    """What is tried, by which tests, and, where the control plane is not concerned, who is."""

    says: str
    tests: tuple[str, ...]
    concerns: str = "control plane"


AUTHZ: dict[int, Row] = {
    1: Row("a right is taken between the check and the write", (RACES + "test_nothing_is_passed_on_after_it_was_taken_away", "tests/api/test_races.py::test_nothing_is_granted_after_the_right_to_grant_it_was_taken")),
    2: Row("a replica behind the revocation grants", (PROCESSES + "test_what_was_revoked_on_one_cannot_be_given_on_the_other", RACES + "test_nothing_is_passed_on_after_it_was_taken_away", WATCH + "test_a_process_that_has_not_heard_yet_grants_nothing_it_should_not")),
    3: Row("an enumeration is taken for a wildcard", (DOORS + "test_a_wildcard_is_held_only_by_a_wildcard_and_never_over_a_deny", "tests/api/test_ceiling_k8s.py::test_with_the_shipped_roles_the_ceiling_agrees_with_kubernetes", CEILING + "test_what_can_grow_needs_the_right_to_all_it_can_become")),
    4: Row("names add up to all names", (DOORS + "test_a_wildcard_is_held_only_by_a_wildcard_and_never_over_a_deny",)),
    5: Row("a role is given without one of its actions", (CEILING + "test_a_role_is_given_only_by_whoever_holds_each_of_its_actions", CEILING + "test_an_action_is_one_of_the_words_and_no_pattern_of_them", "tests/api/test_ceiling_k8s.py::test_granting_a_role_needs_each_of_its_actions")),
    6: Row("a role is redefined to mean more", (CEILING + "test_no_request_can_redefine_a_role_and_a_role_of_the_files_is_worth_what_they_say",)),
    7: Row("a binding to something that can grow", (CEILING + "test_what_can_grow_needs_the_right_to_all_it_can_become",)),
    8: Row("a deny is passed by or lifted", (CEILING + "test_a_denied_part_is_reached_by_no_detour", DOORS + "test_only_whoever_holds_all_of_it_can")),
    9: Row("joining a group is not seen as a grant", (DOORS + "test_only_whoever_holds_all_of_it_can", DOORS + "test_a_request_cannot_use_what_it_grants_itself_earlier", MACHINE + "test_nobody_ever_gets_more_than_the_callers_could_give")),
    10: Row("namesakes of different kinds", (LIMITS + "test_namesakes_of_different_kinds_share_nothing",)),
    11: Row("a name made again inherits", (LIMITS + "test_deleting_a_user_leaves_no_line_and_no_live_credential", LIMITS + "test_deleting_a_group_leaves_no_line", RACES + "test_what_is_bound_or_joined_while_it_is_deleted_leaves_nothing_behind")),
    12: Row("a rename leaves rights on the old name", (NAMES + "test_nothing_is_renamed_and_a_name_taken_anew_is_in_nobodys_reach", LIMITS + "test_a_server_made_again_is_attached_nowhere")),
    13: Row("a token gives with its owner's rights", (LIMITS + "test_a_token_cloned_from_an_admin_handles_no_credentials_and_no_grants",)),
    14: Row("a token's children outlive it", (LIMITS + "test_a_token_cloned_from_an_admin_handles_no_credentials_and_no_grants",)),
    15: Row("a credential outlives the one it came from", (LIMITS + "test_a_token_cloned_from_an_admin_handles_no_credentials_and_no_grants", TOKENS + "test_no_rotation_outlives_the_token_it_is_of")),
    16: Row("a clone grows or stays with a group", (TOKENS + "test_a_clone_of_a_group_is_never_more_than_its_owner_is_now", MINTED + "test_clone_is_a_snapshot_of_all_its_creator_holds_denies_included")),
    17: Row("a clone leaves out the denies", (TOKENS + "test_an_admin_who_is_denied_something_clones_the_deny", MINTED + "test_clone_is_a_snapshot_of_all_its_creator_holds_denies_included")),
    18: Row("the owner loses a right or leaves", (LIMITS + "test_a_token_shrinks_with_its_owner_in_the_next_request_and_comes_back_with_it", LIMITS + "test_a_token_does_not_grow_with_its_owner", TOKENS + "test_an_enabled_user_comes_back_only_by_somebody_who_holds_as_much", TOKENS + "test_a_clone_of_a_group_is_never_more_than_its_owner_is_now")),
    19: Row("an edit is judged by its difference only", (CEILING + "test_an_edit_is_judged_by_its_result_however_it_is_written", DOORS + "test_only_whoever_holds_all_of_it_can")),
    20: Row("adding a subject is not seen as a grant", (CEILING + "test_an_edit_is_judged_by_its_result_however_it_is_written",)),
    21: Row("another way of writing skips the check", (CEILING + "test_there_is_no_other_way_to_write_a_right", APPLY + "test_applying_needs_what_the_single_route_needs", APPLY + "test_a_batch_is_accepted_exactly_if_each_of_its_items_is")),
    22: Row("a batch half done, or using what it grants itself", (DOORS + "test_a_request_cannot_use_what_it_grants_itself_earlier", DOORS + "test_a_refusal_halfway_through_leaves_nothing_half_applied", APPLY + "test_what_a_batch_gives_its_sender_is_of_no_use_to_it", APPLY + "test_one_refusal_takes_everything_back_and_all_that_is_missing_is_said")),
    23: Row("the first admin is made twice", (PROCESSES + "test_two_first_starts_make_one_admin_and_the_door_is_closed", "tests/store/test_first_start.py::test_of_three_processes_that_start_at_once_one_makes_the_admin")),
    24: Row("a verb that passes the ceiling by", (CEILING + "test_whoever_holds_everything_but_one_thing_does_not_hold_everything", CEILING + "test_an_action_is_one_of_the_words_and_no_pattern_of_them")),
    25: Row("case, blanks and lookalikes", (NAMES + "test_whatever_looks_like_a_name_is_not_that_name", NAMES + "test_a_name_bound_is_not_another_that_a_collation_or_a_prefix_would_take_for_it")),
    26: Row("a stored text becomes a line", (NAMES + "test_every_text_comes_back_as_it_went_in_and_moves_no_line", NAMES + "test_rows_nobody_can_have_written_give_nothing_and_stop_nothing")),
    27: Row("one bad row stops loading", (NAMES + "test_rows_nobody_can_have_written_give_nothing_and_stop_nothing",)),
    28: Row("a name is a pattern", (NAMES + "test_no_name_is_a_pattern_but_the_star", NAMES + "test_a_name_bound_is_not_another_that_a_collation_or_a_prefix_would_take_for_it")),
    29: Row("the syntax of a binding is injected into", (MINTED + "test_a_binding_that_cannot_be_read_is_refused_by_its_place",)),
    30: Row("empty means all", (NAMES + "test_nothing_is_never_all",)),
    31: Row("part of a hash, or the hash itself, is a credential", (NAMES + "test_part_of_a_hash_names_no_token_and_the_whole_one_opens_nothing",)),
    32: Row("the kind of a subject comes from the request", (TOKENS + "test_the_subject_comes_from_the_bearer_and_from_nothing_else", IDENTITY + "test_a_bearer_anywhere_else_is_none")),
    33: Row("a duplicate keeps a right alive", (PROCESSES + "test_what_both_add_at_once_is_gone_when_it_is_taken_away_once", RACES + "test_what_two_replicas_make_at_once_is_there_once_and_is_gone_when_it_is_taken_away_once")),
    34: Row("a request passes after its revocation was answered", (PROCESSES + "test_a_revocation_on_one_is_one_on_the_other_within_a_second", RACES + "test_no_call_that_begins_after_a_revocation_was_answered_passes", WATCH + "test_no_request_that_began_after_the_answer_to_a_revocation_passes", WATCH + "test_a_stream_ends_with_the_credential_it_was_opened_with")),
    35: Row("a soft-deleted token comes back", (MINTED + "test_revoking_frees_the_name_and_the_new_token_is_somebody_else", MINTED + "test_an_ended_token_is_not_rotated_back_to_life", RACES + "test_a_rotation_beside_a_revocation_hands_out_nothing_that_lives_on")),
    36: Row("errors tell which credentials exist", (TOKENS + "test_every_dead_bearer_hears_the_same_answer", MINTED + "test_the_standard_form_of_introspection_is_itself_authenticated")),
    37: Row("a refusal tells what others hold or what exists", (CEILING + "test_a_refusal_says_what_was_asked_and_no_name_that_the_asker_may_not_see", CEILING + "test_a_refusal_does_not_say_what_others_hold", TOKENS + "test_who_may_not_write_definitions_learns_of_no_subject", TOKENS + "test_a_gateway_is_told_only_of_people_it_could_serve")),
    38: Row("a star in one project is a star in all", (TOKENS + "test_a_star_of_a_projects_token_is_a_star_in_that_project", LIMITS + "test_outside_its_project_nothing_exists_for_a_token", TOKENS + "test_a_gateway_is_told_only_of_people_it_could_serve")),
    39: Row("reading is using", (TOKENS + "test_a_secret_is_read_by_nobody_who_may_merely_look_and_attach", TOKENS + "test_looking_at_a_token_or_a_session_is_not_using_it")),
    40: Row("a failure allows", (NAMES + "test_a_matcher_that_fails_refuses_everybody_and_the_log_in_still_works", NAMES + "test_no_server_starts_on_a_model_that_fails_open_or_is_not_whole", PROCESSES + "test_a_process_that_is_killed_takes_nothing_with_it_and_leaves_nothing_open", ROUTES + "test_an_unforeseen_fault_tells_nothing_and_is_never_an_allow")),
}  # fmt: skip

INCIDENTS: dict[int, Row] = {
    1: Row("any Authorization header at all becomes an empty, allowed caller (LiteLLM, CVE-2026-59822)", (TRIED + "test_a_made_up_credential_is_nobody_on_every_route", IDENTITY + "test_no_bearer_and_every_bad_one_is_401", FRONT + "test_a_missing_bearer_is_told_apart_from_a_bad_one_and_no_more")),
    2: Row("authentication chosen by the end of the path (ContextForge #3812)", (TRIED + "test_no_form_of_a_path_is_let_through_without_a_bearer", ROUTES + "test_without_a_bearer_every_route_is_refused_that_is_not_open")),
    3: Row("a Host header changes the path that is guarded (Starlette, CVE-2026-48710)", (TRIED + "test_a_host_header_changes_no_path", TRIED + "test_no_form_of_a_path_is_let_through_without_a_bearer")),
    4: Row("an internal header skips authentication (Kuadrant, GHSA-g53w-w6mj-hrpp)", (TRIED + "test_a_made_up_credential_is_nobody_on_every_route", TRIED + "test_no_header_makes_another_request_of_this_one")),
    5: Row("two credentials share one cache key (LiteLLM, CVE-2026-35030)", (TRIED + "test_a_bearer_almost_like_a_remembered_one_is_somebody_else",)),
    6: Row("an id is enough (Obot 0.21)", (TRIED + "test_a_token_without_bindings_does_nothing_on_any_route", ROUTES + "test_somebody_without_any_binding_is_refused_or_sees_nothing")),
    7: Row("scopes are stored and not asked (ContextForge #4671)", (TRIED + "test_a_token_without_bindings_does_nothing_on_any_route",)),
    8: Row("a password hash is shown and logs in (LiteLLM, GHSA-69x8-hrgq-fjj8)", (TOKENS + "test_the_hash_of_a_password_is_no_password", TOKENS + "test_looking_at_a_token_or_a_session_is_not_using_it")),
    9: Row("a key is minted or edited wider than its maker (LiteLLM, CVE-2026-47101)", (DOORS + "test_only_whoever_holds_all_of_it_can", MACHINE + "test_nobody_ever_gets_more_than_the_callers_could_give")),
    10: Row("one's own role is a field one may set (LiteLLM, CVE-2026-47102)", (TOKENS + "test_nobody_changes_more_of_oneself_than_the_password",)),
    11: Row("a leaked key breeds keys (alkem-io #6358)", (LIMITS + "test_a_token_cloned_from_an_admin_handles_no_credentials_and_no_grants",)),
    12: Row("null, missing and empty flip between all and none (ContextForge #5239)", (TOKENS + "test_an_admin_who_is_denied_something_clones_the_deny", MINTED + "test_no_bindings_in_whatever_shape_give_nothing")),
    13: Row("one of two grants is revoked, the other goes on (LiteLLM #33397)", (TRIED + "test_taking_one_of_two_grants_away_leaves_the_other_and_says_which", MINTED + "test_revoking_takes_every_line_whatever_its_origin", PROCESSES + "test_what_both_add_at_once_is_gone_when_it_is_taken_away_once")),
    14: Row("SQL in the look-up of a key (LiteLLM, CVE-2026-42208)", (TRIED + "test_a_made_up_credential_is_nobody_on_every_route", INPUT + "test_hostile_text_is_refused_by_name_or_taken_literally")),
    15: Row("testing a connection runs the caller's command (LiteLLM, CVE-2026-42271)", (TRIED + "test_no_registered_command_runs_in_the_control_plane", CHILDREN + "test_a_command_that_nothing_allows_is_not_started")),
    16: Row("a name in a path reaches another route (FastMCP, CVE-2026-32871)", (INPUT + "test_a_path_nobody_could_have_named_is_refused", "tests/cli/test_http.py::test_no_name_reaches_another_route")),
    17: Row("an address in disguise reaches what is inside (MCP Registry, CVE-2026-44430)", (GUARDS + "test_some_addresses_are_refused_whatever_is_allowed", GUARDS + "test_wrapping_an_address_never_makes_it_more_reachable", UPSTREAMS + "test_a_redirect_is_not_followed"), "gateway"),
    18: Row("metadata becomes arguments of the runtime (Docker, CVE-2026-55887)", (TRIED + "test_no_registered_command_runs_in_the_control_plane", GUARDS + "test_a_star_never_lets_a_package_name_become_another_place")),
    19: Row("what is received is run, rendered or logged as it is (mcp-remote, CVE-2025-6514; ContextForge #5441)", (TRIED + "test_what_a_client_sends_stays_one_row_of_the_audit_and_one_line_of_the_log", TRIED + "test_no_registered_command_runs_in_the_control_plane", ROUTES + "test_an_id_of_the_request_is_taken_over_only_if_it_is_one")),
    20: Row("two parsers see two names (Envoy AI Gateway, GHSA-4gph-2hhr-5mwg)", (TRIED + "test_a_member_has_one_spelling_and_one_value", TEXT + "test_a_member_that_stands_twice_is_refused_however_it_is_spelt")),
    21: Row("batches, other media types and duplicate keys pass unseen (ToolHive #5931)", (TRIED + "test_a_member_has_one_spelling_and_one_value", INPUT + "test_only_json_is_read", FRONT + "test_a_body_that_is_no_single_message_is_refused", FRONT + "test_only_json_is_read")),
    22: Row("a list leaks around its filter (ToolHive #6092)", (LISTS + "test_a_list_shows_the_rows_that_may_be_viewed_and_pages_only_these", "tests/gateway/test_story.py::test_a_token_bound_to_one_tool_sees_and_calls_exactly_that_one")),
    23: Row("headers say one thing, the body another (revision 2026-07-28)", (TRIED + "test_no_header_makes_another_request_of_this_one", MODERN + "test_each_envelope_is_answered_as_the_revision_says", MODERN + "test_arguments_that_the_schema_wants_in_headers_are_checked_and_made_anew")),
    24: Row("a new backend takes over a name that is permitted (ToolHive, known limitation)", (NAMES + "test_nothing_is_renamed_and_a_name_taken_anew_is_in_nobodys_reach", UPSTREAMS + "test_in_plain_mode_a_name_that_two_servers_claim_is_given_to_neither")),
    25: Row("answers reach the wrong client (TypeScript SDK, CVE-2026-25536)", (LEGACY + "test_the_same_id_twice_at_once_is_answered_twice", UPSTREAMS + "test_a_stateful_server_has_a_connection_of_its_own_for_each_session"), "gateway"),
    26: Row("a session id is enough (Ruby SDK, CVE-2026-33946)", (LEGACY + "test_a_session_of_somebody_else_does_not_exist", UPSTREAMS + "test_nothing_of_the_callers_request_is_forwarded_but_the_call"), "gateway"),
    27: Row("a page in a browser reaches a local listener (Python SDK, CVE-2025-66416)", (IDENTITY + "test_the_host_asked_for_must_be_one_this_is", FRONT + "test_a_foreign_host_is_refused_before_anything_else", FRONT + "test_a_foreign_origin_is_refused"), "every listener; the control plane's own check knows no database"),
    28: Row("a remembered answer is given to another caller (FastMCP #4041)", (TRIED + "test_what_was_remembered_for_one_is_never_anothers_answer", TRIED + "test_a_bearer_almost_like_a_remembered_one_is_somebody_else")),
    29: Row("a client that breaks off, or a huge promise, stops the server (Python SDK, CVE-2025-53365)", (TRIED + "test_a_client_that_breaks_off_stops_nobody", PROCESSES + "test_a_process_that_is_killed_takes_nothing_with_it_and_leaves_nothing_open", INPUT + "test_a_body_over_the_limit_is_refused_whatever_it_declares")),
    30: Row("a package was backdoored (litellm 1.82.7)", (TRIED + "test_what_is_installed_is_pinned_and_nothing_else_is_asked_for",), "what is installed; no request reaches it"),
}  # fmt: skip
