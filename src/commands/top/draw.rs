//! What `relevo top` looks like. Pure: a state, and where to draw it.
//!
//! Colours are of the middle of the palette of 256, which is read on dark and on light; what they mean is said in words as well.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline, Widget, Wrap};
use relevo::control::api::shape::overview::Overview;
use relevo::limits;

use super::super::table::{fit, wide};
use super::super::words::plain;
use super::keys::words;
use super::rows::{Column, Tone, View, clock, columns, compact, grouped};
use super::state::{Prompt, State};

const ACCENT: Color = Color::Indexed(32);
const GOOD: Color = Color::Indexed(28);
const WARNING: Color = Color::Indexed(130);
const BAD: Color = Color::Indexed(160);

const KEYS: [(&str, &str); 10] = [
    ("1-7, Tab", "another view"),
    ("Up, Down", "another row (j, k, PgUp, PgDn, Home, End)"),
    ("Enter", "the sites of a provider; of other rows, more of it"),
    ("Esc", "back"),
    ("/", "only rows with this text"),
    ("s", "suspend what is chosen: asks for how long, and why"),
    ("r", "let go on what is suspended: asks first"),
    ("?", "this page"),
    ("q", "end"),
    ("", "What is done here is told in the log with who did it."),
];

/// Draws all of it.
pub fn draw(state: &State, area: Rect, buffer: &mut Buffer) {
    let mut top = area;
    let mut take = |rows: u16| {
        let rows = rows.min(top.height);
        let part = Rect { height: rows, ..top };
        top = Rect { y: top.y + rows, height: top.height - rows, ..top };
        part
    };
    head(state, take(1), buffer);
    rates(state, take(2), buffer);
    queue(&state.overview, take(2), buffer);
    if area.height >= limits::TOP_TALL && !state.once {
        past(state, take(4), buffer);
    }
    for warning in state.overview.warnings.iter().take(usize::from(area.height / 12)) {
        line(
            take(1),
            buffer,
            vec![Span::styled(format!("! {}", plain(warning.as_bytes())), tone(Tone::Warning))],
        );
    }
    tabs(state, take(1), buffer);
    let last = if state.once { 0 } else { 1 };
    let body = Rect { height: top.height.saturating_sub(last), ..top };
    let foot = Rect { y: top.y + body.height, height: top.height - body.height, ..top };
    list(state, body, buffer);
    if !state.once {
        prompt(state, foot, buffer);
        popup(state, area, buffer);
    }
}

fn tone(of: Tone) -> Style {
    match of {
        Tone::Usual => Style::new(),
        Tone::Warning => Style::new().fg(WARNING),
        Tone::Bad => Style::new().fg(BAD),
    }
}

fn faint(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Style::new().add_modifier(Modifier::DIM))
}

fn strong(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Style::new().add_modifier(Modifier::BOLD))
}

fn line(area: Rect, buffer: &mut Buffer, spans: Vec<Span<'static>>) {
    Line::from(spans).render(area, buffer);
}

fn head(state: &State, area: Rect, buffer: &mut Buffer) {
    let Overview { node, version, uptime_seconds, draining, not_ready, as_of, .. } = &state.overview;
    let (words, colour) = match (&state.failed, draining, not_ready) {
        (Some(failed), ..) => (format!("no answer: {}", plain(failed.as_bytes())), BAD),
        (_, true, _) => ("draining".to_owned(), WARNING),
        (_, _, Some(why)) => (format!("takes no mail: {}", plain(why.as_bytes())), BAD),
        _ if as_of.is_empty() => ("asking".to_owned(), ACCENT),
        _ => ("takes mail".to_owned(), GOOD),
    };
    let style = Style::new().fg(colour).add_modifier(Modifier::BOLD);
    let time = if as_of.is_empty() { String::new() } else { format!("{}Z", clock(as_of)) };
    let left = Rect { width: area.width.saturating_sub(time.len() as u16 + 1), ..area };
    let spans = vec![
        strong(plain(node.as_bytes())),
        Span::raw("  "),
        Span::styled(words, style),
        faint(format!("  relevo {version}, up {}", span(*uptime_seconds))),
    ];
    line(left, buffer, spans);
    Paragraph::new(faint(time)).alignment(Alignment::Right).render(area, buffer);
}

/// A time that one reads at a glance.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Names above, numbers below, each at the right side of its column.
fn figures(area: Rect, buffer: &mut Buffer, figures: &[(&str, String, Style)]) {
    let width = (usize::from(area.width) / figures.len().max(1)).min(14);
    for (at, (name, number, style)) in figures.iter().enumerate() {
        let x = area.x + (at * width) as u16;
        let part = |row: u16| Rect { x, y: area.y + row, width: width as u16, height: 1 };
        if area.height >= 2 && usize::from(x) + width <= usize::from(area.right()) {
            Paragraph::new(faint(fit(name, width.saturating_sub(1))))
                .alignment(Alignment::Right)
                .render(part(0), buffer);
            let number =
                Span::styled(fit(number, width.saturating_sub(1)), style.add_modifier(Modifier::BOLD));
            Paragraph::new(number).alignment(Alignment::Right).render(part(1), buffer);
        }
    }
}

