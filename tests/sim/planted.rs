//! Defects planted on purpose: each is found within a few seeds, and the same days without it are clean. So a day of mail can
//! fail, and fails for these.
//!
//! Some are planted in the world (a disk that lies, a process that was not ended), the others in the relay at a place
//! that asks `Runtime::planted`, which is a constant `false` on every real machine. Of these each [`Defect`] has its days here, and its test.

use std::time::Duration;

use relevo::runtime::Defect;

use super::day::Day;
use super::day::dice::Dice;
use super::day::plan::{BANNER, DOT, End, Flavour, Lookup, Manner, Plan, RCPT, SitePlan, VERBS};
use super::day::reloads::{Fate, Reload, Version};
use super::days::wrong;
use super::{
    ask, captured, compaction, dsn, fair, feedback, floods, front_door, full_disk, gateway, handovers, held,
    holds, hook, lmtp, merges, node_shares, portions, quotas, rates, rebinds, reload, require_tls, rules,
    shaping, signed, sources, suppressed, suspend, warmup, window,
};

mod segments;
use segments::{failing_segments, full_segments, large, outcomes_apart};

/// Seeds within which a defect must be found.
const SEEDS: u64 = 30;

/// What days are like, how often the defect shows, and words one of which must be said about it.
type Days = (fn(&mut Plan, &mut Dice), f64, &'static [&'static str]);

/// Days on which something that is planted shows.
struct Story {
    /// What the days are like; without what is planted they are clean.
    days: fn(&mut Plan, &mut Dice),
    /// What is planted in the plan, or in the relay and its world.
    plan: fn(&mut Plan),
    plant: fn(&mut Day<'_>),
    defect: Option<(Defect, f64)>,
    /// Words one of which must be said about it.
    words: &'static [&'static str],
}

/// Plain days, and nothing planted.
const PLAIN: Story = Story { days: |_, _| {}, plan: |_| {}, plant: |_| {}, defect: None, words: &[] };

impl Story {
    /// With `SIM_SEEDS=n` so many days without what is planted are looked at instead: each of these kinds of days is hard on something.
    fn is_clean(&self, days: u64) {
        let day = |seed| {
            let mut plan = Plan::plain(seed);
            (self.days)(&mut plan, &mut Dice::new(seed, 4));
            wrong(&plan, |_, _| {})
        };
        let bad: Vec<_> =
            (1..=days).map(|seed| (seed, day(seed))).filter(|(_, found)| !found.is_empty()).collect();
        assert!(bad.is_empty(), "{} of {days} days went wrong: {bad:?}", bad.len());
    }

    fn is_found(&self) {
        if let Some(days) = std::env::var("SIM_SEEDS").ok().and_then(|days| days.parse().ok()) {
            return self.is_clean(days);
        }
        let mut seen = Vec::new();
        for seed in 1..=SEEDS {
            let mut plan = Plan::plain(seed);
            (self.days)(&mut plan, &mut Dice::new(seed, 4));
            assert_eq!(wrong(&plan, |_, _| {}), Vec::<String>::new(), "without the defect, seed {seed}");
            (self.plan)(&mut plan);
            let found = wrong(&plan, |day, world| {
                (self.plant)(day);
                if let Some((defect, often)) = self.defect {
                    world.plant(defect, often);
                }
            });
            if let Some(what) = found.iter().find(|what| self.words.iter().any(|words| what.contains(words)))
            {
                println!("seed {seed}: {what}");
                return;
            }
            seen.extend(found);
        }
        panic!("not found in {SEEDS} days, but: {:?}", &seen[..seen.len().min(10)]);
    }
}

/// A test for each defect; one without a test, or without days, does not compile.
macro_rules! found {
    ($($defect:ident in $test:ident,)*) => {
        $(#[test]
        fn $test() {
            is_found(Defect::$defect);
        })*

        const _: fn(Defect) = |defect| match defect {
            $(Defect::$defect => {})*
        };
    };
}

