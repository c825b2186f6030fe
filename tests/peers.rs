//! The real binary among real peers: Python's smtplib and a sink of its own, smtp-source, smtp-sink, swaks, unbound, Dovecot, Postfix, HAProxy, curl, openssl, Chromium.
//!
//! One book of `tests/peers` for each subject, which its first line names, and one test for each of its stories; `RELEVO_SEED` and `RELEVO_CRASH_MESSAGES` repeat and scale the
//! one with the kills.

mod stories;

use std::process::Command;

/// Runs one story; its words are shown when it fails.
fn tell(book: &str, story: &str, runtime: Option<&str>) {
    let book = format!("peers/{book}");
    let mut bound = Command::new("timeout");
    bound.envs(runtime.map(|name| ("RELEVO_RUNTIME", name))).args(["--kill-after=5", "600"]);
    stories::tell(&mut bound, &book, &[story, &stories::relay(env!("CARGO_BIN_EXE_relevo"))]);
}

macro_rules! stories {
    ($book:literal, $runtime:expr; $($story:ident),* $(,)?) => {
        $(#[test]
        fn $story() {
            crate::tell($book, stringify!($story), $runtime);
        })*
    };
}

stories!("stories.py", None;
    bodies_pass_byte_for_byte,
    recipients_share_transactions,
    a_hop_without_pipelining,
    temporary_refusals_are_retried,
    permanent_refusals_are_returned_once,
    old_mail_is_given_up_with_the_last_reply,
    an_attempt_counts_though_it_was_the_last_moment,
    a_line_cut_anywhere_delays_and_loses_nothing,
    a_port_is_given_once_and_free_everywhere,
    a_hop_that_is_down_at_first,
    connections_are_limited_over_the_node,
    tls_both_ways_and_accounts,
    the_end_of_tls_behind_the_last_command,
    only_one_ending_ends_a_message,
    a_drain_finishes_what_is_under_way,
    mx_answers_of_a_real_name_server,
    starts_are_all_or_nothing,
    standard_output_is_a_socket,
    a_machine_without_io_uring,
    threads_that_cannot_stand_back_are_told,
    nothing_acknowledged_is_lost_by_kills,
    real_tools_pass,
);

stories!("hops.py", None;
    tls_that_breaks_anywhere_falls_back,
    a_busy_host_and_a_hiccup_are_not_broken_tls,
    any_certificate_will_do,
    tls_that_is_refused_is_done_without,
    what_fails_after_refused_tls_is_not_tls,
    a_refusal_stands_though_the_hop_closes,
    an_answer_to_rset_is_no_surplus,
    an_end_between_commands_is_an_end,
    a_hop_that_closes_after_each_message_is_no_hole,
    a_refusal_in_the_middle_of_a_body_is_the_answer,
    nothing_before_the_dot_is_its_answer,
    a_reply_that_is_begun_before_the_dot_holds_nothing,
    replies_nobody_asked_for_end_the_connection,
    strays_before_a_command_answer_none,
    codes_that_do_not_fit_end_the_session,
    the_rest_of_many_recipients_goes_at_once,
    the_rest_is_told_what_ended_the_session,
    what_one_transaction_took_is_kept_while_the_next_hangs,
    refusals_of_us_return_nobody,
    eight_bit_is_what_the_bytes_are,
    the_next_host_is_asked_where_the_best_takes_no_mail,
    another_host_takes_at_once_what_one_cannot,
    one_sick_recipient_moves_few_times,
    trouble_with_one_message_rests_no_site,
    what_is_said_of_a_recipient_goes_to_no_other_host,
    a_kept_connection_that_ends_costs_no_attempt,
    a_hop_that_hangs_up_on_ehlo_is_told_helo,
    a_hop_that_loses_commands_sent_together,
    who_refuses_a_recipient_and_goes_is_in_no_trouble,
    an_address_that_swallows_syns_is_waited_for_once,
    a_backup_behind_many_hosts_that_refuse_is_reached,
    a_host_that_greets_with_our_name_is_a_loop,
    a_host_that_says_421_to_every_mail_is_left_alone,
    messages_are_encoded_for_hops_without_8bitmime,
    what_cannot_be_encoded_waits_for_a_hop_that_takes_it,
    hosts_that_never_take_mail_return_it,
    words_of_our_own_are_told_as_ours,
    what_cannot_be_encoded_comes_back_by_any_hop,
);