fn rates(state: &State, area: Rect, buffer: &mut Buffer) {
    let of = &state.overview.rates;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
    let bad = |rate: Option<f64>| {
        if rate.is_some_and(|rate| rate > 0.0) { tone(Tone::Warning) } else { Style::new() }
    };
    figures(
        area,
        buffer,
        &[
            ("accepted", rate(of.accepted), Style::new()),
            ("delivered", rate(of.delivered), Style::new()),
            ("deferred", rate(of.deferred), bad(of.deferred)),
            ("bounced", rate(of.bounced), bad(of.bounced)),
            ("rejected", rate(of.rejected), bad(of.rejected)),
            ("clients", grouped(of.connections_in), Style::new()),
            ("out", grouped(of.connections_out), Style::new()),
        ],
    );
}

fn queue(overview: &Overview, area: Rect, buffer: &mut Buffer) {
    let of = &overview.queue;
    let known = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
    let first = Rect { height: area.height.min(1), ..area };
    let mut spans = vec![faint("  queue "), strong(grouped(of.recipients))];
    for (name, number) in
        [("ready", of.ready), ("deferred", of.deferred), ("suspended", of.suspended), ("held", of.held)]
    {
        spans.extend([faint(format!("  {name} ")), Span::raw(known(number))]);
    }
    let domains = of.domains.map_or_else(|| "-".to_owned(), compact);
    spans.extend([faint("  domains "), Span::raw(domains)]);
    line(first, buffer, spans);
    let second = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let mut spans = vec![faint("  age   ")];
    match &overview.ages {
        None => spans.push(faint("not known yet")),
        Some(ages) => {
            for age in ages {
                let name = age
                    .up_to_seconds
                    .map_or_else(|| "older".to_owned(), |most| format!("to {}", short(most)));
                spans
                    .extend([faint(format!("{name} ")), Span::raw(format!("{}  ", compact(age.recipients)))]);
            }
            let as_of = of.as_of.as_deref().map_or_else(String::new, |at| format!("at {}Z", clock(at)));
            spans.push(faint(as_of));
        }
    }
    line(second, buffer, spans);
}

fn short(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What was accepted and delivered of late, on one scale that begins at zero.
fn past(state: &State, area: Rect, buffer: &mut Buffer) {
    let most = state.accepted.iter().chain(&state.delivered).copied().max().unwrap_or(0).max(1);
    let half = area.width / 2;
    for (at, (name, values)) in
        [("accepted", &state.accepted), ("delivered", &state.delivered)].into_iter().enumerate()
    {
        let part = Rect { x: area.x + half * at as u16, width: half.saturating_sub(2), ..area };
        let title = Rect { height: 1, ..part };
        line(
            title,
            buffer,
            vec![faint(format!("  {name}, 0 to {}/s, the last {} s", grouped(most), values.len()))],
        );
        let room = usize::from(part.width.saturating_sub(2));
        let shown: Vec<u64> = values.iter().copied().skip(values.len().saturating_sub(room)).collect();
        let chart =
            Rect { x: part.x + 2, y: part.y + 1, width: room as u16, height: area.height.saturating_sub(2) };
        Sparkline::default().data(&shown).max(most).style(Style::new().fg(ACCENT)).render(chart, buffer);
    }
}

fn tabs(state: &State, area: Rect, buffer: &mut Buffer) {
    let mut spans = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let name = format!(" {} {} ", at + 1, view.name());
        spans.push(match (view == state.view, state.once) {
            (true, true) => Span::raw(format!(" {} ", view.name())),
            (false, true) => Span::raw(String::new()),
            (true, false) => Span::styled(
                name,
                Style::new().fg(ACCENT).add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            ),
            (false, false) => faint(name),
        });
    }
    if let Some(provider) = &state.provider {
        spans.push(Span::raw(format!(" of {}", plain(provider.as_bytes()))));
    }
    if !state.filter.is_empty() {
        spans.push(Span::raw(format!(" with \"{}\"", plain(state.filter.as_bytes()))));
    }
    line(area, buffer, spans);
}