found! {
    OutcomeLost in a_lost_outcome_is_found,
    OutcomeAstray in an_outcome_of_another_recipient_is_found,
    BounceAfterOutcome in a_bounce_after_its_outcome_is_found,
    HandoffRepeated in a_repeated_handoff_is_found,
    MovedFreedEarly in a_moved_message_freed_early_is_found,
    PlaceKept in a_place_that_is_kept_after_its_turn_is_found,
    PlaceTakenBack in a_place_that_is_taken_back_is_found,
    RefusalOutOfStep in a_refusal_out_of_step_that_is_believed_is_found,
    StrayReplyKept in a_reply_nobody_asked_for_that_is_kept_is_found,
    StrayBeforeCommand in a_stray_reply_taken_for_the_next_answer_is_found,
    EarlyReplyBelieved in an_early_reply_taken_for_the_answer_is_found,
    RetryLate in a_retry_that_comes_late_is_found,
    RetryForgotten in a_forgotten_retry_is_found,
    SegmentRecycledEarly in a_segment_recycled_early_is_found,
    FailedSegmentSealed in a_failed_segment_taken_for_a_full_one_is_found,
    SessionWithoutEnd in a_session_without_an_end_is_found,
    WaitByWallClock in a_wait_by_the_wall_clock_is_found,
    GateSkipped in an_address_that_skips_the_gate_is_found,
    AddressUncounted in an_address_nobody_counts_is_found,
    CreditsUncounted in a_credit_nobody_counts_is_found,
    MessagesUncounted in one_message_too_many_over_a_connection_is_found,
    ShapingIgnored in a_limit_that_a_file_sets_in_vain_is_found,
    WindowDeaf in a_site_whose_refusals_are_not_heard_is_found,
    ExpiredUntried in mail_given_up_without_a_last_try_is_found,
    SlowNamesKeepPlaces in silent_names_that_keep_their_places_are_found,
    EndNotSecured in an_end_that_is_not_secured_is_found,
    LogWithoutOrder in a_log_without_order_is_found,
    LogCutByKill in a_log_that_a_kill_cut_is_found,
    OutcomesUntold in outcomes_that_a_start_does_not_tell_are_found,
    ToldUnwritten in an_outcome_told_before_it_is_written_is_found,
    VouchedEarly in a_lane_vouched_for_early_is_found,
    OverflowDropped in what_the_journal_has_no_room_for_is_missed,
    MergeAnsweredEarly in a_merge_answered_before_all_of_it_is_safe_is_found,
    FewForgotten in recipients_forgotten_by_a_hop_that_takes_few_are_found,
    AboutForgotten in forgetting_what_outcomes_are_about_is_found,
    PartsToldLate in parts_told_when_all_is_over_are_found,
    PanicOverReturn in a_panic_over_mail_that_is_returned_loses_none,
    LentDoneTwice in lent_work_done_twice_is_found,
    OneAnswerForAll in one_answer_for_all_of_a_store_is_found,
    ParametersStay in parameters_that_do_not_move_are_found,
    HeldForgotten in held_mail_that_a_start_lets_go_is_found,
    HoldForgotten in a_hold_that_a_start_forgets_is_found,
    DrainTakesMail in mail_that_an_emptied_node_takes_is_found,
    AttemptsAnew in attempts_that_begin_anew_at_another_node_are_found,
    LifeAnew in a_life_that_begins_anew_at_another_node_is_found,
    RebindForgotten in a_rebinding_that_is_not_written_down_is_found,
    DiscardedHandedOut in discarded_mail_handed_out_by_a_start_is_found,
    PolicyKept in a_policy_that_a_shard_keeps_is_found,
    PolicyMixed in half_a_policy_in_a_transaction_is_found,
    PageSkips in a_page_that_skips_a_domain_is_found,
    SummarySkips in a_summary_that_skips_a_domain_is_found,
    AnswerBreaksOff in an_answer_that_breaks_off_loses_nothing,
    ReturnedTooEarly in what_is_told_to_be_returned_too_early_is_found,
    JournalWithoutRoom in a_full_disk_without_room_for_the_journal_is_found,
    GivenUpTakenUp in a_policy_taken_up_though_given_up_is_found,
    SharesOfShards in shares_of_each_shard_for_itself_are_found,
    CampaignsOfShards in campaigns_of_each_shard_for_itself_are_found,
    RateOfShards in rates_of_each_shard_for_itself_are_found,
    NoSpareConnection in connections_that_are_all_busy_are_found,
    FlowForgotten in mail_of_which_nobody_knows_whose_it_is_is_found,
    SourceForgotten in a_source_that_a_start_forgets_is_found,
    RoutesKept in mail_that_stays_with_old_routes_is_found,
    FreedUntold in a_segment_freed_before_its_events_are_in_the_journal_is_found,
    GreetingBelieved in a_refusal_of_us_taken_for_one_of_mail_is_found,
    RoomUnseen in a_disk_that_stays_full_for_the_relay_is_found,
    SuspensionForgotten in suspended_mail_that_goes_on_is_found,
    SilenceUncounted in a_proxy_that_nobody_finds_silent_is_found,
    FallbackForgotten in mail_that_waits_for_a_source_with_a_fallback_is_found,
    WarmupForgotten in a_day_of_warm_up_nobody_counts_is_found,
    RateUncounted in a_rate_nobody_counts_is_found,
    ClientRateUncounted in a_client_whose_rate_nobody_counts_is_found,
    QuotaForgotten in a_quota_nobody_counts_is_found,
    HookUnasked in a_hook_nobody_asks_is_found,
    ProviderUncounted in connections_to_a_provider_nobody_counts_are_found,
    HopsApart in ways_to_the_same_hosts_counted_apart_are_found,
    RulesUnasked in a_rule_nobody_asks_is_found,
    ScheduleForgotten in a_schedule_nobody_keeps_is_found,
    ClassIgnored in a_rate_that_is_taken_for_a_refusal_is_found,
    MemoryKept in memory_of_who_went_away_is_found,
    PortionsKept in portions_of_another_message_are_found,
    SuppressionUnasked in a_list_nobody_asks_is_found,
    SuppressedTried in mail_that_waits_for_who_is_listed_is_found,
    Unverified in mail_that_goes_on_before_it_is_verified_is_found,
    ForgedResultsKept in forged_results_that_stay_are_found,
    CaptureSettledFirst in mail_that_leaves_before_it_is_kept_is_found,
    FeedbackSettledFirst in a_complaint_that_leaves_before_it_is_told_is_found,
    ClassUntold in a_refusal_whose_reason_is_not_told_again_is_found,
    NotifyIgnored in a_sender_that_is_told_what_it_did_not_ask_for_is_found,
    LateToldAgain in mail_that_is_told_to_be_late_again_is_found,
    PieceNotSigned in a_piece_that_nobody_signed_is_found,
    SignatureLost in a_signature_that_does_not_move_is_found,
    TlsUnasked in mail_for_a_host_that_nobody_verified_is_found,
    ProxyUncounted in clients_of_a_proxy_that_nobody_counts_are_found,
}

