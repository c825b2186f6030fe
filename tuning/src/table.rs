//! Tables on the terminal.

/// Characters of a line, at most: terminals and pages are so wide.
const WIDTH: usize = 100;
/// A column is made no narrower than its longest word, up to this.
const WORD_MAX: usize = 36;

/// Rows with their columns below each other; the first line is the head. Where that is too wide, words of the widest columns go on in the
/// next line.
pub fn columns(rows: &[Vec<String>]) -> String {
    aligned(rows).concat()
}

/// The same, row by row, each with its line ends.
pub fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let mut widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
    let mut over = (widths.iter().sum::<usize>() + 2 * count.saturating_sub(1)).saturating_sub(WIDTH);
    let word = |cell: &String| cell.split(' ').map(|word| word.chars().count()).max();
    let longest = |at: usize| rows.iter().filter_map(|row| row.get(at)).filter_map(word).max().unwrap_or(0);
    let floors: Vec<usize> = (0..count).map(|at| longest(at).min(WORD_MAX)).collect();
    while over > 0 {
        let above = widths.iter_mut().zip(&floors).filter(|(width, floor)| **width > **floor);
        let Some((widest, _)) = above.max_by_key(|(width, _)| **width) else { break };
        *widest -= 1;
        over -= 1;
    }
    let one = |row: &Vec<String>| {
        let mut out = String::new();
        let cells: Vec<Vec<String>> =
            row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let part = cell.get(at).map_or("", String::as_str);
                line += &format!("{part:<width$}  ");
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    };
    rows.iter().map(one).collect()
}

/// A text in lines of so many characters, broken between words; a longer word stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A number with three digits that mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_below_each_other() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(columns(&rows), "a     b\nlong  c\n");
        let rows = [
            vec!["a".to_owned(), "word ".repeat(30).trim().to_owned(), "c".repeat(20)],
            vec!["b".to_owned()],
        ];
        let text = columns(&rows);
        assert!(text.lines().all(|line| line.len() <= WIDTH) && text.lines().count() == 3, "{text}");
        assert_eq!(text.matches("word").count(), 30);
        assert!(columns(&[vec!["x".repeat(120)], vec!["y".to_owned()]]).contains(&"x".repeat(120)));
        assert_eq!(
            [number(1234.5), number(12.34), number(0.123), number(f64::NAN)],
            ["1234", "12.3", "0.12", "-"]
        );
    }
}