stories!("international.py", None;
    addresses_in_utf8_go_on_as_they_came,
    a_hop_without_smtputf8_has_what_needs_none,
    a_report_to_a_sender_in_utf8_goes_with_smtputf8,
    postfix_takes_and_refuses_utf8,
    binary_messages_become_text,
);

stories!("http_api.py", None;
    each_role_may_what_it_may,
    a_tenants_token_is_for_its_mail_alone,
    wrong_tokens_are_told_so,
    pages_of_others_ask_in_vain,
    without_tokens_this_machine_reads,
    commands_ask_by_a_url,
    without_a_socket_http_answers,
);

stories!("files_api.py", None;
    tokens_come_and_go_at_once,
    the_log_is_asked_page_by_page,
    what_holds_and_what_is_on_disk_is_told,
    accounts_come_and_go_at_once,
);

stories!("templates.py", None;
    they_are_saved_tried_and_sent,
    tenants_have_their_own,
);

stories!("openapi.py", None;
    the_document_says_what_is_answered,
);

stories!("pickup.py", None;
    files_become_mail,
    what_cannot_be_taken_is_put_aside,
    files_of_commands_are_taken_apart,
    what_is_refused_for_now_waits,
    a_kill_repeats_no_more_than_was_under_way,
);

stories!("merge.py", None; each_recipient_gets_a_message_of_its_own, what_is_refused_is_told,);

stories!("portions.py", None;
    messages_in_portions_arrive_as_they_were,
    no_ending_smuggles_by_bdat,
    absurd_sizes_cost_nothing,
    a_listener_says_what_it_takes,
    long_lines_are_folded,
);

stories!("duties.py", None;
    what_a_client_leaves_out_is_put_in,
    bcc_leaks_nowhere,
    an_account_writes_as_itself,
);

stories!("smart_hosts.py", None;
    a_smart_host_is_told_who_we_are,
    mail_waits_where_a_login_fails,
    connections_end_with_their_password,
);

stories!("accounts.py", None;
    an_account_is_added_whole_or_not_at_all,
    clients_prove_their_passwords,
    nobody_learns_who_has_an_account,
    a_listener_says_how_accounts_log_in,
    an_account_has_its_rights,
    nobody_brings_more_than_he_may,
    one_relay_is_the_smart_host_of_another,
);

stories!("dane.py", None;
    records_of_the_dns_are_obeyed_where_they_are_authentic,
);

stories!("signed_zones.py", None;
    what_signed_zones_say_of_tls_is_obeyed,
);

stories!("tls_reports.py", None;
    domains_are_told_of_tls_to_their_hosts,
    senders_say_what_they_want_of_tls,
);

stories!("verdicts.py", None;
    hosts_are_judged_as_postfix_judges_them,
);

stories!("sts.py", None;
    mail_goes_to_hosts_that_the_policy_names_and_that_prove_it,
    a_policy_outlives_its_web_server,
);

stories!("verify.py", None;
    only_a_valid_certificate_is_given_mail,
    the_next_host_is_asked_where_a_certificate_is_bad,
    what_breaks_under_required_tls_is_no_reason_for_plain_text,
    whom_the_machine_trusts_is_read_again,
    a_route_says_what_tls_its_mail_asks_for,
);

stories!("lmtp.py", None;
    a_mail_store_answers_for_each_recipient,
    only_those_a_store_puts_off_are_named_again,
    a_store_that_answers_for_too_few_or_too_many,
    a_stop_loses_no_answer_of_a_store,
    a_stop_before_answers_are_certain_loses_none,
    nothing_goes_behind_a_body_to_a_store,
    a_socket_nobody_listens_on,
    tls_from_the_first_byte,
    the_next_choice_stands_in,
    what_stands_behind_an_mx,
    connections_are_shared_by_weight,
    mail_is_thrown_away,
);

