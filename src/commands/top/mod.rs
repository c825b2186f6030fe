//! `relevo top`: what the relay does, as it does it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use relevo::control::api::shape::Suspensions;
use relevo::control::api::shape::analytics::Analytics;
use relevo::control::api::shape::overview::{History, Overview, SitesPage};
use relevo::limits;
use relevo::runtime::process::{self, Signal};
use relevo::runtime::terminal;

use super::client::{Client, Relay};
use super::output::{Failure, WRONG_USE, say};
use super::table;
use keys::Act;
use rows::View;
use state::State;

mod draw;
mod keys;
mod rows;
mod state;

/// `relevo top`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// What is listed below the figures, at first.
    #[arg(long, value_enum, default_value_t)]
    view: View,
    /// Print one screen as text, and end.
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// Print the overview as a JSON object, and end.
    #[arg(long)]
    json: bool,
}

/// Exit 0: it ended as it was asked to; 1: no relay answers; 2: wrong use.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = arguments.relay.client()?;
    if arguments.json {
        let overview: Overview = client.get("/control/v1/overview")?;
        say!("{}", serde_json::to_string_pretty(&overview).map_err(|error| error.to_string())?);
        return Ok(());
    }
    let mut state = State { view: arguments.view, once: arguments.once, ..State::default() };
    ask(&client, &mut state)?;
    if arguments.once {
        let columns = u16::try_from(table::columns()).unwrap_or(u16::MAX);
        say!("{}", draw::text(&state, Rect::new(0, 0, columns, draw::rows_needed(&state))));
        return Ok(());
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let words = "this is no terminal: --once prints one screen as text, --json the overview";
        return Err(Failure(WRONG_USE, words.to_owned()));
    }
    remember(&client, &mut state);
    // A signal that ends the process is asked for between two looks at the keys, so that the terminal is given back first.
    process::hold_signals();
    let mut screen = ratatui::try_init().map_err(|error| format!("the terminal: {error}"))?;
    let ended = watch(&client, &mut state, &mut screen);
    ratatui::restore();
    ended
}

struct Screen<'a>(&'a State);

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        draw::draw(self.0, area, buffer);
    }
}

fn watch(client: &Client, state: &mut State, screen: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
    let (mut ticks, mut patience) = (0, limits::TOP_TICK);
    loop {
        screen.draw(|frame| frame.render_widget(Screen(state), frame.area()))?;
        if !terminal::is_there_after(patience)?
            || matches!(process::wait_for_signal(0), Some(Signal::Stop | Signal::Reload))
        {
            return Ok(());
        }
        let mut asks = false;
        // Of what was typed at once one key is read at a time.
        let is_typed = event::poll(Duration::ZERO)?;
        patience = if is_typed { Duration::ZERO } else { limits::TOP_TICK };
        if is_typed {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                match keys::press(state, key) {
                    Act::End => return Ok(()),
                    Act::Draw => {}
                    Act::Ask => asks = true,
                    Act::Suspend(asked) => {
                        let done = client.post::<Suspensions>("/control/v1/suspend", &asked);
                        asks = true;
                        state.said = Some(match done {
                            Ok(_) => "it is suspended".to_owned(),
                            Err(Failure(_, words)) => words,
                        });
                    }
                    Act::Resume(asked) => {
                        let done = client.post::<Suspensions>("/control/v1/resume", &asked);
                        asks = true;
                        state.said = Some(match done {
                            Ok(done) if done.suspensions.is_empty() => {
                                "nothing of that was suspended".to_owned()
                            }
                            Ok(_) => "it goes on".to_owned(),
                            Err(Failure(_, words)) => words,
                        });
                    }
                }
            }
        } else {
            ticks += 1;
        }
        if asks || ticks >= limits::TOP_TICKS {
            ticks = 0;
            // A relay that is started again is found again.
            if let Err(Failure(_, words)) = ask(client, state) {
                state.failed = Some(words);
            }
        }
    }
}

/// Asks what the view shows.
fn ask(client: &Client, state: &mut State) -> Result<(), Failure> {
    match state.view {
        View::Sites => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(provider) = &state.provider {
                query.append_pair("provider", provider);
            }
            let page: SitesPage = client.get(&format!("/control/v1/sites?{}", query.finish()))?;
            (state.sites, state.more_sites) = (page.rows, page.next.is_some());
        }
        View::Suspensions => state.take_suspensions(client.get("/control/v1/suspensions")?),
        View::Tenants if state.tenants_wait == 0 => {
            let asked = format!("/control/v1/analytics?by=tenant&limit={}", limits::TOP_TENANTS);
            state.tenants = match client.get::<Analytics>(&asked) {
                Ok(told) => (told.rows, None),
                // Where nothing is counted the rest is shown all the same.
                Err(Failure(_, words)) => (Vec::new(), Some(words)),
            };
            state.tenants_wait = limits::TOP_TENANTS_TURNS;
        }
        View::Tenants => state.tenants_wait -= 1,
        _ => {}
    }
    state.take(client.get("/control/v1/overview")?);
    Ok(())
}

/// What went before this command began.
fn remember(client: &Client, state: &mut State) {
    let Ok(history) = client.get::<History>("/control/v1/history?step=1") else { return };
    let latest = |points: Vec<Option<f64>>| {
        let skipped = points.len().saturating_sub(limits::TOP_PAST);
        points.into_iter().skip(skipped).map(|point| point.unwrap_or_default().round() as u64).collect()
    };
    state.accepted = latest(history.series.accepted);
    state.delivered = latest(history.series.delivered);
}
