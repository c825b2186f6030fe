//! Which known word was meant.

/// The word that is most like another one, if one is at all: at most so many letters to change, or the same parts in another order.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>, most: usize) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let parts = |word: &str| {
        let mut parts: Vec<String> = word.split('_').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let mine = parts(&word);
    let far = |known: &&str| if parts(known) == mine { 0 } else { distance(&word, known) };
    let best = known.map(|known| (far(&known), known)).min_by_key(|(far, _)| *far)?;
    (best.0 <= most && best.0 * 2 < word.chars().count().max(2)).then_some(best.1)
}

/// Letters to change to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], place + 1);
        for (at, candidate) in other.iter().enumerate() {
            let change = corner + usize::from(letter != *candidate);
            corner = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}