stories!("notifications.py", None;
    a_hop_without_dsn_leaves_it_to_us,
    a_hop_with_dsn_is_told_and_tells,
    nobody_is_told_where_the_operator_says_so,
    late_mail_is_told_once_over_kills,
    a_mail_store_has_it,
    postfix_asks_and_is_told,
    postfix_tells_where_it_is_told,
);

stories!("signed.py", None;
    what_is_signed_is_verified_by_others,
    what_a_hop_has_encoded_goes_without_a_signature,
    only_mail_of_those_we_relay_for_is_signed,
    a_new_key_signs_from_a_reload_on,
);

stories!("room.py", None;
    the_bound_counts_every_file,
    whoever_asks_hears_at_once_that_mail_is_refused,
);

stories!("sources.py", None;
    sources_share_the_mail_of_their_pool,
    a_rule_has_another_source_send,
    limits_hold_for_each_source,
    a_proxy_that_talks_nonsense_suspends_its_source,
    a_proxy_that_passes_nothing_on_suspends_its_source,
    a_source_on_a_blocklist_rests,
    a_source_that_is_gone_is_suspended,
    an_operator_suspends_a_source,
    pools_change_by_a_reload,
    an_account_has_a_pool,
    mail_leaves_through_a_socks_proxy,
    mail_leaves_through_an_haproxy,
);

stories!("spool_tools.py", None;
    mail_of_an_older_version_is_delivered,
    stored_mail_can_be_listed_shown_and_exported,
    large_bodies_are_exported_whole,
    damage_is_found_and_named,
    a_start_needs_every_segment,
    repeats_are_announced_after_an_unclean_stop,
    a_running_relay_is_not_disturbed,
    adopted_mail_is_delivered_by_the_other_node,
    adopted_mail_is_returned_when_refused,
    wrong_usage_changes_nothing,
);

stories!("rules.py", None;
    rules_and_instructions_are_obeyed,
    check_names_what_is_wrong_in_rules,
    held_mail_goes_at_its_hour_over_kills,
);

stories!("accounting.py", None;
    nothing_is_logged_before_its_received,
    a_hop_that_cannot_be_reached_is_seen,
    a_notification_names_its_parent,
    every_end_of_a_recipient_is_recorded_once,
    the_log_has_its_order_over_kills_and_rotation,
    what_expires_is_recorded_once,
    refusals_are_recorded,
    connections_that_break_are_recorded,
    the_wall_clock_is_set,
);

stories!("outlets.py", None;
    a_webhook_goes_into_no_private_network,
    a_webhook_has_every_event_at_least_once,
    formats_are_read_as_they_are_meant,
    rotation_loses_and_doubles_nothing_over_kills,
);

stories!("analytics.py", None;
    counts_are_no_part_of_mail,
    what_becomes_of_mail_is_counted_once_over_kills,
);

stories!("erase.py", None;
    an_address_is_forgotten_wherever_it_stands,
    what_waits_is_told_and_untouched,
);

stories!("streams.py", None;
    a_stream_of_nats_has_every_event_at_least_once,
    a_stream_has_every_event_at_least_once,
);

stories!("cluster.py", None;
    three_relays_share_a_rate,
    a_server_that_fails_holds_up_no_mail,
    what_is_too_small_for_all_goes_round,
    what_one_node_found_others_begin_with,
    who_is_suppressed_is_so_on_all_nodes,
);

stories!("counts.py", None;
    three_relays_share_a_quota,
    without_redis_each_has_its_share,
    a_day_of_warm_up_is_that_of_all_nodes,
    an_account_has_its_rate_at_all_nodes_together,
);

stories!("fleet.py", None;
    nodes_that_are_listed_look_at_each_other,
    a_search_finds_what_waits_at_all_nodes,
    nodes_that_say_so_to_redis_are_found,
);

