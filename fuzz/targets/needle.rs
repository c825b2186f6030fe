//! An address that is to be erased, and bytes of a log that may have it.

use relevo::control::erase::needle::Needle;

use super::input::Input;

/// What is masked has its length, differs only where the address stood, and has it no more; an address that stands alone is found, in any letters.
pub fn needle(data: &[u8]) {
    let mut input = Input(data);
    let address = input.text(80);
    let text = input.0;
    let Some(needle) = Needle::new(&address) else { return };
    let found = needle.find(text);
    let mut masked = text.to_vec();
    let times = needle.mask(&mut masked);
    assert_eq!((times, masked.len()), (found.len() as u64, text.len()));
    for (at, (new, old)) in masked.iter().zip(text).enumerate() {
        let stood = found.iter().any(|place| place.contains(&at));
        assert!(new == old || stood && *new == b'x', "at {at}");
    }
    // All x is the one address that looks as before.
    let is_of_x = |byte: &u8| b"xX@=\\\".".contains(byte);
    if !address.bytes().all(|byte| is_of_x(&byte)) {
        assert!(needle.find(&masked).is_empty(), "{address:?} is still in {}", masked.escape_ascii());
    }
    let upper = address.to_ascii_uppercase();
    for line in [format!("<{address}>"), format!(" {upper},"), address.clone()] {
        assert!(!needle.find(line.as_bytes()).is_empty(), "{line:?}");
    }
    let json = format!("[\"{}\"]", address.replace('\\', "\\\\").replace('"', "\\\""));
    assert!(!needle.find(json.as_bytes()).is_empty(), "{json}");
}