fn list(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let shown: Vec<(usize, Column)> = columns(state.view)
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, column)| area.width >= limits::TOP_WIDE || !column.spare)
        .collect();
    let fixed: usize = shown.iter().map(|(_, column)| column.width + 1).sum();
    let rest = usize::from(area.width).saturating_sub(fixed + 1);
    let text = |cell: &dyn Fn(usize, &Column) -> String| {
        let mut text = String::from(" ");
        for (at, column) in &shown {
            let width = if column.width == 0 { rest } else { column.width };
            let cell = fit(&cell(*at, column), width);
            let gap = " ".repeat(width.saturating_sub(wide(&cell)));
            text += &if column.right { format!("{gap}{cell} ") } else { format!("{cell}{gap} ") };
        }
        text
    };
    let header = text(&|_: usize, column: &Column| column.title.to_owned());
    line(
        Rect { height: 1, ..area },
        buffer,
        vec![Span::styled(header, Style::new().add_modifier(Modifier::BOLD))],
    );
    let rows = state.rows();
    let room = usize::from(area.height - 1);
    // The selection stays in sight.
    let from = (state.selected + 1).saturating_sub(room);
    for (at, row) in rows.iter().enumerate().skip(from).take(room) {
        let place = Rect { y: area.y + 1 + (at - from) as u16, height: 1, ..area };
        let words = text(&|at: usize, _: &Column| row.cells.get(at).cloned().unwrap_or_default());
        let selected = at == state.selected && !state.once;
        let style = if selected { tone(row.tone).add_modifier(Modifier::REVERSED) } else { tone(row.tone) };
        let words =
            if selected { format!("{words:<width$}", width = usize::from(area.width)) } else { words };
        line(place, buffer, vec![Span::styled(words, style)]);
    }
    if rows.is_empty() {
        let place = Rect { y: area.y + 1, height: 1, ..area };
        let unknown = state.tenants.1.as_deref().filter(|_| state.view == View::Tenants);
        let unknown = unknown.map(|why| plain(why.as_bytes()));
        let words = match &unknown {
            Some(why) => why.as_str(),
            None if state.filter.is_empty() => state.view.empty(),
            None => "no row has this in it: Esc shows all",
        };
        line(place, buffer, vec![faint(format!(" {words}"))]);
    } else if state.view == View::Sites && state.more_sites && rows.len() < from + room {
        let place = Rect { y: area.y + 1 + (rows.len() - from) as u16, height: 1, ..area };
        line(place, buffer, vec![faint(" and more: choose a provider, these are the first by name")]);
    }
}

fn prompt(state: &State, area: Rect, buffer: &mut Buffer) {
    let cursor = Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED));
    let typed = Span::raw(plain(state.typed.as_bytes()));
    let ask = |words: String| vec![strong(words), typed.clone(), cursor.clone()];
    let mut spans = match &state.prompt {
        Prompt::Filter => ask(" only rows with: ".to_owned()),
        Prompt::HowLong(filter) => ask(format!(" suspend {} for: ", plain(words(filter).as_bytes()))),
        Prompt::Why(filter, seconds) => {
            ask(format!(" suspend {} for {}, why: ", plain(words(filter).as_bytes()), span(*seconds)))
        }
        Prompt::Resume(words, _) => vec![strong(format!(" let {words} go on? y, n"))],
        _ => match &state.said {
            Some(said) => vec![Span::styled(format!(" {}", plain(said.as_bytes())), Style::new().fg(ACCENT))],
            None => vec![faint(" ? help   / filter   Enter more   s suspend   r resume   q end")],
        },
    };
    if let (Some(said), false) = (&state.said, state.prompt == Prompt::None) {
        spans.push(Span::styled(format!("  {}", plain(said.as_bytes())), tone(Tone::Warning)));
    }
    line(area, buffer, spans);
}

fn popup(state: &State, area: Rect, buffer: &mut Buffer) {
    let (title, lines): (_, Vec<Line<'_>>) = match &state.prompt {
        Prompt::Help => {
            let key = |(key, what): &(&'static str, &'static str)| {
                Line::from(vec![strong(format!("{key:<10}")), Span::raw(*what)])
            };
            (" keys ", KEYS.iter().map(key).collect())
        }
        Prompt::More(lines) => (" more ", lines.iter().map(|line| Line::from(line.as_str())).collect()),
        _ => return,
    };
    let width = area.width.saturating_sub(4).min(limits::TOP_POPUP);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let rows: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let height = area.height.min(rows as u16 + 2);
    let x = area.x + (area.width - width) / 2;
    let place = Rect { x, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(title).border_style(Style::new().fg(ACCENT));
    let padded = block.padding(ratatui::widgets::Padding::horizontal(1));
    Paragraph::new(lines).wrap(Wrap { trim: false }).block(padded).render(place, buffer);
}

/// The same as lines of text, without what is empty at their ends.
pub fn text(state: &State, area: Rect) -> String {
    let mut buffer = Buffer::empty(area);
    draw(state, area, &mut buffer);
    let mut text = String::new();
    for row in 0..area.height {
        let mut line = String::new();
        let mut passed = 0;
        for column in 0..area.width {
            let cell = buffer[(column, row)].symbol();
            // Behind a wide letter stands a cell that is not its own.
            if passed == 0 {
                line += cell;
                passed = wide(cell).saturating_sub(1);
            } else {
                passed -= 1;
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// Rows that a screen needs to show all of a state.
pub fn rows_needed(state: &State) -> u16 {
    let rows = state.rows().len().max(1) + state.overview.warnings.len() + 7;
    u16::try_from(rows).unwrap_or(u16::MAX).min(limits::TOP_LINES)
}

/// For tests of what rows look like.
#[cfg(test)]
mod tests;
