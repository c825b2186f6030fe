//! Whether a field that came with a message passes for one of ours: to whom it says it belongs (`authserv-id`, RFC 8601 2.2).

/// Whether the value of such a field claims to be of this host; also where that cannot be told, as readers may tell it in another way.
pub fn claims(value: &[u8], hostname: &str) -> bool {
    named(value).is_none_or(|id| is_same(&id, hostname))
}

/// Whom it names. None: nobody, or that is in doubt.
fn named(value: &[u8]) -> Option<Vec<u8>> {
    let mut at = skip(value, 0)?;
    let id = match value.get(at)? {
        b'"' => {
            let (id, end) = quoted(value, at + 1)?;
            at = end;
            id
        }
        _ => {
            let is_end =
                |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'(' | b'"' | b'/' | b'=');
            let end = value[at..].iter().position(is_end).map_or(value.len(), |length| at + length);
            let id = value[at..end].to_vec();
            at = end;
            id
        }
    };
    if id.is_empty() {
        return None;
    }
    // Behind it stands a version, in older fields behind a slash, and then the end or the first result.
    at = skip(value, at)?;
    if value.get(at) == Some(&b'/') {
        at = skip(value, at + 1)?;
    }
    while value.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at = skip(value, at)?;
    matches!(value.get(at), None | Some(b';')).then_some(id)
}

/// Behind blanks, line ends and comments. None: a comment does not end.
fn skip(value: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match value.get(at) {
            Some(b'(') => depth += 1,
            Some(b')') if depth > 0 => depth -= 1,
            Some(b'\\') if depth > 0 => at += 1,
            Some(byte) if depth > 0 || byte.is_ascii_whitespace() => {}
            None if depth > 0 => return None,
            _ => return Some(at),
        }
        at += 1;
    }
}

/// The text of a quoted string that begins there, and where it ends. None: it does not.
fn quoted(value: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    loop {
        match value.get(at)? {
            b'"' => return Some((text, at + 1)),
            b'\\' => {
                at += 1;
                text.push(*value.get(at)?);
            }
            b'\r' | b'\n' => {}
            byte => text.push(*byte),
        }
        at += 1;
    }
}

/// Whether it is our name, in any case, with the dot of the root, or as it is shown to people (RFC 5890).
fn is_same(id: &[u8], hostname: &str) -> bool {
    // What is no text is nobody's name, and may be read as anybody's.
    let Ok(id) = std::str::from_utf8(id) else { return true };
    let plain = |name: &str| name.trim().trim_end_matches('.').to_owned();
    let (id, ours) = (plain(id), plain(hostname));
    if id.is_ascii() {
        return id.eq_ignore_ascii_case(&ours);
    }
    idna::domain_to_ascii(&id).map_or(true, |id| plain(&id).eq_ignore_ascii_case(&ours))
}