const LOST: &[&str] = &["lost ("];
const UNTOLD: &[&str] = &["not in the journal", "missing in the journal"];
const UNSECURED: &[&str] = &[
    "lost (",
    "delivered again",
    "came twice",
    "hold nothing",
    "told twice in the journal",
    "has several ends in the journal",
];
const SEALED: &[&str] =
    &["refused, yet sent", "delivered again", "lost (", "before it was received", "hold nothing"];
const RETURNED: &[&str] = &["returned for no reason", "delivered and returned"];

fn of_sites(defect: Defect) {
    match defect {
        Defect::WindowDeaf => window::is_found(defect),
        Defect::SourceForgotten => sources::is_found(defect),
        Defect::FallbackForgotten => sources::fallback_is_found(defect),
        Defect::SilenceUncounted => sources::silence_is_found(defect),
        Defect::FlowForgotten => fair::is_found(defect),
        Defect::WarmupForgotten => warmup::is_found(defect),
        _ => suspend::is_found(defect),
    }
}

/// Those of mail that waits, that ends here, or that strangers bring.
fn of_ends(defect: Defect) {
    match defect {
        Defect::HeldForgotten => held::is_found(defect),
        Defect::PortionsKept => portions::is_found(defect),
        Defect::MergeAnsweredEarly => merges::is_found(defect),
        Defect::HoldForgotten => holds::is_found(defect),
        Defect::RebindForgotten => rebinds::is_found(defect),
        Defect::DrainTakesMail | Defect::AttemptsAnew | Defect::LifeAnew => handovers::is_found(defect),
        Defect::OneAnswerForAll => lmtp::is_found(defect),
        Defect::DiscardedHandedOut => rules::is_found(defect),
        Defect::NotifyIgnored | Defect::LateToldAgain => dsn::is_found(defect),
        Defect::PieceNotSigned | Defect::SignatureLost => signed::is_found(defect),
        Defect::FeedbackSettledFirst => feedback::is_found(defect),
        Defect::CaptureSettledFirst => captured::is_found(defect),
        Defect::TlsUnasked => require_tls::is_found(defect),
        Defect::ProxyUncounted => front_door::is_found(defect),
        Defect::HookUnasked => hook::is_found(defect),
        Defect::QuotaForgotten => quotas::is_found(defect),
        Defect::Unverified | Defect::ForgedResultsKept => gateway::is_found(defect),
        _ => suppressed::is_found(defect),
    }
}

