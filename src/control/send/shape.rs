//! What a request says, in the shapes that clients of Mailtrap's send API write, and what it is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Somebody, by an address and perhaps a name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Mailbox {
    /// The address.
    #[serde(default)]
    pub email: String,
    /// What to call him.
    #[serde(default)]
    pub name: Option<String>,
}

/// A file that goes with a message.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Attachment {
    /// In base64.
    #[serde(default)]
    pub content: String,
    /// Its name.
    #[serde(default)]
    pub filename: String,
    /// Its media type; None: anything.
    #[serde(default, rename = "type")]
    pub media: Option<String>,
    /// `attachment`, or `inline`.
    #[serde(default)]
    pub disposition: Option<String>,
    /// By what HTML names it: `cid:` and this.
    #[serde(default)]
    pub content_id: Option<String>,
}

/// A message, or in a batch what differs from the others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mail {
    /// Who writes.
    pub from: Option<Mailbox>,
    /// To whom.
    pub to: Option<Vec<Mailbox>>,
    /// Whom else, as all see.
    pub cc: Option<Vec<Mailbox>>,
    /// And whom nobody else sees.
    pub bcc: Option<Vec<Mailbox>>,
    /// Where answers go.
    pub reply_to: Option<Mailbox>,
    /// The subject.
    pub subject: Option<String>,
    /// As plain text.
    pub text: Option<String>,
    /// As HTML.
    pub html: Option<String>,
    /// What it is filed under.
    pub category: Option<String>,
    /// What comes back in every event.
    pub custom_variables: Option<Map<String, Value>>,
    /// Further header fields.
    pub headers: Option<BTreeMap<String, String>>,
    /// Files.
    pub attachments: Option<Vec<Attachment>>,
    /// A template in place of subject, text and HTML.
    pub template_uuid: Option<String>,
    /// What is put into it.
    pub template_variables: Option<Map<String, Value>>,
}

/// Many messages at once.
#[derive(Debug, Deserialize)]
pub struct Batch<'a> {
    /// What they have in common.
    #[serde(default)]
    pub base: Option<Mail>,
    /// What each has of its own: read one by one.
    #[serde(borrow)]
    pub requests: Vec<&'a RawValue>,
}

impl Mail {
    /// What a request of a batch means: what it does not say itself, its base says.
    pub fn over(self, base: &Mail) -> Mail {
        fn either<T: Clone>(own: Option<T>, base: &Option<T>) -> Option<T> {
            own.or_else(|| base.clone())
        }
        Mail {
            from: either(self.from, &base.from),
            to: either(self.to, &base.to),
            cc: either(self.cc, &base.cc),
            bcc: either(self.bcc, &base.bcc),
            reply_to: either(self.reply_to, &base.reply_to),
            subject: either(self.subject, &base.subject),
            text: either(self.text, &base.text),
            html: either(self.html, &base.html),
            category: either(self.category, &base.category),
            custom_variables: either(self.custom_variables, &base.custom_variables),
            headers: either(self.headers, &base.headers),
            attachments: either(self.attachments, &base.attachments),
            template_uuid: either(self.template_uuid, &base.template_uuid),
            template_variables: either(self.template_variables, &base.template_variables),
        }
    }
}

/// What a message is answered: its ids, or why it was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// It is on disk.
    pub success: bool,
    /// Its id in events, the log and the queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub message_ids: Vec<String>,
    /// What is wrong, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Answer {
    /// It was taken by this id.
    pub fn taken(id: String) -> Answer {
        Answer { success: true, message_ids: vec![id], errors: Vec::new() }
    }

    /// It was not.
    pub fn refused(errors: Vec<String>) -> Answer {
        Answer { success: false, message_ids: Vec::new(), errors }
    }
}

/// What a batch is answered.
#[derive(Debug, Serialize)]
pub struct BatchAnswer {
    /// The batch was read, and each of its requests has an answer.
    pub success: bool,
    /// In the order of the requests.
    pub responses: Vec<Answer>,
}