stories!("journal.py", None;
    a_command_is_answered_where_the_journal_cannot_be_written,
    a_log_without_room_misses_nothing,
    no_command_that_was_answered_is_missing_over_kills,
    no_event_is_missing_or_twice_over_kills,
);

stories!("shaping.py", None;
    what_a_file_says_of_a_provider_holds_at_its_hosts,
    a_section_of_a_domain_holds_for_all_with_its_hosts_or_for_it_alone,
    rates_hold_over_all_shards_and_a_reload_changes_them,
    connections_are_opened_at_their_rate,
    hosts_of_a_provider_share_its_connections,
    all_ways_to_the_same_hosts_share_what_bounds_them,
    what_a_rule_says_of_a_reply_comes_first,
    steps_and_mail_last_as_long_as_a_file_says,
    what_is_given_up_in_a_body_never_arrives,
    a_stop_in_a_body_keeps_the_rest_from_arriving,
    a_site_gets_as_many_connections_as_it_takes,
    what_one_connection_may_carry_is_learned,
);

stories!("suspensions.py", None;
    operators_suspend_and_resume,
    a_reply_suspends_its_site_on_all_shards,
    many_replies_set_a_key_for_a_while,
    what_a_rule_sets_of_a_provider_holds_at_all_of_its_sites,
    a_tenant_that_is_refused_gets_its_mail_back,
    what_this_relay_says_itself_counts_where_a_rule_wants_it,
);

stories!("suppression.py", None;
    who_is_listed_is_refused_or_dropped,
    mail_that_waits_for_who_is_listed_goes_nowhere,
    a_kill_right_behind_a_hard_bounce_loses_nothing,
    a_long_list_is_imported,
);

stories!("feedback.py", None;
    bounces_and_complaints_come_back,
    a_kill_behind_a_complaint_loses_nothing,
);

stories!("sandbox.py", None;
    what_a_route_captures_is_kept_and_found,
    a_kill_loses_nothing_of_it_and_keeps_nothing_twice,
    hostile_mail_runs_nothing,
    a_client_of_mailpit_works,
);

stories!("unsubscribe.py", None;
    one_click_unsubscribes,
    mail_unsubscribes,
    a_kill_behind_a_click_loses_nothing,
);

stories!("gateway.py", None;
    strangers_reach_what_relay_to_names,
    what_strangers_send_is_verified,
    forged_results_are_taken_out,
    what_a_domain_wants_refused_is_refused,
    silent_name_servers_hold_nobody_up,
);

stories!("kinds.py", None;
    nobody_sends_without_a_login,
    real_clients_begin_with_tls,
    who_does_not_begin_with_tls_is_told_so,
    kinds_change_by_a_reload,
);

stories!("balancer.py", None;
    a_balancer_says_whose_connections_it_brings,
    checks_cost_no_line_and_no_clients_count,
    headers_come_as_they_like,
    tls_ends_here_or_at_the_balancer,
    a_rolling_stop_costs_no_client_anything,
    who_comes_in_a_drain_is_told_so,
);

stories!("fleet_balanced.py", None;
    two_relays_are_restarted_and_upgraded_in_turn,
    three_relays_are_restarted_and_upgraded_in_turn,
    a_relay_comes_and_one_goes,
    each_relay_is_killed_in_turn,
    each_relay_is_cut_off_in_turn,
    redis_is_killed_and_comes_back_empty,
    redis_stands_still,
    redis_is_cut_off,
    one_relay_cannot_reach_redis,
    what_a_dead_relay_has_is_anothers,
);

stories!("clients.py", None;
    curl,
    msmtp,
    smtplib_of_python,
    aiosmtplib,
    nodemailer,
    smtp_of_go,
    swaks,
    postfix,
    exim,
);

stories!("scanners.py", None;
    testssl_from_the_first_byte,
    testssl_behind_starttls,
    sslyze_and_mozilla,
    an_open_relay_is_not_here,
);

stories!("smuggling.py", None;
    postfix_sees_no_second_message,
    nor_where_line_ends_are_normalised,
    postfix_alone_would_see_it,
);