fn is_found(defect: Defect) {
    let (days, often, words): Days = match defect {
        Defect::PolicyKept | Defect::PolicyMixed => reloaded(defect),
        Defect::GivenUpTakenUp => (given_up, 1.0, &["which was not in force at its MAIL"]),
        Defect::RoutesKept => (routes_move, 1.0, &["led by the DNS, past a route"]),
        Defect::JournalWithoutRoom => return full_disk::is_found(defect),
        Defect::PageSkips | Defect::ReturnedTooEarly | Defect::SummarySkips => return ask::is_found(defect),
        Defect::AnswerBreaksOff | Defect::PanicOverReturn => return ask::is_found(defect),
        Defect::OneAnswerForAll | Defect::ForgedResultsKept | Defect::Unverified => return of_ends(defect),
        Defect::MovedFreedEarly | Defect::ParametersStay => return compaction::is_found(defect),
        Defect::RulesUnasked | Defect::RateUncounted | Defect::HopsApart => return shaping::is_found(defect),
        Defect::ProviderUncounted | Defect::ScheduleForgotten => return shaping::is_found(defect),
        Defect::ClientRateUncounted => return rates::is_found(defect),
        Defect::WindowDeaf | Defect::SourceForgotten | Defect::WarmupForgotten => return of_sites(defect),
        Defect::SuspensionForgotten | Defect::FallbackForgotten => return of_sites(defect),
        Defect::SilenceUncounted | Defect::FlowForgotten => return of_sites(defect),
        Defect::SharesOfShards | Defect::RateOfShards => return node_shares::is_found(defect),
        Defect::NoSpareConnection | Defect::CampaignsOfShards => return node_shares::is_found(defect),
        Defect::HeldForgotten | Defect::HoldForgotten | Defect::RebindForgotten => return of_ends(defect),
        Defect::FeedbackSettledFirst | Defect::DrainTakesMail => return of_ends(defect),
        Defect::AttemptsAnew | Defect::LifeAnew | Defect::CaptureSettledFirst => return of_ends(defect),
        Defect::ProxyUncounted | Defect::HookUnasked | Defect::QuotaForgotten => return of_ends(defect),
        Defect::DiscardedHandedOut | Defect::ClassUntold | Defect::PieceNotSigned => return of_ends(defect),
        Defect::SuppressionUnasked | Defect::SuppressedTried | Defect::TlsUnasked => return of_ends(defect),
        Defect::NotifyIgnored | Defect::LateToldAgain | Defect::SignatureLost => return of_ends(defect),
        Defect::PlaceKept | Defect::PlaceTakenBack => return floods::kept_places_are_found(defect),
        Defect::SlowNamesKeepPlaces => return floods::kept_names_are_found(defect),
        Defect::OutcomeLost => (plain, 0.02, &["does not end"]),
        Defect::OutcomeAstray => (kills, 1.0, &["lost (", "delivered again", "does not end"]),
        Defect::BounceAfterOutcome => (power_failures, 1.0, LOST),
        Defect::HandoffRepeated => (|plan, _| plan.inbox = 1, 0.5, &["delivered again"]),
        Defect::RefusalOutOfStep => (twice_and_gone, 1.0, RETURNED),
        Defect::StrayReplyKept => (twice, 1.0, RETURNED),
        Defect::StrayBeforeCommand => (strays, 1.0, LOST),
        Defect::EarlyReplyBelieved => (early, 1.0, LOST),
        // Nothing else on these days makes mail wait.
        Defect::RetryLate => (no_manners_at_the_dot, 0.05, &["starved"]),
        Defect::RetryForgotten => (plain, 0.05, LOST),
        Defect::SegmentRecycledEarly => (full_segments, 1.0, LOST),
        // What was in it shows where the segment is used again soon after, on few days; and it is neither free nor of use at the end.
        Defect::FailedSegmentSealed => (failing_segments, 1.0, SEALED),
        Defect::SessionWithoutEnd => (hostile_clients, 1.0, &["was kept for", "does not end"]),
        Defect::WaitByWallClock => (clock_back, 1.0, &["starved", "does not end"]),
        Defect::GateSkipped => (|plan, _| plan.sites[0].lookup = Lookup::Ours, 1.0, &["went round"]),
        Defect::AddressUncounted
        | Defect::CreditsUncounted
        | Defect::MessagesUncounted
        | Defect::ShapingIgnored => unbounded(defect),
        Defect::ExpiredUntried => (clocks, 1.0, &["without a last try"]),
        // What the next header vouched for is not there: damage, where there was none.
        Defect::EndNotSecured => (failed_ends, 1.0, UNSECURED),
        Defect::LogWithoutOrder
        | Defect::LogCutByKill
        | Defect::OutcomesUntold
        | Defect::ToldUnwritten
        | Defect::VouchedEarly
        | Defect::OverflowDropped
        | Defect::FreedUntold => untold(defect),
        Defect::FewForgotten => (few, 1.0, &["lost (", "does not end"]),
        Defect::AboutForgotten => (outcomes_apart, 1.0, &["delivered again", "rose again"]),
        Defect::PartsToldLate => parts_told_late(defect),
        Defect::GreetingBelieved | Defect::ClassIgnored => believed(defect),
        Defect::RoomUnseen => (no_room_at_first, 1.0, &["refused for want of room"]),
        Defect::MemoryKept => (clients_that_go, 1.0, &["does not end"]),
        Defect::PortionsKept | Defect::MergeAnsweredEarly => return of_ends(defect),
        Defect::LentDoneTwice => (lent, 0.5, &["delivered again"]),
    };
    Story { days, defect: Some((defect, often)), words, ..PLAIN }.is_found();
}

