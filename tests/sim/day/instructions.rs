//! What clients of a day instruct the relay to, and whether each record of the log still knows: after starts and moves as well.

/// The fields that a try has in front of its message. They never reach a next hop.
pub fn fields(number: usize) -> String {
    match number % 3 {
        0 => String::new(),
        1 => format!("X-Relevo-Tenant: t{number}\r\nx-job: j{number}\r\n"),
        _ => format!("X-Relevo-Metadata: {{\"try\":\r\n {number}}}\r\n"),
    }
}

/// What is wrong with the parameters of a record about this try.
pub fn wrong(number: usize, record: &serde_json::Value) -> Option<String> {
    let found = (&record["tenant"], &record["campaign"], &record["metadata"]["try"]);
    let none = serde_json::Value::Null;
    let (tenant, campaign) = (format!("t{number}").into(), format!("j{number}").into());
    let expected = match number % 3 {
        0 => (&none, &none, &none),
        1 => (&tenant, &campaign, &none),
        _ => (&none, &none, &number.into()),
    };
    (found != expected).then(|| format!("t{number}: parameters {found:?}, not {expected:?}, in {record}"))
}