stories!("gateways.py", None;
    a_gateway_says_for_whom_it_is_there,
    swaks_is_whom_it_says,
    a_reload_takes_a_gateway_away,
);

stories!("paths.py", None;
    programs_of_this_machine_come_by_a_path,
    a_path_says_who_may_relay_as_every_listener_does,
    sockets_come_and_go_by_reloads,
    what_a_killed_relay_left_is_replaced_and_what_is_served_is_not,
);

stories!("acme.py", None;
    an_authority_gives_a_certificate,
    a_refused_order_and_a_lost_authority_take_nothing,
    it_is_renewed_before_it_ends,
    pages_show_it_and_prove_the_names,
);

stories!("certificates.py", None;
    each_name_has_its_certificate,
    nobody_is_shown_the_certificate_of_another_name,
    tickets_outlive_a_reload,
    certificates_change_under_load,
    certificates_log_clients_in,
);

stories!("warmup.py", None;
    a_day_is_kept_to_over_kills_and_the_rest_goes_by_others,
    a_stop_in_order_wastes_nothing,
    a_provider_that_complains_is_remembered,
    days_follow_the_clock,
);

stories!("quotas.py", None;
    what_is_discarded_takes_none_of_it,
    a_quota_is_kept_over_kills_and_shards,
    a_stop_in_order_wastes_nothing_and_a_reload_holds_at_once,
    an_account_has_what_it_has,
);

stories!("hook.py", None;
    what_the_service_says_is_done,
    what_makes_no_sense_is_told_and_holds_what_fail_says,
    a_service_that_is_gone_is_waited_for_by_nobody,
    a_stop_waits_for_no_answer_that_does_not_come,
    questions_are_signed_and_go_to_who_has_proven_who_he_is,
);

stories!("why.py", None;
    a_deferred_recipient_is_tried_when_it_says,
    a_site_that_rests_is_tried_when_it_says,
    who_has_all_connections_is_told,
    what_a_rate_holds_up_goes_when_it_says,
    a_rule_that_sets_a_rate_is_named,
    a_suspended_tenant_goes_on_when_it_says,
    what_is_suspended_beyond_its_next_try_says_so,
    a_domain_that_does_not_resolve_is_asked_for_when_it_says,
);

stories!("../page/page.py", None;
    every_view_is_for_everybody,
    a_keyboard_is_enough,
    what_others_write_stays_text,
    a_change_asks_first,
    a_stream_that_breaks_comes_back,
    who_is_not_known_signs_in,
    a_queue_is_searched_and_changed,
    a_node_is_watched,
    the_relay_serves_it,
    what_became_of_mail_is_told,
    nodes_of_a_cluster_are_looked_at,
    templates_are_written_and_tried,
);

stories!("metrics.py", None;
    the_table_has_what_there_is,
    each_alert_fires_when_it_should,
    dashboard_and_rules_name_what_there_is,
);

/// Once more, on the runtime that needs no io_uring.
mod epoll {
    stories!("stories.py", Some("epoll");
        bodies_pass_byte_for_byte,
        temporary_refusals_are_retried,
        permanent_refusals_are_returned_once,
        a_line_cut_anywhere_delays_and_loses_nothing,
        a_hop_that_is_down_at_first,
        connections_are_limited_over_the_node,
        tls_both_ways_and_accounts,
        a_drain_finishes_what_is_under_way,
        mx_answers_of_a_real_name_server,
        nothing_acknowledged_is_lost_by_kills,
    );
    stories!("paths.py", Some("epoll");
        programs_of_this_machine_come_by_a_path,
        sockets_come_and_go_by_reloads,
    );
    stories!("lmtp.py", Some("epoll");
        a_mail_store_answers_for_each_recipient,
    );
    stories!("accounting.py", Some("epoll");
        nothing_is_logged_before_its_received,
    );
    stories!("spool_tools.py", Some("epoll");
        a_running_relay_is_not_disturbed,
    );
}