/// By a reload of its own, and by days of many.
fn reloaded(defect: Defect) -> Days {
    reload::is_found(defect);
    (many_reloads, 1.0, &["which was not in force at its MAIL"])
}

/// With few credits, and where others deliver for a shard.
fn parts_told_late(defect: Defect) -> Days {
    let defect = Some((defect, 1.0));
    Story { days: kills_amid_lent_parts, defect, words: &["delivered again"], ..PLAIN }.is_found();
    (kills_amid_parts, 1.0, &["delivered again"])
}

/// Those in which a limit counts for nothing.
fn unbounded(defect: Defect) -> Days {
    match defect {
        Defect::AddressUncounted => (one_place, 1.0, &["connections to address"]),
        Defect::CreditsUncounted => {
            (one_credit, 1.0, &["more messages than credits", "attempts were repeated"])
        }
        Defect::MessagesUncounted => {
            (|plan, _| plan.messages_per_connection = 2, 1.0, &["messages over a connection"])
        }
        _ => (shaped, 1.0, &["connections to site", "messages over a connection"]),
    }
}

/// A shaping file sets both limits.
fn shaped(plan: &mut Plan, _: &mut Dice) {
    (plan.limit, plan.messages_per_connection) = (2, 2);
}

/// Those in which the code of a reply is taken for more than it says.
fn believed(defect: Defect) -> Days {
    match defect {
        Defect::GreetingBelieved => (refused_greetings, 1.0, RETURNED),
        _ => (rates_as_refusals, 1.0, RETURNED),
    }
}

/// Those of events, on their way to the log and the journal.
fn untold(defect: Defect) -> Days {
    match defect {
        Defect::LogWithoutOrder => (plain, 1.0, &["before it was received"]),
        Defect::LogCutByKill => (kills, 1.0, &["before it was received"]),
        Defect::OutcomesUntold => (kills, 1.0, UNTOLD),
        Defect::ToldUnwritten => {
            let words = &["several ends", "told twice in the journal", "before it was received"];
            (kills_on_a_slow_disk, 1.0, words)
        }
        Defect::VouchedEarly => (many_kills, 1.0, UNTOLD),
        Defect::OverflowDropped => (slow_journal, 1.0, UNTOLD),
        _ => (killed_before_the_journal, 1.0, UNTOLD),
    }
}

#[test]
fn an_answer_before_the_sync_is_found() {
    Story { days: power_failures, plan: |plan| plan.disk.sync_lies = 0.5, words: LOST, ..PLAIN }.is_found();
}

#[test]
fn a_sync_error_nobody_looks_at_is_found() {
    Story { days: power_failures, plan: |plan| plan.disk.sync_hides = 0.2, words: LOST, ..PLAIN }.is_found();
}

