//! Subject, text and HTML of a template, where a request names one.

use super::gate::Sender;
use super::shape::Mail;
use crate::control::templates::{TemplateProblem, Templates};

/// Why there is no mail of it.
pub(super) enum Unfilled {
    /// The request is wrong, or the template.
    Wrong(String),
    /// It may be tried again.
    Later(&'static str),
}

impl Unfilled {
    /// What is said.
    pub fn into_words(self) -> String {
        match self {
            Unfilled::Wrong(words) => words,
            Unfilled::Later(words) => words.to_owned(),
        }
    }
}

/// What a request means, with what its template says in place. Templates are those of the token's tenant, or the node's own.
pub(super) async fn filled(templates: &Templates, mail: Mail, sender: &Sender) -> Result<Mail, Unfilled> {
    let Some(which) = mail.template_uuid.clone().filter(|which| !which.is_empty()) else { return Ok(mail) };
    for (field, is_there) in
        [("subject", mail.subject.is_some()), ("text", mail.text.is_some()), ("html", mail.html.is_some())]
    {
        if is_there {
            return Err(Unfilled::Wrong(format!(
                "'{field}' is not allowed with 'template_uuid', which has its own"
            )));
        }
    }
    let tenant = sender.tenant.as_deref().unwrap_or_default();
    let data = mail.template_variables.clone().unwrap_or_default();
    let made = templates.make((tenant, &which, None), data).await.map_err(|why| match why {
        TemplateProblem::NotFound(_) => {
            Unfilled::Wrong(format!("'template_uuid' {which} is no template of this token's tenant"))
        }
        TemplateProblem::Fault(fault) => Unfilled::Wrong(format!("'template_variables': {fault}")),
        TemplateProblem::Wrong(words) | TemplateProblem::Known(words) => Unfilled::Wrong(words),
        TemplateProblem::Full(_) | TemplateProblem::Busy | TemplateProblem::Late => {
            Unfilled::Later("templates cannot be rendered just now: too many are asked for")
        }
        TemplateProblem::Store(_) | TemplateProblem::Broken => {
            Unfilled::Later("the template cannot be read: the relay's log says why")
        }
    })?;
    let category =
        mail.category.clone().or_else(|| Some(made.category).filter(|category| !category.is_empty()));
    let rendered = made.rendered;
    Ok(Mail {
        subject: Some(rendered.subject),
        html: rendered.html,
        text: rendered.text,
        category,
        template_uuid: None,
        template_variables: None,
        ..mail
    })
}
