//! What keys do in `relevo top`. Pure: what is to be asked of the relay is given back.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use relevo::config::value;
use relevo::control::api::shape::{Resume, Suspend};
use relevo::limits;

use super::rows::View;
use super::state::{Prompt, Resumed, State};

/// What is to be done behind a key.
#[derive(Clone, Debug)]
pub enum Act {
    /// Nothing but to draw.
    Draw,
    /// To ask at once what the view shows now.
    Ask,
    /// To suspend.
    Suspend(Suspend),
    /// To resume.
    Resume(Resume),
    /// To end.
    End,
}

/// A key was pressed.
pub fn press(state: &mut State, key: KeyEvent) -> Act {
    if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Act::End;
    }
    match std::mem::take(&mut state.prompt) {
        Prompt::None => browse(state, key),
        Prompt::Help | Prompt::More(_) => Act::Draw,
        Prompt::Resume(words, which) => confirm(state, key, words, which),
        prompt => type_in(state, key, prompt),
    }
}

fn browse(state: &mut State, key: KeyEvent) -> Act {
    state.said = None;
    let rows = state.rows().len();
    let last = rows.saturating_sub(1);
    match key.code {
        KeyCode::Char('q') => return Act::End,
        KeyCode::Char(number @ '1'..='7') => return show(state, View::ALL[number as usize - '1' as usize]),
        KeyCode::Tab | KeyCode::Right => return step(state, 1),
        KeyCode::BackTab | KeyCode::Left => return step(state, View::ALL.len() - 1),
        KeyCode::Down | KeyCode::Char('j') => state.selected = (state.selected + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => state.selected = state.selected.saturating_sub(1),
        KeyCode::PageDown => state.selected = (state.selected + limits::TOP_PAGE).min(last),
        KeyCode::PageUp => state.selected = state.selected.saturating_sub(limits::TOP_PAGE),
        KeyCode::Home => state.selected = 0,
        KeyCode::End => state.selected = last,
        KeyCode::Enter => return enter(state),
        KeyCode::Esc => return back(state),
        KeyCode::Char('?' | 'h') => state.prompt = Prompt::Help,
        KeyCode::Char('/') => {
            state.typed = state.filter.clone();
            state.prompt = Prompt::Filter;
        }
        KeyCode::Char('s') => begin_suspend(state),
        KeyCode::Char('r') => begin_resume(state),
        _ => {}
    }
    Act::Draw
}

fn show(state: &mut State, view: View) -> Act {
    state.go_to(view);
    Act::Ask
}

fn step(state: &mut State, by: usize) -> Act {
    let place = View::ALL.iter().position(|view| *view == state.view).unwrap_or(0);
    show(state, View::ALL[(place + by) % View::ALL.len()])
}

/// Into a provider's sites; of other rows what more there is.
fn enter(state: &mut State) -> Act {
    let Some(row) = state.row() else { return Act::Draw };
    if let (View::Providers, Some(provider)) = (state.view, row.filter.get("provider")) {
        let provider = provider.clone();
        state.go_to(View::Sites);
        state.provider = Some(provider);
        return Act::Ask;
    }
    if row.more.iter().any(|line| !line.is_empty()) {
        state.prompt = Prompt::More(row.more);
    }
    Act::Draw
}

fn back(state: &mut State) -> Act {
    if !state.filter.is_empty() {
        state.filter.clear();
        return Act::Draw;
    }
    if state.provider.take().is_some() {
        return show(state, View::Providers);
    }
    Act::Draw
}

fn begin_suspend(state: &mut State) {
    match state.row().filter(|row| !row.filter.is_empty()) {
        Some(row) => {
            state.typed = "1h".to_owned();
            state.prompt = Prompt::HowLong(row.filter);
        }
        None => state.said = Some("choose a provider, a domain, a site or a tenant to suspend".to_owned()),
    }
}

fn begin_resume(state: &mut State) {
    match state.row() {
        Some(row) if row.suspension.is_some() => {
            let id = row.suspension.unwrap_or_default();
            let mail = row.more.first().cloned().unwrap_or_default();
            state.prompt = Prompt::Resume(format!("suspension {id} ({mail})"), Resumed::One(id));
        }
        Some(row) if !row.filter.is_empty() => {
            let words = format!("mail of {}", words(&row.filter));
            state.prompt = Prompt::Resume(words, Resumed::Of(row.filter));
        }
        _ => {
            state.said = Some(
                "choose what is to go on: a suspension, a provider, a domain, a site or a tenant".to_owned(),
            )
        }
    }
}

fn confirm(state: &mut State, key: KeyEvent, words: String, which: Resumed) -> Act {
    match key.code {
        KeyCode::Char('y' | 'Y') => Act::Resume(match which {
            Resumed::One(id) => Resume { id: Some(id), ..Resume::default() },
            Resumed::Of(filter) => Resume { filter, ..Resume::default() },
        }),
        KeyCode::Char('n' | 'N') | KeyCode::Esc => Act::Draw,
        _ => {
            state.prompt = Prompt::Resume(words, which);
            Act::Draw
        }
    }
}

fn type_in(state: &mut State, key: KeyEvent, prompt: Prompt) -> Act {
    match key.code {
        KeyCode::Esc => {
            if prompt == Prompt::Filter {
                state.filter.clear();
            }
            state.typed.clear();
            return Act::Draw;
        }
        KeyCode::Enter => return typed_all(state, prompt),
        KeyCode::Backspace => drop(state.typed.pop()),
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => state.typed.clear(),
        KeyCode::Char(letter) if state.typed.len() < limits::TOP_TYPED && !letter.is_control() => {
            state.typed.push(letter)
        }
        _ => {}
    }
    if prompt == Prompt::Filter {
        state.filter = state.typed.clone();
        state.selected = 0;
    }
    state.prompt = prompt;
    Act::Draw
}

fn typed_all(state: &mut State, prompt: Prompt) -> Act {
    let typed = std::mem::take(&mut state.typed);
    match prompt {
        Prompt::HowLong(filter) => match value::duration(typed.trim()) {
            Ok(lasts) => state.prompt = Prompt::Why(filter, lasts.as_secs()),
            Err(_) => {
                state.said = Some("a time is written 90s, 30m, 2h or 3d".to_owned());
                state.typed = typed;
                state.prompt = Prompt::HowLong(filter);
            }
        },
        Prompt::Why(filter, seconds) if typed.trim().is_empty() => {
            state.said = Some("a reason is wanted: whoever looks at the queue is told".to_owned());
            state.prompt = Prompt::Why(filter, seconds);
        }
        Prompt::Why(filter, seconds) => {
            let reason = typed.trim().to_owned();
            return Act::Suspend(Suspend { filter, all: false, seconds, reason });
        }
        _ => {}
    }
    Act::Draw
}

/// What mail a filter means.
pub fn words(filter: &BTreeMap<String, String>) -> String {
    filter.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo::control::api::shape::SuspensionEntry;
    use relevo::control::api::shape::overview::{Overview, ProviderTotals};

    fn state() -> State {
        let provider = |name: &str| ProviderTotals { name: name.into(), ..ProviderTotals::default() };
        let providers = Some(vec![provider("google"), provider("yahoo"), provider("other")]);
        State { overview: Overview { providers, ..Overview::default() }, ..State::default() }
    }

    fn press(state: &mut State, keys: &str) -> Act {
        let mut act = Act::Draw;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                letter => KeyCode::Char(letter),
            };
            act = super::press(state, KeyEvent::new(code, KeyModifiers::NONE));
        }
        act
    }

    #[test]
    fn a_provider_is_suspended_with_a_reason_and_no_other_way() {
        let mut state = state();
        press(&mut state, "js\n");
        assert!(matches!(state.prompt, Prompt::Why(_, 3_600)), "{:?}", state.prompt);
        press(&mut state, "\n");
        assert!(matches!(state.prompt, Prompt::Why(..)) && state.said.is_some(), "none was given");
        let Act::Suspend(asked) = press(&mut state, "they block us\n") else { panic!("it is asked for") };
        assert_eq!((asked.filter["provider"].as_str(), asked.seconds), ("yahoo", 3_600));
        assert_eq!((asked.reason.as_str(), asked.all), ("they block us", false));
        // What is put together is nobody's.
        press(&mut state, "js");
        assert_eq!(state.prompt, Prompt::None);
    }

    #[test]
    fn what_is_wrong_is_said_and_escape_leads_back() {
        let mut state = state();
        press(&mut state, "s0x\n");
        assert!(matches!(state.prompt, Prompt::HowLong(_)) && state.said.is_some());
        press(&mut state, "\u{1b}");
        assert_eq!(state.prompt, Prompt::None);
        assert!(matches!(press(&mut state, "\n"), Act::Ask));
        assert_eq!((state.view, state.provider.as_deref()), (View::Sites, Some("google")));
        press(&mut state, "\u{1b}");
        assert_eq!((state.view, state.provider.as_deref()), (View::Providers, None));
        press(&mut state, "/yah");
        assert_eq!(state.rows().len(), 1);
        press(&mut state, "\n\u{1b}");
        assert_eq!(state.rows().len(), 3);
        assert!(matches!(press(&mut state, "q"), Act::End));
    }

    #[test]
    fn a_suspension_ends_when_that_is_confirmed() {
        let entry = r#"{"id":7,"effect":"wait","mail":"domain = \"a.example\"","since":"","until":"","by":"me","reason":"so"}"#;
        let entry: SuspensionEntry = serde_json::from_str(entry).expect("an entry");
        let mut state = State { suspensions: vec![entry], ..State::default() };
        press(&mut state, "6r");
        assert!(matches!(press(&mut state, "x"), Act::Draw) && state.prompt != Prompt::None);
        let Act::Resume(asked) = press(&mut state, "y") else { panic!("it is asked for") };
        assert_eq!((asked.id, asked.all), (Some(7), false));
    }
}
