//! What is written and saved: templates and partials, before anything is made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::limits;

/// What a template says, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contents {
    /// What mail of it is counted under.
    pub category: String,
    /// The subject.
    pub subject: String,
    /// HTML; none: the mail is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Text; none: it is made from the HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Variables that it uses.
    pub variables: Vec<Variable>,
    /// Data that previews are made with.
    pub sample: serde_json::Map<String, Value>,
    /// Rules of its style sheets stay there alone, and are not put into elements.
    pub keep_css: bool,
}

/// A variable that it uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Variable {
    /// Its name, as a key of the data.
    pub name: String,
    /// What it is where the data does not say. None: the data is to say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// What several templates have in common: a footer, say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partial {
    /// In HTML.
    pub html: String,
    /// In text; none: it is made from the HTML.
    pub text: Option<String>,
}

/// All partials of a tenant, by their names.
pub type Partials = BTreeMap<String, Partial>;

/// Whether a partial may be called so: it stands in tags.
pub fn is_partial_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty()
        && name.len() <= limits::TEMPLATE_WORDS_MAX
        && name.bytes().all(is_fine)
        && name.as_bytes()[0].is_ascii_alphabetic()
}
