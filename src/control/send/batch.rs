//! Many messages in one request. Each is read, written and stored by itself, so many at a time: what a batch holds in memory is its body and those.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::task::JoinSet;

use super::answers::{answer, refusal};
use super::asked::{Asked, Count, Read};
use super::compose;
use super::once::once;
use super::shape::{Answer, Batch, BatchAnswer, Mail};
use super::template;
use crate::limits;

pub(super) async fn send(State(asked): State<Asked>, request: Request) -> Response {
    match asked.read(request, |_| limits::SEND_BATCH_MAX).await {
        Ok(read) => {
            once(asked, read, "batch".to_owned(), |asked, read, _, name| {
                Box::pin(send_all(asked, read, name))
            })
            .await
        }
        Err(refused) => refused,
    }
}

async fn send_all(asked: &Asked, read: &Read, name: &str) -> Response {
    let batch: Batch<'_> = match serde_json::from_slice(&read.body) {
        Ok(batch) => batch,
        Err(error) => {
            asked.count(Count::Invalid);
            return refusal(StatusCode::BAD_REQUEST, &format!("the body is no batch as JSON: {error}"));
        }
    };
    if batch.requests.is_empty() || batch.requests.len() > limits::SEND_BATCH_REQUESTS {
        asked.count(Count::Invalid);
        let words =
            format!("'requests' has one message at least, and {} at most", limits::SEND_BATCH_REQUESTS);
        return refusal(StatusCode::BAD_REQUEST, &words);
    }
    if read.key.is_some() && batch.requests.len() > limits::SEND_BATCH_KEYED {
        asked.count(Count::Invalid);
        let words =
            format!("with an Idempotency-Key 'requests' has {} messages at most", limits::SEND_BATCH_KEYED);
        return refusal(StatusCode::BAD_REQUEST, &words);
    }
    let base = batch.base.unwrap_or_default();
    let mut responses = vec![None; batch.requests.len()];
    let mut under_way = JoinSet::new();
    for (place, request) in batch.requests.iter().enumerate() {
        if under_way.len() >= limits::SEND_BATCH_AT_ONCE {
            note(&mut responses, under_way.join_next().await);
        }
        let mail = match serde_json::from_str::<Mail>(request.get()) {
            Ok(own) => template::filled(&asked.api.templates, own.over(&base), &read.sender).await,
            Err(error) => {
                asked.count(Count::Invalid);
                responses[place] = Some(Answer::refused(vec![error.to_string()]));
                continue;
            }
        };
        let mail = match mail {
            Ok(mail) => mail,
            Err(why) => {
                asked.count(Count::Invalid);
                responses[place] = Some(Answer::refused(vec![why.into_words()]));
                continue;
            }
        };
        let name = format!("{name}.{place}");
        match compose::compose(&mail, asked.origin(&name)) {
            Ok(composed) => {
                let (asked, sender, live) = (asked.clone(), read.sender.clone(), read.live.clone());
                under_way.spawn(async move {
                    (place, asked.hand_over(composed, (&sender, &live)).await.answer())
                });
            }
            Err(errors) => {
                asked.count(Count::Invalid);
                responses[place] = Some(Answer::refused(errors));
            }
        }
        // Others have their turn.
        if place % 16 == 15 {
            tokio::task::yield_now().await;
        }
    }
    while let Some(ended) = under_way.join_next().await {
        note(&mut responses, Some(ended));
    }
    let lost = || Answer::refused(vec![super::hand::UNKNOWN.to_owned()]);
    let responses = responses.into_iter().map(|one| one.unwrap_or_else(lost)).collect();
    answer(StatusCode::OK, &BatchAnswer { success: true, responses })
}

fn note(responses: &mut [Option<Answer>], ended: Option<Result<(usize, Answer), tokio::task::JoinError>>) {
    if let Some(Ok((place, answer))) = ended {
        responses[place] = Some(answer);
    }
}