#[test]
fn two_processes_on_one_lane_are_found() {
    let days = |plan: &mut Plan, _: &mut Dice| {
        plan.shards = vec![2, 3];
        plan.ends = vec![(2_000, End::Kill)];
    };
    let words = &["delivered again", "panic", "connections to site"];
    Story { days, plant: |day| day.two_at_once = true, words, ..PLAIN }.is_found();
}

#[test]
fn one_connection_too_many_is_found() {
    let words = &["connections to site"];
    Story { plan: |plan| plan.limit_exceeded = 1, words, ..PLAIN }.is_found();
}

/// Sites with several hosts of one place each: whoever waits for one of them gets his turn.
#[test]
fn addresses_of_one_place_starve_nobody() {
    for seed in 1..=4 {
        let mut plan = Plan::plain(seed);
        (plan.limit, plan.address_limit) = (5, 1);
        assert_eq!(wrong(&plan, |_, _| {}), Vec::<String>::new(), "seed {seed}");
    }
}

fn plain(_: &mut Plan, _: &mut Dice) {}

/// Several power failures while mail comes in.
fn power_failures(plan: &mut Plan, dice: &mut Dice) {
    plan.ends = (1..5).map(|life| (life * 900 + dice.below(800), End::Power)).collect();
}

fn kills(plan: &mut Plan, dice: &mut Dice) {
    plan.ends = (1..5).map(|life| (life * 1_500 + dice.below(800), End::Kill)).collect();
}

fn kills_on_a_slow_disk(plan: &mut Plan, dice: &mut Dice) {
    kills(plan, dice);
    plan.disk.sync_max = Duration::from_secs(2);
}

fn many_kills(plan: &mut Plan, dice: &mut Dice) {
    plan.ends = (1..12).map(|life| (life * 1_500 + dice.below(1_400), End::Kill)).collect();
}

/// The journal takes nothing while much of the mail comes.
fn slow_journal(plan: &mut Plan, _: &mut Dice) {
    plan.journal_stall = Some((500, 60_000));
}

/// A sync fails, the process dies, and soon after the machine.
pub fn failed_ends(plan: &mut Plan, dice: &mut Dice) {
    plan.disk.sync_error = 0.5;
    plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
    plan.sites.iter_mut().for_each(|site| site.unknown_users = 3_000 * u64::from(!site.origin));
    plan.ends = (1..10)
        .flat_map(|life| {
            let at = life * 1_500 + dice.below(1_000);
            [(at, End::Kill), (at + 650, End::Power)]
        })
        .collect();
    plan.ends.sort_by_key(|(at, _)| *at);
}

/// Segments fill up and are free again while the journal takes nothing; then the process dies.
fn killed_before_the_journal(plan: &mut Plan, dice: &mut Dice) {
    large(plan, dice, 100_000);
    slow_journal(plan, dice);
    plan.ends = vec![(30_000 + dice.below(20_000), End::Kill)];
}

/// One greets nobody.
fn refused_greetings(plan: &mut Plan, _: &mut Dice) {
    plan.sites[0].manners[BANNER] = Manner { hard: 1.0, ..Manner::default() };
}

/// The disk has no room for a second segment while most of the mail comes.
fn no_room_at_first(plan: &mut Plan, dice: &mut Dice) {
    large(plan, dice, 100_000);
    plan.full = Some((0, 20_000));
}

fn clients_that_go(plan: &mut Plan, _: &mut Dice) {
    let some = plan.clients.iter_mut().flatten().step_by(3);
    some.for_each(|message| message.flavour = Flavour::Aborts);
}

/// Reloads at these milliseconds, each with a version of its own; each second one is changed.
fn reloads(plan: &mut Plan, at: impl Iterator<Item = u64>, fate: Fate, change: fn(&Plan, &mut Version)) {
    let reload = |(place, at): (usize, u64)| {
        let mut version = Version { number: Some(place + 1), ..Version::first(plan) };
        if place % 2 == 0 {
            change(plan, &mut version);
        }
        Reload { at: at * 1_000, takes: Duration::ZERO, fate, version }
    };
    plan.reloads = at.enumerate().map(reload).collect();
}

