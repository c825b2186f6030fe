//! `to` of a route: one target, or a list of them with order and weight.

use toml::de::{DeTable, DeValue};

use crate::config::guess;
use crate::config::literal::{Fix, Wrong, integer, kind, parsed, quoted};
use crate::config::target::{Choice, RouteTarget, target};
use crate::limits;

/// Reads `to`.
pub(super) fn choices(value: &DeValue<'_>) -> Result<Vec<Choice>, Wrong> {
    let Some(list) = value.as_array() else {
        return parsed(value, target, guess::target, "mx").map(Choice::only);
    };
    if list.is_empty() || list.len() > limits::ROUTE_CHOICES_MAX {
        let problem =
            format!("the list has {} targets, and is to have 1 to {}", list.len(), limits::ROUTE_CHOICES_MAX);
        return Err(Wrong::write(
            problem,
            quoted("mx"),
            ", or a list of [{ to = \"smtp://host:port\", weight = 1, order = 0 }]",
        ));
    }
    let mut choices: Vec<Choice> = Vec::new();
    for (number, item) in list.iter().enumerate() {
        let read = match item.get_ref() {
            DeValue::Table(table) => choice(table),
            // Of equal weight, perhaps.
            text => parsed(text, target, guess::target, "mx").and_then(|target| {
                Err(Wrong::write(
                    format!("this is {}, not a target in braces", kind(text)),
                    format!("[{{ to = {} }}]", quoted(&target.to_string())),
                    ", each with its braces",
                ))
            }),
        };
        let choice = read.map_err(|wrong| in_list(number, wrong))?;
        if choices.iter().any(|other| other.target == choice.target) {
            return Err(Wrong::act(
                format!("{} is in the list twice", choice.target),
                "remove one of the two",
            ));
        }
        choices.push(choice);
    }
    judge(choices)
}

/// What is wrong with one of a list: where, and in words, for a line to copy would be all of the list.
fn in_list(number: usize, wrong: Wrong) -> Wrong {
    let fix = match wrong.fix {
        Fix::Write(literal, more) => format!("write {literal}{more}"),
        Fix::Do(words) => words,
    };
    Wrong::act(format!("target {} of the list: {}", number + 1, wrong.problem), fix)
}

fn choice(table: &DeTable<'_>) -> Result<Choice, Wrong> {
    for key in table.keys() {
        let name = key.get_ref();
        if !["to", "weight", "order"].contains(&&**name) {
            let problem = format!("unknown key {}", quoted(name));
            return Err(Wrong::act(problem, "known here: to, weight, order"));
        }
    }
    let Some(to) = table.get("to") else {
        return Err(Wrong::act("to is missing", "write to = \"smtp://host:port\""));
    };
    let number = |key: &str, range: std::ops::RangeInclusive<u64>, usual: u64| match table.get(key) {
        Some(value) => integer(value.get_ref(), range, usual)
            .map(|number| number as u16)
            .map_err(|wrong| Wrong { problem: format!("{key}: {}", wrong.problem), ..wrong }),
        None => Ok(usual as u16),
    };
    Ok(Choice {
        target: parsed(to.get_ref(), target, guess::target, "mx")?,
        weight: number("weight", 1..=limits::ROUTE_WEIGHT_MAX, 1)?,
        order: number("order", 0..=limits::ROUTE_ORDER_MAX, 0)?,
    })
}

