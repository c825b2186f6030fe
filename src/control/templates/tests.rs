mod hostile;

use serde_json::json;

use super::*;
use crate::control::decisions::StoreDesk;
use crate::control::thread::Worker;

/// Templates over a file in a directory of their own, with the thread that has it.
fn begun(directory: &std::path::Path) -> (Worker, Templates) {
    let (mut store, words) = Store::open(directory);
    assert_eq!(words, None);
    let (desk, orders) = StoreDesk::new();
    let worker = Worker::start("store", move |turn| {
        while !turn.is_over() {
            orders.serve(&mut store);
            turn.pause(limits::CONTROL_ROUND);
        }
    });
    let worker = worker.unwrap();
    let desk = desk.of(worker.waker());
    (worker, Templates::start(desk).unwrap())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn saving(tenant: &str, which: Option<&str>, name: &str, is_partial: bool) -> Saving {
    Saving {
        tenant: Some(tenant.to_owned()),
        which: which.map(str::to_owned),
        name: Some(name.to_owned()),
        is_partial,
        by: "ada".to_owned(),
    }
}

fn html(text: &str) -> Contents {
    Contents { subject: "Hi {{name}}".to_owned(), html: Some(text.to_owned()), ..Contents::default() }
}

fn data(name: &str) -> Map<String, Value> {
    json!({ "name": name }).as_object().cloned().unwrap()
}

#[test]
fn a_save_is_seen_by_the_next_mail() {
    let directory = tempfile::tempdir().unwrap();
    let (worker, templates) = begun(directory.path());
    block_on(async {
        let put = |saving: Saving, contents: Contents| templates.save(saving, move |_| Ok(contents));
        put(saving("shop", None, "footer", true), html("<i>1</i>")).await.unwrap();
        let found = put(saving("shop", None, "order", false), html("A {{name}}{{> footer}}")).await.unwrap();
        let uuid = found.row.uuid;
        assert!(is_uuid(&uuid), "{uuid}");
        let says = async |which: &str, version| {
            let made = templates.make(("shop", which, version), data("x")).await.unwrap();
            (made.version, made.rendered.html.unwrap())
        };
        assert_eq!(says(&uuid, None).await, (1, "A x<i>1</i>".to_owned()));
        put(saving("shop", Some("order"), "order", false), html("B {{name}}{{> footer}}")).await.unwrap();
        assert_eq!(says(&uuid, None).await, (2, "B x<i>1</i>".to_owned()));
        assert_eq!(
            says("order", Some(1)).await,
            (1, "A x<i>1</i>".to_owned()),
            "a version that is asked for"
        );
        put(saving("shop", Some("footer"), "footer", true), html("<i>2</i>")).await.unwrap();
        assert_eq!(says(&uuid, None).await, (2, "B x<i>2</i>".to_owned()), "so is that of a partial");
        let other = templates.make(("bank", &uuid, None), data("x")).await;
        assert!(matches!(other, Err(TemplateProblem::NotFound(_))), "it is another tenant's");
        templates.remove(Some("shop".to_owned()), "order").await.unwrap();
        assert!(matches!(
            templates.make(("shop", &uuid, None), data("x")).await,
            Err(TemplateProblem::NotFound(_))
        ));
    });
    worker.stop(limits::CONTROL_ROUND * 20);
}

#[test]
fn what_is_wrong_is_not_saved() {
    let directory = tempfile::tempdir().unwrap();
    let (worker, templates) = begun(directory.path());
    block_on(async {
        let put = |saving: Saving, contents: Contents| templates.save(saving, move |_| Ok(contents));
        let bad = put(saving("", None, "order", false), html("{{#if a}}")).await;
        assert!(matches!(&bad, Err(TemplateProblem::Fault(fault)) if fault.place == Some((1, 1))), "{bad:?}");
        for name in ["", " a", "a/b", "a\nb", "01234567-89ab-cdef-0123-456789abcdef"] {
            let bad = put(saving("", None, name, false), html("x")).await;
            assert!(matches!(bad, Err(TemplateProblem::Wrong(_))), "{name:?}");
        }
        assert!(put(saving("", None, "a b", true), html("x")).await.is_err(), "no tag could call it");
        put(saving("", None, "a", true), html("x")).await.unwrap();
        put(saving("", None, "b", true), html("{{> a}}")).await.unwrap();
        let circle = put(saving("", Some("a"), "a", true), html("{{> b}}")).await;
        assert!(
            matches!(&circle, Err(TemplateProblem::Fault(fault)) if fault.words.contains("circle")),
            "{circle:?}"
        );
        assert!(matches!(put(saving("", None, "a", true), html("x")).await, Err(TemplateProblem::Known(_))));
        assert_eq!(templates.list(None, (0, 10)).await.unwrap().len(), 2, "nothing of it was kept");
        let partial = templates.make(("", "a", None), data("x")).await;
        assert!(matches!(partial, Err(TemplateProblem::Wrong(_))), "it is no mail");
    });
    worker.stop(limits::CONTROL_ROUND * 20);
}