fn many_reloads(plan: &mut Plan, _: &mut Dice) {
    // A command is under way for longer than some policies are in force.
    plan.network.latency_max = Duration::from_millis(20);
    plan.clients.iter_mut().flatten().for_each(|message| message.flavour = Flavour::Plain);
    reloads(plan, (0..3_000).step_by(40), Fate::InForce, |plan, version| {
        version.refused.extend(plan.sites[0].domains.first().cloned());
    });
}

fn given_up(plan: &mut Plan, _: &mut Dice) {
    reloads(plan, (100..1_500).step_by(500), Fate::GivenUp, |_, _| {});
}

/// All routes change while much waits for its turn: what waits for another try asks for its way anyhow.
fn routes_move(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |_| {});
    (plan.limit, plan.network.latency_max) = (1, Duration::from_millis(500));
    reloads(plan, std::iter::once(20_000), Fate::InForce, |plan, version| {
        version.led = plan.sites.iter().flat_map(|site| &site.domains).cloned().collect();
    });
}

fn no_manners_at_the_dot(plan: &mut Plan, _: &mut Dice) {
    plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
}

/// The clock is set forward while much waits for its next try, and the process starts anew.
fn clocks(plan: &mut Plan, dice: &mut Dice) {
    plan.clock = vec![(dice.between(3, 6), 400 * 86_400_000)];
    plan.ends = vec![(10_000 + dice.below(3_000), End::Kill)];
    // Nothing else makes mail wait.
    plan.sites.iter_mut().for_each(|site| site.manners[DOT] = Manner::default());
}

fn clock_back(plan: &mut Plan, _: &mut Dice) {
    plan.clock = vec![(4, -400 * 86_400_000)];
}

/// Hops that break the rules at every turn.
fn rule_breakers(plan: &mut Plan, change: fn(&mut SitePlan)) {
    for site in plan.sites.iter_mut().filter(|site| !site.origin) {
        site.manners = [Manner::default(); VERBS];
        change(site);
    }
}

/// Hops that say with a 550 that they take no more for now.
fn rates_as_refusals(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |site| {
        site.coded = true;
        site.manners[RCPT] = Manner { soft: 0.3, ..Manner::default() };
    });
}

fn early(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |site| site.early = 0.3);
}

fn twice(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |site| (site.twice, site.pipelining) = (0.5, false));
}

/// What they say behind the answer to MAIL opens the data, whose end they refuse.
fn strays(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |site| {
        (site.strays, site.pipelining) = (0.3, false);
        site.manners[DOT] = Manner { soft: 0.5, ..Manner::default() };
    });
}

/// What they say twice comes when the commands of the next message are under way already; and then they leave.
fn twice_and_gone(plan: &mut Plan, _: &mut Dice) {
    plan.limit = 1;
    rule_breakers(plan, |site| {
        (site.twice, site.pipelining) = (0.5, true);
        site.manners[RCPT] = Manner { shut: 0.3, ..Manner::default() };
    });
}

fn few(plan: &mut Plan, _: &mut Dice) {
    rule_breakers(plan, |site| site.few = 1);
}

/// Kills while hops that take one recipient a transaction take their time over the next.
fn kills_amid_parts(plan: &mut Plan, dice: &mut Dice) {
    rule_breakers(plan, |site| {
        site.few = 1;
        site.manners[DOT] = Manner { late: 0.5, ..Manner::default() };
    });
    plan.ends = (1..5).map(|life| (life * 5_000 + dice.below(800), End::Kill)).collect();
}

fn kills_amid_lent_parts(plan: &mut Plan, dice: &mut Dice) {
    kills_amid_parts(plan, dice);
    (plan.credits, plan.busy, plan.lend_at) = (4, true, 1);
}

fn one_credit(plan: &mut Plan, dice: &mut Dice) {
    power_failures(plan, dice);
    plan.credits = 1;
    plan.limit = 20;
    // Much is under way at any time, if nobody counts it.
    plan.disk.sync_max = Duration::from_millis(500);
    plan.sites.iter_mut().for_each(|site| site.manners = [Manner::default(); VERBS]);
}

fn lent(plan: &mut Plan, _: &mut Dice) {
    (plan.busy, plan.lend_at) = (true, 1);
}

fn one_place(plan: &mut Plan, _: &mut Dice) {
    (plan.limit, plan.address_limit) = (5, 1);
}

/// Clients that bring no mail and try to stay.
pub fn hostile_clients(plan: &mut Plan, dice: &mut Dice) {
    plan.hostile = dice.between(8, 24) as usize;
}
