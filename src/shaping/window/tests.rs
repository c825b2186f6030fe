use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: f64) -> Instant {
    // Not at the beginning of time.
    Instant(1000 * SECOND + (seconds * SECOND as f64) as u64)
}

fn taking(begun: Instant) -> WindowEvents {
    WindowEvents { taken: Some(begun), wanted: true }
}

#[test]
fn a_site_that_refuses_nothing_has_no_window() {
    let mut window = Window::default();
    for look in 0..1000 {
        let now = at(f64::from(look));
        assert!(
            !window.connections.look(taking(now), 20, now) && !window.messages.look(taking(now), 50.0, now)
        );
        window.connections.came_up(look as usize);
    }
    assert_eq!((window.connections.most(), window.messages.rate()), (None, None));
    assert!(!window.is_narrow());
}

#[test]
fn refusals_of_one_round_narrow_once() {
    let mut window = Window::default();
    assert!(window.messages.refused(at(0.0), at(1.0)));
    let rate = window.messages.rate();
    // What was under way then says nothing new, be it heard of by whichever shard.
    assert!((0..50).all(|nth| !window.messages.refused(at(f64::from(nth) / 50.0), at(1.2))));
    assert_eq!(window.messages.rate(), rate);
    assert!(window.messages.refused(at(1.1), at(1.3)) && window.messages.rate() < rate);
    let connections = &mut window.connections;
    assert!(connections.refused(at(0.0), 10, at(1.0)) && !connections.refused(at(0.9), 4, at(1.1)));
    assert_eq!(connections.most(), Some(10));
    assert!(connections.refused(at(1.1), 4, at(1.2)));
    assert_eq!(connections.most(), Some(4));
}

#[test]
fn connections_are_those_that_stand_and_one_is_always_let() {
    let mut window = Connections::default();
    window.refused(at(0.0), 7, at(0.1));
    assert_eq!(window.most(), Some(7));
    // Some were on their way, and are taken.
    (1..=10).for_each(|standing| window.came_up(standing));
    assert_eq!(window.most(), Some(10));
    for second in 1..100 {
        window.refused(at(f64::from(second)), 0, at(f64::from(second) + 0.1));
        assert_eq!(window.most(), Some(limits::WINDOW_CONNECTIONS_MIN));
    }
    // It takes mail again: within a few rounds it has what it took before.
    let mut most = Vec::new();
    for look in 0..5 {
        let now = at(200.0 + f64::from(look));
        window.look(taking(now), 20, now);
        most.push(window.most().unwrap());
    }
    assert_eq!(most, [2, 4, 8, 10, 11]);
}

/// A host that takes so many connections, over so long: how many were open on average, and how many were refused.
fn connect(takes: impl Fn(f64) -> usize, ceiling: usize, seconds: usize) -> (f64, usize, Connections) {
    let (mut window, mut standing, mut refused, mut sum) = (Connections::default(), 0, 0, 0);
    for tick in 0..seconds * 4 {
        let now = at(tick as f64 / 4.0);
        let takes = takes(tick as f64 / 4.0);
        standing = standing.min(takes);
        let begun = now + Duration::from_millis(1);
        for _ in 0..4 {
            if standing < window.most().unwrap_or(ceiling).min(ceiling) {
                if standing < takes {
                    standing += 1;
                    window.came_up(standing);
                } else {
                    refused += 1;
                    window.refused(begun, standing, begun);
                }
            }
        }
        window.look(taking(begun), ceiling, begun);
        sum += standing;
    }
    (sum as f64 / (seconds * 4) as f64, refused, window)
}

#[test]
fn a_limit_of_connections_is_found_kept_and_left_when_it_is_raised() {
    let (open, refused, window) = connect(|_| 10, 20, 3600);
    assert!(open > 9.9 && refused < 20, "{open} {refused}");
    assert_eq!(window.most(), Some(10));
    let (open, refused, window) = connect(|second| if second < 60.0 { 3 } else { 30 }, 20, 600);
    assert!(open > 17.0 && refused < 10, "{open} {refused}");
    assert_eq!(window.most(), None, "the operator's limit is the ceiling");
    let (open, refused, _) = connect(|second| if second < 60.0 { 15 } else { 2 }, 20, 600);
    assert!(open < 4.0 && refused < 20, "{open} {refused}");
}

