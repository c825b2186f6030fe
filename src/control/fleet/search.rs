//! A question to all nodes whose answers come in pages: a few nodes at one time, each with a cursor of its own; the cursor of the whole says where each of
//! them is, and which one was begun last. Nodes whose answer is missing are named.

use std::collections::BTreeMap;
use std::future::Future;

use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::peer::{Place, Unreached};
use super::{ANSWERS, Fleet, View};
use crate::control::api::shape::cluster::MissingNode;
use crate::limits;

/// A page of what a node answers.
pub(in crate::control) trait Part: DeserializeOwned + Send + 'static {
    /// Where it goes on; None: that was all.
    fn next(&self) -> Option<&str>;
}

/// What is asked.
pub(in crate::control) struct Question<'a> {
    /// Where.
    pub path: &'a str,
    /// What stands behind its `?`, without cursor and limit.
    pub query: String,
    /// Where the whole is.
    pub cursor: Option<&'a str>,
    /// Rows of the whole page; None: it has none.
    pub limit: Option<usize>,
}

/// What was answered.
pub(in crate::control) struct Round<T> {
    /// By whom, and what.
    pub answers: Vec<(Asked, T)>,
    pub missing: Vec<MissingNode>,
    /// Where the whole goes on; None: that was all.
    pub next: Option<String>,
}

/// A node that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Asked {
    pub node: String,
    /// None: this one.
    pub url: Option<String>,
}

/// Where a question to all nodes is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Position {
    /// The node that was begun last; they are begun in the order of their numbers.
    begun: String,
    /// Those that go on, and where.
    open: Vec<(String, String)>,
}

/// Whom a number means.
struct Target {
    asked: Asked,
    /// None: this node.
    place: Option<Place>,
}

/// Asks some nodes for a page each; `own` is what this one answers, with its cursor and its rows: None where it has nothing of that. An error of its
/// own ends the question. `None`: that is no cursor.
pub(in crate::control) async fn round<T, E, F>(
    fleet: &Fleet,
    question: Question<'_>,
    own: impl FnOnce(Option<String>, Option<usize>) -> F,
) -> Option<Result<Round<T>, E>>
where
    T: Part,
    F: Future<Output = Result<Option<T>, E>>,
{
    let mut position = Position::read(question.cursor.unwrap_or_default())?;
    let view = fleet.view().await;
    let mut targets = targets(fleet, &view);
    let mut missing = silent(&view);
    let more = position.begin(targets.keys());
    let share = question.limit.map(|limit| (limit / position.open.len().max(1)).max(1));
    let (mut asked, mut of_own) = (JoinSet::new(), None);
    for (id, cursor) in std::mem::take(&mut position.open) {
        let Some(Target { asked: who, place }) = targets.remove(&id) else {
            let words = "it answered before, and is no node that answers any more".to_owned();
            let is_told = missing.iter().any(|one| one.node == id);
            missing.extend((!is_told).then_some(MissingNode { node: id, url: None, words }));
            continue;
        };
        let Some(place) = place else {
            of_own = Some((id, who, (!cursor.is_empty()).then_some(cursor)));
            continue;
        };
        let (wire, path) = (fleet.wire.clone(), question.of(&cursor, share));
        let searching = fleet.searching.clone();
        asked.spawn(async move {
            let text = async {
                let _turn = searching.acquire_owned().await;
                wire.get(&place, &path, (limits::FLEET_PAGE_MAX, limits::FLEET_SEARCH)).await
            };
            let text = tokio::time::timeout(limits::FLEET_SEARCH, text).await;
            let text = text.unwrap_or(Err(Unreached::Slow(limits::FLEET_SEARCH)));
            (id, who, text.and_then(|text| read::<T>(&text)))
        });
    }
    let mut all = BTreeMap::new();
    if let Some((id, who, cursor)) = of_own {
        match own(cursor, share).await {
            Ok(answer) => drop(all.insert(id, (who, Ok(answer)))),
            Err(error) => return Some(Err(error)),
        }
    }
    while let Some(done) = asked.join_next().await {
        if let Ok((id, who, answer)) = done {
            let answer = match answer {
                Err(Unreached::Nothing) => Ok(None),
                answer => answer.map(Some),
            };
            all.insert(id, (who, answer));
        }
    }
    Some(Ok(position.after(all, missing, more)))
}

/// Those that answer, by their numbers.
fn targets(fleet: &Fleet, view: &View) -> BTreeMap<String, Target> {
    let own = Target { asked: Asked { node: fleet.own.name.clone(), url: None }, place: None };
    let mut all = BTreeMap::from([(fleet.own.id.clone(), own)]);
    for found in view.nodes.iter().filter(|found| found.node.reach == ANSWERS) {
        let asked = Asked { node: found.node.node.clone(), url: found.node.url.clone() };
        if let (Some(id), Some(place)) = (&found.node.id, &found.place) {
            all.entry(id.clone()).or_insert(Target { asked, place: Some(place.clone()) });
        }
    }
    all
}

impl Question<'_> {
    /// What one node is asked.
    fn of(&self, cursor: &str, share: Option<usize>) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query.clone());
        if let Some(share) = share {
            query.append_pair("limit", &share.to_string());
        }
        if !cursor.is_empty() {
            query.append_pair("cursor", cursor);
        }
        format!("{}?{}", self.path, query.finish())
    }
}

/// Those that do not answer.
fn silent(view: &View) -> Vec<MissingNode> {
    let silent = view.nodes.iter().map(|found| &found.node).filter(|node| node.reach != ANSWERS);
    silent
        .map(|node| MissingNode {
            node: node.node.clone(),
            url: node.url.clone(),
            words: node.words.clone().unwrap_or_default(),
        })
        .collect()
}

