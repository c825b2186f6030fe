//! What a service that judges messages answers.

use relevo::policy::hook::{HookAction, HookAnswer};

/// An answer that is read is one reply of its class, parameters within their bounds and whole header fields; what is wrong is one line.
pub fn hook(data: &[u8]) {
    let HookAnswer { action, set } = match HookAnswer::parse(data) {
        Ok(answer) => answer,
        Err(words) => return assert!(!words.is_empty() && !words.contains(['\r', '\n']), "{words:?}"),
    };
    match &action {
        HookAction::Reject(reply) => assert_reply(reply, '5'),
        HookAction::Defer(reply) => assert_reply(reply, '4'),
        HookAction::Accept | HookAction::Discard => {}
    }
    for (key, value) in &set.parameters {
        assert_eq!(relevo::mail::parameters::check(*key, value), Ok(()));
    }
    let mut rest = &set.add[..];
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let line = &rest[..end];
        assert!(
            !line.contains(&b'\n') && !line.contains(&b'\r') && !line.contains(&0),
            "{}",
            line.escape_ascii()
        );
        let colon = line.iter().position(|byte| *byte == b':').expect("a name");
        assert!(colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic), "{}", line.escape_ascii());
        rest = &rest[end + 2..];
    }
    assert!(rest.is_empty());
}

fn assert_reply(reply: &str, class: char) {
    let line = reply.strip_suffix("\r\n").expect("it ends its line");
    assert!(line.starts_with(class) && !line.contains(['\r', '\n']), "{reply:?}");
    assert!(line.len() <= 510 && line.bytes().take(3).all(|byte| byte.is_ascii_digit()), "{reply:?}");
}
