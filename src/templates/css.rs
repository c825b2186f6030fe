//! Style sheets, as far as their rules can be put into elements: what asks for a state (`:hover`) or a screen (`@media`) stays in the sheet alone.

use crate::limits;

/// How important a declaration is: what is larger wins (CSS 2.1 section 6.4.3).
pub(super) type Specificity = (usize, usize, usize);

/// A rule for one selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// What it is for: the last of these elements, within the others.
    pub steps: Vec<Step>,
    /// Its declarations, by their place in the sheet: rules with several selectors share them.
    pub declarations: usize,
}

/// An element that a selector names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Right within the one before; else somewhere in it.
    pub is_child: bool,
    pub element: Option<String>,
    pub id: Option<String>,
    pub classes: Vec<String>,
    /// Attributes it has, each with its value where that is asked for.
    pub attributes: Vec<(String, Option<String>)>,
}

/// `color: red !important`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    pub text: String,
    pub is_important: bool,
}

/// The rules of a sheet that can be put into elements, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub rules: Vec<Rule>,
    pub declarations: Vec<Vec<Declaration>>,
}

impl Rule {
    pub(super) fn specificity(&self) -> Specificity {
        self.steps.iter().fold((0, 0, 0), |(ids, classes, elements), step| {
            (
                ids + usize::from(step.id.is_some()),
                classes + step.classes.len() + step.attributes.len(),
                elements + usize::from(step.element.is_some()),
            )
        })
    }
}

impl Rules {
    /// Adds those of a sheet. None: there are too many.
    pub(super) fn read(&mut self, sheet: &str) -> Option<()> {
        let sheet = without_comments(sheet);
        let mut rest = sheet.trim_start();
        while let Some(at) = rest.find(['{', ';', '}']) {
            let (head, ends) = (rest[..at].trim(), rest.as_bytes()[at]);
            let after = &rest[at + 1..];
            if ends != b'{' {
                rest = after;
            } else if head.starts_with('@') {
                rest = &after[block(after)..];
            } else {
                let end = after.find('}').unwrap_or(after.len());
                self.rule(head, &after[..end])?;
                rest = after.get(end + 1..).unwrap_or_default();
            }
        }
        Some(())
    }

    fn rule(&mut self, selectors: &str, body: &str) -> Option<()> {
        let declarations: Vec<Declaration> = split(body, ';').filter_map(declaration).collect();
        if declarations.is_empty() {
            return Some(());
        }
        for selector in selectors.split(',') {
            let Some(steps) = steps(selector.trim()) else { continue };
            if self.rules.len() >= limits::INLINE_RULES_MAX {
                return None;
            }
            self.rules.push(Rule { steps, declarations: self.declarations.len() });
        }
        self.declarations.push(declarations);
        Some(())
    }
}

fn without_comments(sheet: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(sheet.len()), sheet);
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, behind)| behind);
    }
    out + rest
}

/// How long a block is, with what closes it; those in it are part of it.
fn block(text: &str) -> usize {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 1 => return at + 1,
            b'}' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

/// What stands between these, but not in quotes or brackets.
fn split(text: &str, between: char) -> impl Iterator<Item = &str> {
    let (mut quote, mut depth) = (None, 0_usize);
    text.split(move |letter: char| {
        match (letter, quote) {
            (letter, Some(open)) => quote = Some(open).filter(|open| *open != letter),
            ('"' | '\'', None) => quote = Some(letter),
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == between && quote.is_none() && depth == 0
    })
}

fn declaration(text: &str) -> Option<Declaration> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let important = value.rsplit_once('!').filter(|(_, word)| word.trim().eq_ignore_ascii_case("important"));
    let (value, is_important) = important.map_or((value, false), |(value, _)| (value.trim(), true));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_sound = !name.is_empty()
        && name.bytes().all(is_name)
        && !value.is_empty()
        && !value.contains(['<', '>', '{', '}']);
    is_sound.then(|| Declaration { text: format!("{name}: {value}"), is_important })
}

/// The elements that a selector names. None: it asks for more than that.
fn steps(selector: &str) -> Option<Vec<Step>> {
    let spaced = selector.replace('>', " > ");
    let (mut steps, mut is_child) = (Vec::new(), false);
    for word in spaced.split_whitespace() {
        if word == ">" {
            is_child = true;
            continue;
        }
        steps.push(Step { is_child: std::mem::take(&mut is_child), ..step(word)? });
    }
    let is_sound = !is_child && !steps.is_empty() && steps.len() <= limits::INLINE_SELECTOR_MAX;
    is_sound.then_some(steps)
}

/// `table.card#main[role=presentation]`
fn step(word: &str) -> Option<Step> {
    let mut step = Step::default();
    let first = word.find(['.', '#', '[']).unwrap_or(word.len());
    let (element, mut rest) = word.split_at(first);
    step.element = Some(element).filter(|name| !name.is_empty() && *name != "*").map(str::to_ascii_lowercase);
    if step.element.as_deref().is_some_and(|name| !is_name(name)) {
        return None;
    }
    while let Some(kind) = rest.chars().next() {
        let body = &rest[1..];
        if kind == '[' {
            let (inside, after) = body.split_once(']')?;
            let (name, value) =
                inside.split_once('=').map_or((inside, None), |(name, value)| (name, Some(value)));
            let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
            // `~=` and the like are more than that.
            step.attributes.push((Some(name).filter(|name| is_name(name))?.to_ascii_lowercase(), value));
            rest = after;
            continue;
        }
        let end = body.find(['.', '#', '[']).unwrap_or(body.len());
        let name = Some(&body[..end]).filter(|name| is_name(name))?.to_owned();
        match kind {
            '.' => step.classes.push(name),
            '#' => step.id = Some(name),
            _ => return None,
        }
        rest = &body[end..];
    }
    Some(step)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sheet: &str) -> Vec<String> {
        let mut rules = Rules::default();
        rules.read(sheet).expect("not too many");
        let told = |rule: &Rule| {
            let texts = rules.declarations[rule.declarations].iter();
            let texts: Vec<_> =
                texts.map(|of| format!("{}{}", of.text, if of.is_important { " !" } else { "" })).collect();
            format!("{:?} {}", rule.specificity(), texts.join("; "))
        };
        rules.rules.iter().map(told).collect()
    }

    #[test]
    fn rules_are_read_as_far_as_elements_can_have_them() {
        let sheet = "/* a{} */ @import url(x.css); @media (max-width: 600px) { p { color: red } .a{} } \
                     p, a:hover, td.big#x { color: Red; font: 12px 'A;B' !important ; bad; }\
                     table > tr td[align=left] .b { background: url(data:a;b) } h1{} p::first-line{color:red} .c + .d {color: blue}";
        let wanted = [
            "(0, 0, 1) color: Red; font: 12px 'A;B' !",
            "(1, 1, 1) color: Red; font: 12px 'A;B' !",
            "(0, 2, 3) background: url(data:a;b)",
        ];
        assert_eq!(read(sheet), wanted);
    }

    #[test]
    fn what_is_broken_ends() {
        for sheet in [
            "",
            "{",
            "}",
            "@media {",
            "@media",
            "a{color:red",
            "a{",
            "/*",
            "a{color:'",
            ";;;",
            "a{color:</style>}",
        ] {
            assert!(read(sheet).len() <= 1, "{sheet}");
        }
        assert!(Rules::default().read(&"a{b:c}".repeat(limits::INLINE_RULES_MAX + 1)).is_none());
    }
}
