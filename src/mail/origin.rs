//! What a message was called first: the id of the node that accepted it, as its events have it, a slash, and the message's id there. It keeps that through all
//! nodes that it is handed on to.

use crate::id::MessageId;

/// The text of one.
pub fn write(node: u64, id: MessageId) -> String {
    format!("{node:016x}/{id}")
}

/// Whether a text is one.
pub fn is_one(text: &str) -> bool {
    let Some((node, id)) = text.split_once('/') else { return false };
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    node.len() == 16
        && node.bytes().all(hex)
        && id.parse::<MessageId>().is_ok_and(|read| read.to_text() == *id.as_bytes())
}

/// Whether `origin` is what somebody asks for: all of it, or its id alone, in either case. Ids are a node's own, so that an id alone may mean several.
pub fn is_asked(origin: &str, asked: &str) -> bool {
    let id = origin.split_once('/').map_or(origin, |(_, id)| id);
    origin.eq_ignore_ascii_case(asked) || id.eq_ignore_ascii_case(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_a_node_and_an_id() {
        let id = MessageId { lane: 3, sequence: 16, offset: 4096 };
        let origin = write(0xabc, id);
        assert!(is_one(&origin) && origin.starts_with("0000000000000abc/"), "{origin}");
        assert!(is_asked(&origin, &origin) && is_asked(&origin, &origin.to_uppercase()));
        assert!(is_asked(&origin, &id.to_string()) && is_asked(&origin, &id.to_string().to_lowercase()));
        assert!(!is_asked(&origin, "0000000000000abc") && !is_asked(&origin, &origin[1..]));
        for text in [
            "",
            "/",
            "0000000000000abc",
            &format!("/{id}"),
            "0000000000000abc/",
            "0000000000000abc/00000000G000010",
            "0000000000000abc/00000000g0000102",
            &format!("0000000000000ABC/{id}"),
            &format!("000000000000abc/{id}"),
            &format!("00000000000000abc/{id}"),
            &format!("0000000000000abg/{id}"),
            &format!("0000000000000abc//{id}"),
            &format!("{origin} "),
        ] {
            assert!(!is_one(text), "{text:?}");
        }
    }
}
