//! Templates, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::templates::Contents;

/// A template, without what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateEntry {
    /// Its name for programs: it never changes.
    pub uuid: String,
    /// Its number.
    pub id: u64,
    /// Its name for people.
    pub name: String,
    /// Whose it is; none: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Others call it: it is no mail itself.
    pub partial: bool,
    /// What its mail is counted under.
    pub category: String,
    /// Its subject.
    pub subject: String,
    /// Its newest version.
    pub version: u64,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// When it was changed last.
    pub changed: String,
}

/// A page of them, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateList {
    /// Its rows.
    pub templates: Vec<TemplateEntry>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// A template with what a version of it says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateShown {
    /// Which.
    pub template: TemplateEntry,
    /// The version.
    pub version: u64,
    /// What it says.
    pub contents: Contents,
}

/// A template that is to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTemplate {
    /// Whose; none: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its name.
    pub name: String,
    /// Others call it.
    #[serde(default)]
    pub partial: bool,
    /// What it says.
    pub contents: Contents,
}

/// What is to change of one. What is not there stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTemplate {
    /// Whose; none: the node's, where it is named by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its name from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All that it says from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
}

/// The versions of one that are kept, the newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateVersions {
    /// Which.
    pub template: TemplateEntry,
    /// They.
    pub versions: Vec<TemplateVersion>,
}

/// A version.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateVersion {
    /// Its number, from 1 on.
    pub version: u64,
    /// When it was saved.
    pub saved: String,
    /// Who saved it.
    pub by: String,
    /// Bytes of what it says.
    pub bytes: u64,
}

/// What is to be looked at: a template, or what is not saved yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewTemplate {
    /// Whose partials are called; none: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its uuid or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A version of it; none: its newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What it says, where it is not saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// What it is made with; none: its sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
}

/// What it says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplatePreview {
    /// Its subject.
    pub subject: String,
    /// Its HTML.
    pub html: Option<String>,
    /// Its text.
    pub text: Option<String>,
    /// Where a browser finds the HTML for two minutes, sealed off: nothing in it runs, and nothing is fetched.
    pub frame: Option<String>,
}

/// A mail of it to one's own mailbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestTemplate {
    /// Whose; none: the node's, where it is named by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// A version of it; none: its newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The sender's address.
    pub from: String,
    /// The recipient's.
    pub to: String,
    /// What it is made with; none: its sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
}

/// It is on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateTested {
    /// The message.
    pub id: String,
}

/// It is gone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TemplateRemoved {
    /// What it was.
    pub template: TemplateEntry,
}
