//! Mail made of a template and data.

use std::io::{self, Write};

use handlebars::{Context, Handlebars, RenderError, RenderErrorReason, Template};
use serde_json::{Map, Value};

use super::compile::{Compiled, HTML, SUBJECT, TEXT};
use super::data::{Measured, with_defaults};
use super::fault::{Fault, Part};
use super::{text, weight};
use crate::limits;

/// What a template says with some data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// HTML, if it has some.
    pub html: Option<String>,
    /// Text, if it has some.
    pub text: Option<String>,
}

/// What a template says with this data; what is declared fills in where that says nothing.
pub fn render(compiled: &Compiled, data: Map<String, Value>) -> Result<Rendered, Fault> {
    let data = with_defaults(&compiled.variables, data)?;
    let parts = [
        (Part::Subject, SUBJECT, Some(&compiled.plain)),
        (Part::Html, HTML, compiled.html.as_ref()),
        (Part::Text, TEXT, Some(&compiled.plain).filter(|_| compiled.has_text)),
    ];
    let measured = Measured::of(&data)?;
    let empty = Template::new();
    for (part, name, registry) in &parts {
        let Some(registry) = registry else { continue };
        weight::weigh(part, (registry, registry.get_template(name).unwrap_or(&empty)), &measured)?;
    }
    let (data, mut room) = (Context::from(Value::Object(data)), limits::TEMPLATE_OUTPUT_MAX);
    let mut made = parts.into_iter().map(|(part, name, registry)| {
        registry.map(|registry| write(&part, (registry, name), &data, &mut room)).transpose()
    });
    let mut next = || made.next().unwrap_or(Ok(None));
    let (subject, html, text) = (next()?.unwrap_or_default(), next()?, next()?);
    let text = if compiled.is_made { text.map(|text| text::tidy(&text)) } else { text };
    Ok(Rendered { subject: one_line(&subject)?, html, text })
}

/// Nothing that is put into a subject begins another line, or another field.
fn one_line(subject: &str) -> Result<String, Fault> {
    let words: Vec<&str> = subject
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    if line.len() > limits::TEMPLATE_SUBJECT_MAX {
        let words =
            format!("it comes to {} bytes, and may have {}", line.len(), limits::TEMPLATE_SUBJECT_MAX);
        return Err(Fault::of(Part::Subject, words));
    }
    Ok(line)
}

/// A buffer with an end.
struct Bounded<'a> {
    bytes: Vec<u8>,
    room: &'a mut usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        *self.room = room;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    part: &Part,
    (registry, name): (&Handlebars<'static>, &str),
    data: &Context,
    room: &mut usize,
) -> Result<String, Fault> {
    let mut out = Bounded { bytes: Vec::new(), room };
    let done = registry.render_with_context_to_write(name, data, &mut out);
    done.map_err(|error| told(part, &error))?;
    // It was written from texts alone.
    Ok(String::from_utf8(out.bytes).unwrap_or_default())
}

/// What went wrong, for whoever gave the data.
fn told(part: &Part, error: &RenderError) -> Fault {
    let part = match error.template_name.as_deref() {
        Some(name) if !name.starts_with('/') => Part::Partial(name.to_owned()),
        _ => part.clone(),
    };
    let words = match error.reason() {
        RenderErrorReason::MissingVariable(name) => {
            let name = name.as_deref().unwrap_or("this");
            format!(
                "{name} is not in the data: give it, declare a default, or ask for it by {{{{#if {name}}}}}"
            )
        }
        RenderErrorReason::ParamNotFoundForIndex(helper, _) => {
            format!("what {helper} is given is not in the data: give it, or declare a default")
        }
        RenderErrorReason::IOError(_) => {
            format!("it comes to more than {} bytes with this data", limits::TEMPLATE_OUTPUT_MAX)
        }
        other => other.to_string(),
    };
    Fault { part, place: error.line_no.zip(error.column_no), words }
}