fn read<T: Part>(text: &[u8]) -> Result<T, Unreached> {
    let unfit = |words: &str| Unreached::Unfit(format!("what it answers is not understood: {words}"));
    let part: T = serde_json::from_slice(text).map_err(|_| unfit("is it of another version?"))?;
    match part.next() {
        Some(cursor) if !is_cursor(cursor) => Err(unfit("its cursor is none")),
        _ => Ok(part),
    }
}

/// Nothing in it ends it.
fn is_cursor(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~.!*".contains(&byte);
    !text.is_empty() && text.len() <= limits::FLEET_CURSOR_MAX && text.bytes().all(is_fit)
}

impl Position {
    /// `BEGUN/ID:CURSOR,ID:CURSOR`; nothing is the first page. None: it is no cursor.
    fn read(text: &str) -> Option<Position> {
        if text.is_empty() {
            return Some(Position::default());
        }
        let is_id = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (begun, open) = text.split_once('/')?;
        let open: Option<Vec<_>> = open
            .split(',')
            .filter(|one| !one.is_empty())
            .map(|one| {
                let (id, cursor) = one.split_once(':')?;
                (is_id(id) && is_cursor(cursor)).then(|| (id.to_owned(), cursor.to_owned()))
            })
            .collect();
        let open = open.filter(|open| open.len() <= limits::FLEET_SEARCHED)?;
        is_id(begun).then(|| Position { begun: begun.to_owned(), open })
    }

    fn text(&self) -> String {
        let open: Vec<String> = self.open.iter().map(|(id, cursor)| format!("{id}:{cursor}")).collect();
        format!("{}/{}", self.begun, open.join(","))
    }

    /// Begins those that come next, as far as there is room. Whether there are more.
    fn begin<'a>(&mut self, all: impl Iterator<Item = &'a String>) -> bool {
        let begun = self.begun.clone();
        for id in all.filter(|id| **id > begun) {
            if self.open.len() >= limits::FLEET_SEARCHED {
                return true;
            }
            self.open.push((id.clone(), String::new()));
            self.begun.clone_from(id);
        }
        false
    }

    /// What was answered, in the order of the nodes' numbers, and where it goes on.
    fn after<T: Part>(
        mut self,
        all: BTreeMap<String, (Asked, Result<Option<T>, Unreached>)>,
        mut missing: Vec<MissingNode>,
        more: bool,
    ) -> Round<T> {
        let mut answers = Vec::new();
        for (id, (who, answer)) in all {
            match answer {
                Ok(Some(part)) => {
                    self.open.extend(part.next().map(|cursor| (id, cursor.to_owned())));
                    answers.push((who, part));
                }
                Ok(None) => {}
                Err(why) => {
                    missing.push(MissingNode { node: who.node, url: who.url, words: why.words() });
                }
            }
        }
        let next = (more || !self.open.is_empty()).then(|| self.text());
        Round { answers, missing, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::shape::Page;

    fn id(number: u64) -> String {
        format!("{number:016x}")
    }

    fn page(next: Option<&str>) -> (Asked, Result<Option<Page>, Unreached>) {
        let asked = Asked { node: "a".to_owned(), url: None };
        (asked, Ok(Some(Page { next: next.map(str::to_owned), ..Page::default() })))
    }

    #[test]
    fn nodes_are_begun_in_turn_and_each_goes_on_where_it_was() {
        let all: Vec<String> = (1..=limits::FLEET_SEARCHED as u64 + 2).map(id).collect();
        let mut position = Position::read("").unwrap();
        assert!(position.begin(all.iter()));
        assert_eq!(position.open.len(), limits::FLEET_SEARCHED);
        position.open.clear();
        // The second has more, the first is over; two have not begun.
        let answers = BTreeMap::from([(id(1), page(None)), (id(2), page(Some("0-4-17")))]);
        let round = position.after(answers, Vec::new(), true);
        let next = round.next.unwrap();
        let mut position = Position::read(&next).unwrap();
        assert_eq!(position.open, [(id(2), "0-4-17".to_owned())]);
        assert!(!position.begin(all.iter()), "all have begun");
        let open: Vec<&str> = position.open.iter().map(|(id, _)| &**id).collect();
        assert_eq!(open, [&*id(2), &id(9), &id(10)]);
        position.open.clear();
        let failed = (Asked { node: "b".to_owned(), url: None }, Err(Unreached::Away("gone".to_owned())));
        let nothing = (Asked { node: "c".to_owned(), url: None }, Ok(None));
        let answers = BTreeMap::from([(id(2), page(None)), (id(9), failed), (id(10), nothing)]);
        let round = position.after(answers, Vec::new(), false);
        assert_eq!((round.next, round.answers.len()), (None, 1));
        assert_eq!((&*round.missing[0].node, &*round.missing[0].words), ("b", "gone"));
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        let long = format!("{}/{}:{}", id(1), id(1), "a".repeat(limits::FLEET_CURSOR_MAX + 1));
        let many: Vec<String> =
            (0..=limits::FLEET_SEARCHED as u64).map(|at| format!("{}:a", id(at))).collect();
        for wrong in [
            "x",
            "/",
            "1/",
            &format!("{}/x", id(1)),
            &format!("{}/{}:", id(1), id(1)),
            &long,
            &format!("{}/{}", id(1), many.join(",")),
        ] {
            assert_eq!(Position::read(wrong), None, "{wrong}");
        }
        for wrong in ["", "a,b", "a:b", "a/b", "a b", "a&limit=0", "\u{1b}"] {
            assert!(!is_cursor(wrong), "{wrong}");
        }
    }
}