/// Whether these can be had together.
fn judge(choices: Vec<Choice>) -> Result<Vec<Choice>, Wrong> {
    let local = choices.iter().find(|choice| matches!(choice.target, RouteTarget::Local(_)));
    if let Some(Choice { target, .. }) = local.filter(|_| choices.len() > 1) {
        let problem = format!("{target} is for no list");
        return Err(Wrong::write(problem, quoted(&target.to_string()), ", or hosts only"));
    }
    if let Some(mx) = choices.iter().find(|choice| choice.target == RouteTarget::Mx)
        && choices.iter().any(|other| other != mx && other.order <= mx.order)
    {
        let problem = "the MX hosts of a domain have ranks of their own, and mx comes before all others";
        return Err(Wrong::act(problem, format!("give the others an order above {}", mx.order)));
    }
    let (lmtp, smtp): (Vec<_>, Vec<_>) = choices.iter().partition(|choice| choice.target.speaks_lmtp());
    if let (Some(lmtp), Some(smtp)) = (lmtp.first(), smtp.first())
        && choices.len() > 1
    {
        let problem = format!("{} speaks LMTP and {} does not", lmtp.target, smtp.target);
        return Err(Wrong::act(problem, "name hosts that all speak LMTP, or all SMTP"));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Choice, Config, RouteTarget, Scheme};

    fn read(to: &str) -> Result<Vec<Choice>, String> {
        let text = format!("[[route]]\ndomain = \"*\"\nto = {to}\n");
        match Config::parse(&text, Path::new("relevo.toml")) {
            Ok(config) => Ok(config.routes[0].to.clone()),
            Err(errors) => {
                assert_eq!(errors.len(), 1, "{errors:#?}");
                assert_eq!((errors[0].line, &*errors[0].key), (3, "route[0].to"), "{}", errors[0]);
                Err(errors[0].to_string())
            }
        }
    }

    #[test]
    fn a_text_is_a_list_of_one() {
        let one = Choice::only(RouteTarget::smtp("a.example", 25));
        assert_eq!(read("\"smtp://a.example\""), Ok(one.clone()));
        assert_eq!(read("[{ to = \"smtp://a.example\" }]"), Ok(one));
    }

    #[test]
    fn lists_have_order_and_weight() {
        let choices = read(
            "[{ to = \"smtp://a\", weight = 3 }, { to = \"smtps://b\" }, { to = \"smtp://c\", order = 1 }]",
        );
        let choices = choices.expect("a list");
        let numbers: Vec<_> = choices.iter().map(|choice| (choice.weight, choice.order)).collect();
        assert_eq!(numbers, [(3, 0), (1, 0), (1, 1)]);
        let second = RouteTarget::Host { scheme: Scheme::Smtps, host: "b".into(), port: 465 };
        assert_eq!(choices[1].target, second);
        assert!(read("[{ to = \"lmtp:/run/a\" }, { to = \"lmtp://b:24\", order = 1 }]").is_ok());
        assert_eq!(read("[{ to = \"mx\" }]"), Ok(Choice::only(RouteTarget::Mx)));
        assert!(read("[{ to = \"smtp://spare\", order = 1 }, { to = \"mx\" }]").is_ok());
    }

    #[test]
    fn lists_that_cannot_be() {
        let many = format!(
            "[{}]",
            (0..17).map(|n| format!("{{ to = \"smtp://h{n}\" }}")).collect::<Vec<_>>().join(", ")
        );
        for (wrong, words) in [
            ("[]", "has 0 targets"),
            (&*many, "has 17 targets"),
            (
                "[\"smtp://a\"]",
                "target 1 of the list: this is a text, not a target in braces; write [{ to = \"smtp://a:25\" }]",
            ),
            ("[{ to = \"smtp://a\" }, { to = \"smtp://A:25\" }]", "smtp://a:25 is in the list twice"),
            ("[{ to = \"smtp://a\" }, { to = \"mx\" }]", "give the others an order above 0"),
            ("[{ to = \"mx\", order = 4 }, { to = \"smtp://a\", order = 3 }]", "an order above 4"),
            ("[{ to = \"mx\" }, { to = \"lmtp://a\", order = 1 }]", "speaks LMTP and mx does not"),
            ("[{ to = \"discard\" }, { to = \"smtp://a\" }]", "discard is for no list"),
            (
                "[{ to = \"smtp://a\" }, { to = \"lmtp:/run/b\" }]",
                "lmtp:/run/b speaks LMTP and smtp://a:25 does not",
            ),
            (
                "[{ to = \"smtp://a\", weight = 0 }]",
                "target 1 of the list: weight: 0 is out of range; write 1",
            ),
            (
                "[{ to = \"smtp://a\" }, { to = \"smtp://b\", order = -1 }]",
                "target 2 of the list: order: -1 is out of range",
            ),
            ("[{ to = \"smtp://a\", wait = 1 }]", "unknown key \"wait\"; known here: to, weight, order"),
            ("[{ weight = 1 }]", "to is missing"),
            ("[{ to = \"smtp://a:0\" }]", "\"smtp://a:0\" cannot be understood; write \"smtp://a:25\""),
        ] {
            let found = read(wrong).expect_err(wrong);
            assert!(found.contains(words), "{wrong}: {found}");
        }
    }
}