/// A receiver that takes so many a second and a second's worth at once, asked as often as the window lets, each answer a hundredth of
/// a second later: the share of what it would have taken that it was given, and how many it refused, beside
/// those that were under way before it was known.
fn send(limit: impl Fn(f64) -> f64, ceiling: f64, seconds: u32) -> (f64, f64, Messages) {
    const STEP: f64 = 0.005;
    let (mut window, mut credit, mut due) = (Messages::default(), limit(0.0), 0.0);
    let (mut taken, mut refused, mut would) = (0.0, 0.0, 0.0);
    let mut answers = std::collections::VecDeque::new();
    let (mut heard, mut looked) = (WindowEvents::default(), 0.0);
    for step in 0..(f64::from(seconds) / STEP) as u64 {
        let time = step as f64 * STEP;
        let now = at(time);
        credit = (credit + limit(time) * STEP).min(limit(time).max(1.0));
        would += limit(time) * STEP;
        let rate = window.rate().unwrap_or(ceiling).min(ceiling);
        due = (due + rate * STEP).min(1.5 + rate * STEP);
        // As many connections.
        while due >= 1.0 && answers.len() < 20 {
            due -= 1.0;
            let takes = credit >= 1.0;
            credit -= f64::from(u8::from(takes));
            answers.push_back((time + 0.01, now, takes));
        }
        while answers.front().is_some_and(|(at, ..)| *at <= time) {
            let Some((_, begun, takes)) = answers.pop_front() else { break };
            if takes {
                taken += 1.0;
                heard.taken = heard.taken.max(Some(begun));
            } else {
                refused += 1.0;
                due = if window.refused(begun, now) { 0.0 } else { due };
            }
        }
        if time - looked >= limits::WINDOW_LOOK.as_secs_f64() {
            looked = time;
            heard.wanted = true;
            window.look(std::mem::take(&mut heard), ceiling, now);
        }
    }
    (taken / would, (refused - 20.0) / taken, window)
}

#[test]
fn a_rate_is_found_used_and_seldom_exceeded() {
    for (limit, seconds, most) in
        [(1.0, 900, 0.02), (5.0, 300, 0.02), (20.0, 300, 0.02), (100.0, 120, 0.02), (400.0, 120, 0.02)]
    {
        let (used, refused, _) = send(|_| limit, 5000.0, seconds);
        assert!(used > 0.9, "{limit}/s: {used:.3} used");
        assert!(refused < most, "{limit}/s: {refused:.4} refused");
    }
}

#[test]
fn a_rate_that_changes_is_followed() {
    let (used, refused, _) = send(|second| if second < 100.0 { 20.0 } else { 100.0 }, 500.0, 300);
    assert!(used > 0.8 && refused < 0.02, "{used} {refused}");
    let (used, refused, _) = send(|second| if second < 100.0 { 100.0 } else { 20.0 }, 500.0, 300);
    assert!(used > 0.9 && refused < 0.03, "{used} {refused}");
    // One that takes nothing for a while is asked ever more seldom.
    let (_, refused, window) = send(|second| if second < 100.0 { 50.0 } else { 0.0 }, 500.0, 1000);
    assert!(refused * 5000.0 < 40.0, "{refused}");
    assert_eq!(window.rate(), Some(limits::WINDOW_RATE_MIN));
}

#[test]
fn the_operators_rate_is_the_ceiling() {
    let (_, _, window) = send(|second| if second < 30.0 { 20.0 } else { 1000.0 }, 50.0, 300);
    assert_eq!(window.rate(), None);
}

#[test]
fn what_is_not_used_is_not_widened() {
    let mut window = Window::default();
    window.messages.refused(at(0.0), at(0.1));
    window.connections.refused(at(0.0), 5, at(0.1));
    let before = window.clone();
    for second in 1..1000 {
        let now = at(f64::from(second));
        for heard in
            [WindowEvents { taken: Some(now), wanted: false }, WindowEvents { taken: None, wanted: true }]
        {
            assert!(!window.messages.look(heard, 1000.0, now) && !window.connections.look(heard, 20, now));
        }
    }
    assert_eq!(
        (window.messages.rate(), window.connections.most()),
        (before.messages.rate(), before.connections.most())
    );
}

#[test]
fn what_is_kept_goes_on_where_it_was() {
    let mut window = Window::default();
    assert_eq!(window.kept(), None);
    window.connections.refused(at(0.0), 7, at(0.1));
    window.messages = send(|_| 20.0, 500.0, 60).2;
    let kept = window.kept().expect("it is narrow");
    let found = Window::of_kept(&kept, at(5.0)).expect("its own");
    assert_eq!((found.connections.most(), found.messages.rate()), (Some(7), window.messages.rate()));
    assert_eq!((found.kept().as_ref(), found.narrowed()), (Some(&kept), at(5.0)));
    for cut in 0..kept.len() {
        assert_eq!(Window::of_kept(&kept[..cut], at(5.0)), None);
    }
    let other = |place: usize, byte: u8| {
        let mut bytes = kept.clone();
        bytes[place] = byte;
        Window::of_kept(&bytes, at(5.0))
    };
    assert_eq!((other(0, 2), other(kept.len() - 1, 0xff)), (None, None), "another form, and no number");
    assert_eq!(Window::of_kept(&[&kept[..], b"x"].concat(), at(5.0)), None);
}
