use ratatui::Terminal;
use ratatui::backend::TestBackend;
use relevo::control::api::shape::overview::{
    Age, ClassTotals, DomainTotals, ProviderTotals, QueueTotals, Rates, ShardTotals, SiteTotals,
};

use super::*;
use crate::commands::top::Screen;

const SIZES: [(u16, u16); 3] = [(80, 24), (100, 30), (200, 60)];

fn state() -> State {
    let provider = |number: u64| ProviderTotals {
        name: format!("provider-{number}"),
        recipients: 1_000_000 / (number + 1),
        narrowed: number % 2,
        ..ProviderTotals::default()
    };
    let overview = Overview {
        as_of: "2026-11-30T05:00:07.000Z".into(),
        node: "mx1.example.net".into(),
        version: "0.1.0".into(),
        uptime_seconds: 12_345,
        ready: true,
        rates: Rates {
            accepted: Some(12_345.6),
            delivered: Some(118.0),
            connections_in: 12,
            ..Rates::default()
        },
        queue: QueueTotals {
            as_of: Some("2026-11-30T05:00:00.000Z".into()),
            recipients: 1_234_567,
            ready: Some(10),
            domains: Some(812),
            ..QueueTotals::default()
        },
        ages: Some(
            [Some(60), Some(600), Some(3_600), Some(21_600), Some(86_400), None]
                .map(|up_to_seconds| Age { up_to_seconds, recipients: 100_000 })
                .to_vec(),
        ),
        providers: Some((0..64).map(provider).collect()),
        domains: Some(vec![DomainTotals {
            name: "example.org".into(),
            recipients: 7,
            ..DomainTotals::default()
        }]),
        classes: vec![ClassTotals {
            class: "too_many_connections".into(),
            recipients: 12,
            text: Some("421 4.7.28 \u{1b}[2Jslow down".into()),
        }],
        shards: vec![ShardTotals { busy_ratio: 0.25, queued: 500_000, ..ShardTotals::default() }],
        warnings: vec!["source ip1 is suspended: it is blocked".into()],
        ..Overview::default()
    };
    let mut state = State::default();
    state.take(overview);
    state.sites = vec![SiteTotals {
        site: "gmail-smtp-in.l.google.com".into(),
        connections: 4,
        connection_limit: 10,
        closed_until: Some("2026-11-30T05:10:00.000Z".into()),
        ..SiteTotals::default()
    }];
    state
}

/// The screen as lines, by the terminal of the tests.
fn screen(state: &State, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal of tests");
    terminal.draw(|frame| frame.render_widget(Screen(state), frame.area())).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let line = |row| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..height).map(line).collect()
}

fn has(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

#[test]
fn what_matters_is_on_every_screen() {
    for size in SIZES {
        let lines = screen(&state(), size);
        for words in [
            "mx1.example.net  takes mail",
            "05:00:07Z",
            "12345.6/s",
            "1,234,567",
            "ready 10",
            "domains 812",
            "to 1m 100k",
            "older 100k",
            "! source ip1 is suspended: it is blocked",
            "1 providers",
            "6 suspensions",
            "PROVIDER",
            "provider-0 ",
            "1,000,000",
            "? help",
        ] {
            assert!(has(&lines, words), "{size:?}: {words}\n{}", lines.join("\n"));
        }
        assert_eq!(has(&lines, "0 to 12,346/s"), size.1 >= limits::TOP_TALL, "{size:?}");
        assert_eq!(has(&lines, "SUSPENDED"), size.0 >= limits::TOP_WIDE, "{size:?}");
    }
}

#[test]
fn columns_stand_below_their_titles() {
    for size in SIZES {
        let lines = screen(&state(), size);
        let title = lines.iter().position(|line| line.contains("PROVIDER")).expect("titles");
        let end = lines[title].find("WAITING").expect("a column") + "WAITING".len();
        for (line, number) in [(1, "1,000,000"), (2, "500,000")] {
            let line = &lines[title + line];
            assert_eq!(line.find(number).map(|at| at + number.len()), Some(end), "{line}");
        }
    }
}

#[test]
fn each_view_is_drawn_and_nothing_of_others_steers_the_terminal() {
    for (view, words) in [
        (View::Domains, "example.org"),
        (View::Sites, "gmail-smtp-in.l.goog"),
        (View::Errors, "too_many_connections"),
        (View::Shards, "25 %"),
        (View::Suspensions, "nothing is suspended"),
        (View::Tenants, "of no tenant's mail"),
    ] {
        for size in SIZES {
            let mut state = state();
            state.go_to(view);
            let lines = screen(&state, size);
            assert!(has(&lines, words), "{view:?} {size:?}\n{}", lines.join("\n"));
            assert!(!lines.concat().contains('\u{1b}'));
        }
    }
    let mut state = state();
    state.go_to(View::Sites);
    assert!(has(&screen(&state, (80, 24)), "rests to 05:10"), "{}", screen(&state, (80, 24)).join("\n"));
}

#[test]
fn the_selection_stays_in_sight_and_help_is_whole() {
    let mut state = state();
    state.selected = 63;
    for size in SIZES {
        assert!(has(&screen(&state, size), "provider-63 "), "{size:?}");
    }
    state.prompt = Prompt::Help;
    let lines = screen(&state, (80, 24));
    for (key, what) in KEYS {
        assert!(has(&lines, key) && has(&lines, what), "{what}\n{}", lines.join("\n"));
    }
}

#[test]
fn a_screen_as_text_has_all_rows_and_no_keys() {
    let state = State { once: true, ..state() };
    let text = text(&state, Rect::new(0, 0, 100, rows_needed(&state)));
    assert!(text.contains("provider-63 ") && !text.contains("? help"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 && line.trim_end() == line));
}

#[test]
fn no_size_is_too_small() {
    for width in [0, 1, 5, 20, 79] {
        for height in [0, 1, 2, 3, 7, 9] {
            let mut state = state();
            for prompt in [Prompt::None, Prompt::Help, Prompt::More(vec!["words".into()])] {
                state.prompt = prompt;
                let area = Rect::new(0, 0, width, height);
                draw(&state, area, &mut Buffer::empty(area));
            }
        }
    }
}

#[test]
fn tenants_are_listed_with_what_became_of_their_mail() {
    use relevo::control::api::shape::analytics::{AnalyticsRow, ClassCount, Outcomes};
    let row = |name: &str, bounced: u64, rate: f64| AnalyticsRow {
        name: name.to_owned(),
        counts: Outcomes { delivered: 9_000, bounced, bounce_rate: Some(rate), ..Outcomes::default() },
        classes: vec![ClassCount {
            class: "bad_mailbox".to_owned(),
            recipients: bounced,
            ..ClassCount::default()
        }],
    };
    let rows = vec![row("shop", 1_000, 0.1), row("", 1, 0.0001)];
    let mut state = State { tenants: (rows, None), ..State::default() };
    state.go_to(View::Tenants);
    let lines = screen(&state, SIZES[1]);
    for wanted in ["shop", "9,000", "1,000", "10.0 %", "bad_mailbox", "(none)"] {
        assert!(has(&lines, wanted), "{wanted}: {lines:?}");
    }
    let rows = state.rows();
    assert_eq!(rows[0].filter.get("tenant").map(String::as_str), Some("shop"));
    assert!(rows[1].filter.is_empty());
    state.tenants = (Vec::new(), Some("nothing is counted".to_owned()));
    assert!(has(&screen(&state, SIZES[1]), "nothing is counted"));
}
