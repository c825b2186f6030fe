//! What stands for bytes in a transcript.

pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => bytes.push(match characters.next()? {
                'r' => b'\r',
                'n' => b'\n',
                '0' => 0,
                '\\' => b'\\',
                'x' => u8::from_str_radix(characters.as_str().get(..2)?, 16).ok().inspect(|_| {
                    characters.nth(1);
                })?,
                _ => return None,
            }),
            '{' => {
                let (inner, rest) = characters.as_str().split_once('}')?;
                let (repeated, count) = inner.rsplit_once('*')?;
                bytes.extend(unescape(repeated)?.repeat(count.parse().ok()?));
                characters = rest.chars();
            }
            _ => bytes.extend(character.to_string().bytes()),
        }
    }
    Some(bytes)
}
