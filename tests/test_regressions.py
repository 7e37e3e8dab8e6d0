"""Which test stands for what users of Compose tools stumbled over, and for each reconcile rule.

The lists of those are kept outside (`R-n` of the survey, the acceptance scenarios and sections of
the reconcile rules); here is where each of them is tested.  A name that no test has fails.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SURVEY = {
    1: "e2e/test_keeping:a_dependent_starts_as_soon_as_its_dependency_is_healthy "
       "e2e/test_users:health_begins_anew_with_a_restart",
    2: "e2e/test_keeping:a_dependency_that_exits_fails_up_at_once",
    3: "e2e/test_keeping:a_dependent_waits_for_completion_and_refuses_failure",
    4: "e2e/test_keeping:wait_takes_a_finished_one_shot_as_done",
    5: "e2e/test_users:run_with_an_unhealthy_dependency_does_not_run",
    6: "e2e/test_users:run_with_an_unhealthy_dependency_does_not_run",
    7: "e2e/test_users:health_begins_anew_with_a_restart",
    8: "supervisor/test_health:a_service_ready_after_a_second_is_seen_within_half_a_second "
       "supervisor/test_health:retries_count_from_the_end_of_the_start_period",
    9: "engine/test_resolve:a_probe_takes_what_it_does_not_say_from_the_image_then_from_the_"
       "default "
       "engine/test_resolve:a_probe_of_the_image_can_be_switched_off",
    10: "e2e/test_users:a_failed_job_holds_back_its_dependents_on_restart_too",
    11: "e2e/test_exec_and_run:who_ends_up_and_with_which_code",
    33: "e2e/test_users:up_again_and_again_with_runs_between_makes_nothing_again",
    34: "plan/test_diff:a_hash_of_another_version_recreates_nothing",
    35: "e2e/test_users:up_again_and_again_with_runs_between_makes_nothing_again "
        "e2e/test_secrets:a_changed_content_makes_its_users_again_and_nobody_else",
    36: "e2e/test_builds:up_builds_what_is_missing_and_again_when_told",
    37: "plan/test_diff:a_changed_service_is_recreated_alone_and_says_why "
        "plan/test_diff:naming_a_service_touches_it_and_what_it_needs_only",
    38: "plan/test_diff:a_changed_dependency_leaves_its_dependents_alone "
        "plan/test_diff:a_dependent_with_restart_is_restarted_around_it",
    39: "plan/test_diff:a_change_that_is_easily_overlooked_recreates",
    40: "e2e/test_dry_run:a_dry_run_of_any_command_changes_not_a_byte",
    41: "plan/test_convergence:an_up_cut_off_anywhere_is_finished_by_the_next "
        "e2e/test_crashes:a_killed_up_is_finished_by_the_next",
    42: "e2e/test_users_networks:r42_an_anonymous_volume_is_kept_when_the_image_changes "
        "e2e/test_volumes:an_anonymous_volume_is_kept_until_it_is_renewed",
    43: "e2e/test_users_networks:r43_down_stops_dependents_before_what_they_depend_on "
        "e2e/test_up_and_down:down_needs_no_file_and_stops_dependents_first",
    44: "e2e/test_users:grace_signal_and_timeout_are_each_honoured",
    45: "e2e/test_users:interrupting_up_leaves_a_service_with_restart_always_down",
    46: "e2e/test_crashes:two_ups_at_once_make_one_set",
    47: "e2e/test_users_networks:r47_a_static_address_is_on_its_own_network",
    48: "e2e/test_users_networks:r48_every_name_resolves_from_every_peer_also_on_an_internal_"
        "network",
    49: "e2e/test_network:replicas_share_a_range_of_ports",
    50: "e2e/test_users_networks:r50_ipv6_needs_no_subnet_and_takes_a_static_address",
    51: "e2e/test_refusals:a_fault_in_the_file_is_told_with_its_place_and_makes_nothing",
    52: "e2e/test_secrets:every_source_owner_mode_and_target",
    53: "e2e/test_secrets:every_source_owner_mode_and_target",
    54: "spec/test_coverage:an_attribute_works_or_is_refused_or_has_no_effect",
    55: "e2e/test_users:lines_of_what_is_restarted_or_made_again_go_on_in_an_attached_up "
        "e2e/test_keeping:the_first_byte_and_the_last_partial_line_are_kept",
    56: "e2e/test_keeping:logs_of_several_services_come_in_order_of_time "
        "runtime/test_logs:an_endless_line_is_cut",
    57: "e2e/test_users:lines_of_what_is_restarted_or_made_again_go_on_in_an_attached_up",
    58: "e2e/test_users:exec_takes_its_input_and_not_that_of_the_caller_s_script",
    59: "e2e/test_hooks:hooks_run_once_for_the_service_after_each_start_and_before_each_stop "
        "e2e/test_hooks:a_failing_hook_fails_the_command_and_tells_its_output",
    60: "e2e/test_users:orphans_go_and_what_another_file_has_made_stays",
    61: "e2e/test_up_and_down:down_needs_no_file_and_stops_dependents_first",
    62: "e2e/test_users:json_of_ps_is_an_object_a_line_whatever_there_is",
    63: "e2e/test_builds:a_build_can_be_asked_for_alone_and_what_it_needs_comes_first",
    64: "plan/test_teardown:down_of_one_service_takes_its_dependents_and_nothing_else",
    65: "e2e/test_watch:saves_reach_containers_and_logs_go_on",
}  # fmt: skip
"""R-12 to R-32, of the files, carry their numbers in tests/spec/test_users_*.py."""

SCENARIOS = {
    1: "e2e/test_up_and_down:up_again_changes_nothing_and_says_so",
    2: "plan/test_diff:a_changed_service_is_recreated_alone_and_says_why",
    3: "e2e/test_users:up_again_and_again_with_runs_between_makes_nothing_again",
    4: "plan/test_diff:what_no_container_sees_recreates_nothing",
    5: "plan/test_diff:a_changed_network_is_made_again_with_everybody_on_it",
    6: "plan/test_diff:a_renamed_network_or_volume_recreates_its_users",
    7: "e2e/test_volumes:a_changed_volume_is_made_again_only_after_a_yes",
    8: "plan/test_diff:a_renamed_network_or_volume_recreates_its_users",
    9: "plan/test_diff:what_another_project_made_is_used_with_a_warning",
    10: "plan/test_diff:scaling_up_takes_numbers_beyond_the_highest "
        "plan/test_diff:scaling_down_removes_the_highest plan/test_diff:gaps_are_not_filled",
    11: "plan/test_diff:scaling_down_never_drops_an_up_to_date_one_for_an_outdated_one",
    12: "e2e/test_isolation:who_shares_is_restarted_with_whom_it_shares",
    13: "plan/test_diff:no_recreate_leaves_it",
    14: "e2e/test_volumes:an_anonymous_volume_is_kept_until_it_is_renewed",
    15: "plan/test_diff:a_dependent_with_restart_is_restarted_around_it",
    16: "plan/test_diff:dependencies_are_recreated_where_that_is_asked",
    17: "plan/test_diff:orphans_are_removed_or_ignored_as_asked "
        "plan/test_diff:orphans_are_told_in_the_words_scripts_know",
    18: "e2e/test_hooks:a_failing_hook_fails_the_command_and_tells_its_output",
    19: "e2e/test_hooks:a_failing_hook_fails_the_command_and_tells_its_output",
    20: "plan/test_hooks:what_a_failed_hook_left_is_no_orphan_and_is_cleared_away_first",
    21: "e2e/test_keeping:a_dependent_waits_for_completion_and_refuses_failure",
    22: "e2e/test_keeping:wait_names_who_is_not_ready",
    23: "e2e/test_exec_and_run:who_ends_up_and_with_which_code",
    24: "e2e/test_exec_and_run:who_ends_up_and_with_which_code",
    25: "plan/test_teardown:restart_takes_dependents_with_restart_only",
    26: "e2e/test_pause_and_stats:a_paused_container_stands_still_until_it_is_unpaused",
    27: "e2e/test_acceptance:ports_hashes_and_whom_exec_prefers",
    28: "e2e/test_acceptance:followed_logs_take_in_a_new_replica_and_an_attached_up_hides_what_it_"
        "is_told",
    29: "e2e/test_acceptance:ports_hashes_and_whom_exec_prefers",
    30: "e2e/test_acceptance:ports_hashes_and_whom_exec_prefers",
    31: "plan/test_teardown:networks_of_others_stay",
    32: "e2e/test_up_and_down:down_needs_no_file_and_stops_dependents_first",
    33: "plan/test_teardown:rm_keeps_what_runs",
    34: "e2e/test_exec_and_run:run_returns_the_code_and_leaves_nothing_with_rm",
    35: "e2e/test_acceptance:ports_hashes_and_whom_exec_prefers",
    36: "e2e/test_watch:saves_reach_containers_and_logs_go_on",
    37: "e2e/test_watch:saves_reach_containers_and_logs_go_on",
    38: "e2e/test_exec_and_run:interrupting_twice_kills",
    39: "e2e/test_acceptance:followed_logs_take_in_a_new_replica_and_an_attached_up_hides_what_it_"
        "is_told",
    40: "e2e/test_acceptance:ports_hashes_and_whom_exec_prefers",
}  # fmt: skip
"""The acceptance scenarios of reconciling, by their numbers."""

RULES = {
    "hashes": "spec/test_hashing:a_value_from_an_env_file_counts_as_if_written "
              "plan/test_diff:what_no_container_sees_recreates_nothing",
    "order of the phases": "plan/test_diff:a_first_up_makes_everything_side_by_side",
    "decision per service": "plan/test_diff:force_recreates_what_is_named_and_leaves_dependencies",
    "replicas": "plan/test_diff:scale_zero_removes_all_and_nobody_waits_for_it",
    "recreation": "plan/test_diff:the_new_container_inherits_from_the_old_one "
                  "plan/test_diff:a_dependent_that_is_recreated_too_stops_first_and_starts_last",
    "networks": "plan/test_diff:a_changed_network_is_made_again_with_everybody_on_it",
    "volumes": "e2e/test_volumes:a_changed_volume_is_made_again_only_after_a_yes",
    "scale": "e2e/test_following:wait_ends_with_the_last_one_and_scale_changes_numbers",
    "conditions": "supervisor/test_waits:a_dependent_waits "
                  "supervisor/test_waits:the_user_waits_until_ready",
    "hooks": "e2e/test_hooks:hooks_run_once_for_the_service_after_each_start_and_before_each_stop",
    "attached up": "e2e/test_exec_and_run:interrupting_an_attached_up_stops_in_order_and_gives_130",
    "stop": "plan/test_teardown:stop_of_all_is_in_reverse_order",
    "restart": "plan/test_teardown:restart_of_all_waits_for_conditions",
    "down": "plan/test_teardown:down_with_volumes_removes_declared_and_forgotten_anonymous_ones "
            "plan/test_teardown:nothing_to_remove_is_said",
    "kill and rm": "plan/test_teardown:nothing_to_kill_or_to_remove_is_said",
    "orphans": "plan/test_diff:a_one_off_is_an_orphan_once_it_has_ended",
    "run": "e2e/test_exec_and_run:run_starts_the_dependencies_and_waits_for_them",
}  # fmt: skip
"""The other sections of the reconcile rules."""

ALL = {**{f"R-{n}": t for n, t in SURVEY.items()},
       **{f"scenario {n}": t for n, t in SCENARIOS.items()}, **RULES}  # fmt: skip


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{file}.py").read_text())
    return frozenset(n.name for n in tree.body if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize("what", ALL)
def test_each_has_its_test(what: str) -> None:
    for place in ALL[what].split():
        file, _, name = place.partition(":")
        assert f"test_{name}" in names_in(file), place


def test_none_is_left_out() -> None:
    assert set(SURVEY) == {*range(1, 12), *range(33, 66)}
    assert set(SCENARIOS) == {*range(1, 41)}
