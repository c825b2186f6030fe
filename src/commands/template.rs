//! `relevo template`: templates of mail, as files of a repository and as they are in the relay.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use relevo::control::api::shape::templates::{
    ChangeTemplate, NewTemplate, PreviewTemplate, TemplateEntry, TemplateList, TemplatePreview,
    TemplateRemoved, TemplateShown, TemplateTested, TestTemplate,
};
use relevo::limits;
use relevo::runtime::files;
use relevo::templates::{Contents, Variable};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::client::{Client, Relay};
use super::output::{Failure, NO, WRONG_USE, complain, say};
use super::table;
use super::words::plain;

/// `relevo template …`
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show which templates there are.
    #[command(after_help = "Examples:\n  relevo template list\n  relevo template list --tenant shop --json")]
    List(ListArguments),
    /// Show a template, or one of its parts as it was written.
    #[command(
        after_help = "Examples:\n  relevo template show welcome\n  relevo template show welcome --version 3 --part html > welcome.html"
    )]
    Show(ShowArguments),
    /// Add a template, or another version of the one of that name. Exit 1: something is wrong with it, and nothing changed.
    #[command(
        after_help = "Examples:\n  relevo template add welcome --subject 'Welcome, {{name}}' --html welcome.html\n  relevo template add welcome --subject 'Welcome' --html welcome.html --text welcome.txt --sample sample.json\n  relevo template add footer --partial --html footer.html"
    )]
    Add(AddArguments),
    /// Show what a template says with some data.
    #[command(
        after_help = "Examples:\n  relevo template preview welcome\n  relevo template preview welcome --data '{\"name\": \"Ada\"}' --part text\n  relevo template preview welcome --data ada.json --part html > welcome.html"
    )]
    Preview(PreviewArguments),
    /// Send a mail of a template, to look at it in a mailbox.
    #[command(
        after_help = "Example: relevo template test welcome --from shop@example.com --to ada@example.org"
    )]
    Test(TestArguments),
    /// Remove a template with all its versions.
    #[command(after_help = "Example: relevo template remove welcome")]
    Remove(RemoveArguments),
}

#[derive(Args)]
struct ListArguments {
    #[command(flatten)]
    relay: Relay,
    /// Those of this tenant; '' for those of the node [default: all].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Which template.
#[derive(Args)]
struct Which {
    #[command(flatten)]
    relay: Relay,
    /// Its name or its uuid.
    #[arg(value_name = "TEMPLATE")]
    template: String,
    /// Whose [default: the node's].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

#[derive(Args)]
struct ShowArguments {
    #[command(flatten)]
    which: Which,
    /// A version of it [default: its newest].
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// This part alone, as it was written.
    #[arg(long, value_enum, conflicts_with = "json")]
    part: Option<Part>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Subject,
    Html,
    Text,
}

#[derive(Args)]
struct AddArguments {
    #[command(flatten)]
    relay: Relay,
    /// Its name.
    name: String,
    /// Whose [default: the node's].
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Its subject.
    #[arg(long, default_value = "", hide_default_value = true)]
    subject: String,
    /// The file of its HTML; - is standard input.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The file of its text [default: it is made from the HTML].
    #[arg(long, value_name = "FILE", required_unless_present = "html")]
    text: Option<PathBuf>,
    /// What its mail is counted under.
    #[arg(long, value_name = "WORD", default_value = "", hide_default_value = true)]
    category: String,
    /// The variables it uses: a JSON file, [{"name": …, "default": …, "help": …}, …].
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// Data that previews are made with: a JSON file.
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Others call it: it is no mail itself.
    #[arg(long)]
    partial: bool,
    /// Leave rules of its style sheets there, and put them into no element.
    #[arg(long)]
    keep_css: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct PreviewArguments {
    #[command(flatten)]
    which: Which,
    /// A version of it [default: its newest].
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// The data, as JSON or as a file of it [default: its sample].
    #[arg(long, value_name = "JSON|FILE")]
    data: Option<String>,
    /// This part alone.
    #[arg(long, value_enum, conflicts_with = "json")]
    part: Option<Part>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct TestArguments {
    #[command(flatten)]
    which: Which,
    /// A version of it [default: its newest].
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// The sender.
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// The recipient.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// The data, as JSON or as a file of it [default: its sample].
    #[arg(long, value_name = "JSON|FILE")]
    data: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RemoveArguments {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const PATH: &str = "/control/v1/templates";

/// Exit 0: done; 1: no, or no relay; 2: wrong use, or a template that is wrong.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::List(arguments) => list(&arguments),
        Command::Show(arguments) => show(&arguments),
        Command::Add(arguments) => add(arguments),
        Command::Preview(arguments) => preview(arguments),
        Command::Test(arguments) => test(arguments),
        Command::Remove(arguments) => remove(&arguments),
    }
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    say!("{}", serde_json::to_string(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// All of a tenant, or of all.
fn all(client: &Client, tenant: Option<&str>) -> Result<Vec<TemplateEntry>, Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limits::TEMPLATES_PAGE_MAX.to_string());
    if let Some(tenant) = tenant {
        query.append_pair("tenant", tenant);
    }
    let query = query.finish();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: TemplateList = client.get(&format!("{PATH}?{query}&cursor={cursor}"))?;
        found.extend(page.templates);
        match page.next {
            Some(next) => cursor = next,
            None => return Ok(found),
        }
    }
}

/// One by its name or its uuid. None: there is none such.
fn named(client: &Client, tenant: Option<&str>, name: &str) -> Result<Option<TemplateEntry>, Failure> {
    let all = all(client, tenant)?;
    let by_uuid = all.iter().position(|one| one.uuid == name);
    // Where no tenant is said it is one of the node's; of a token's tenant there are no others.
    let by_name = |partial: bool| {
        all.iter().position(|one| {
            one.name == name && one.partial == partial && (tenant.is_some() || one.tenant.is_none())
        })
    };
    let place = by_uuid.or(by_name(false)).or(by_name(true)).or_else(|| {
        let mut same = all.iter().enumerate().filter(|(_, one)| one.name == name);
        same.next().filter(|_| same.next().is_none()).map(|(place, _)| place)
    });
    Ok(place.and_then(|place| all.into_iter().nth(place)))
}

impl Which {
    fn find(&self) -> Result<(Client, TemplateEntry), Failure> {
        let client = self.relay.client()?;
        let found = named(&client, self.tenant.as_deref(), &self.template)?;
        let words = || {
            format!(
                "there is no template {}; `relevo template list` shows those there are",
                plain(self.template.as_bytes())
            )
        };
        Ok((client, found.ok_or_else(|| Failure(NO, words()))?))
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let all = all(&arguments.relay.client()?, arguments.tenant.as_deref())?;
    if arguments.json {
        return all.iter().try_for_each(print);
    }
    if all.is_empty() {
        complain!("there are no templates; `relevo template add` adds one");
        return Ok(());
    }
    let columns = table::columns();
    say!("KIND     VERSION CHANGED           TENANT       CATEGORY     NAME");
    for one in all {
        let TemplateEntry { name, tenant, partial, category, version, changed, .. } = one;
        let line = format!(
            "{:<8} {version:>7} {:<17} {:<12} {:<12} {}",
            if partial { "partial" } else { "mail" },
            table::to_the_minute(&changed),
            plain(tenant.as_deref().unwrap_or("-").as_bytes()),
            plain(Some(category.as_str()).filter(|category| !category.is_empty()).unwrap_or("-").as_bytes()),
            plain(name.as_bytes())
        );
        say!("{}", table::fit(&line, columns));
    }
    Ok(())
}

/// Text as it is, with the end of its last line.
fn raw(text: &str) -> Result<(), Failure> {
    say!("{}", text.strip_suffix('\n').unwrap_or(text));
    Ok(())
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let ShowArguments { which, version, part, json } = arguments;
    let (client, found) = which.find()?;
    let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
    let shown: TemplateShown = client.get(&format!("{PATH}/{}{query}", found.uuid))?;
    if *json {
        return print(&shown);
    }
    let TemplateShown { template, version, contents } = shown;
    if let Some(part) = part {
        let text = match part {
            Part::Subject => Some(contents.subject),
            Part::Html => contents.html,
            Part::Text => contents.text,
        };
        let words = "it has no such part of its own: text is made from the HTML, which `relevo template preview` shows";
        return raw(&text.ok_or_else(|| Failure(NO, words.to_owned()))?);
    }
    let bytes = |part: &Option<String>| {
        part.as_ref().map_or("made from the HTML".to_owned(), |part| format!("{} bytes", part.len()))
    };
    say!("{} {}", if template.partial { "partial" } else { "template" }, plain(template.name.as_bytes()));
    say!("  uuid      {}", template.uuid);
    say!(
        "  version   {version} of {}, changed {}",
        template.version,
        table::to_the_minute(&template.changed)
    );
    say!("  tenant    {}", plain(template.tenant.as_deref().unwrap_or("- (the node's)").as_bytes()));
    say!("  subject   {}", plain(contents.subject.as_bytes()));
    say!(
        "  html      {}",
        contents.html.as_ref().map_or("none".to_owned(), |html| format!("{} bytes", html.len()))
    );
    say!("  text      {}", bytes(&contents.text));
    for Variable { name, default, help } in &contents.variables {
        let default = default.as_ref().map_or("needed".to_owned(), |default| format!("default {default}"));
        say!(
            "  variable  {}: {} {}",
            plain(name.as_bytes()),
            plain(default.as_bytes()),
            plain(help.as_bytes())
        );
    }
    Ok(())
}

/// A text that stands in a file.
fn text(path: &Path) -> Result<String, Failure> {
    let wrong = |words: String| Failure(WRONG_USE, format!("{}: {words}", path.display()));
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let most = limits::TEMPLATE_SOURCE_MAX as u64 + 1;
        std::io::Read::read_to_end(&mut std::io::Read::take(std::io::stdin(), most), &mut bytes)?;
        bytes
    } else {
        files::read_whole(path, limits::TEMPLATE_BODY_MAX as u64).map_err(|error| wrong(error.to_string()))?
    };
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let wrong = |error: serde_json::Error| Failure(WRONG_USE, format!("{}: {error}", path.display()));
    serde_json::from_str(&text(path)?).map_err(wrong)
}

/// Data that is written there, or stands in the file that is named.
fn data(given: Option<&str>) -> Result<Option<Map<String, Value>>, Failure> {
    let Some(given) = given else { return Ok(None) };
    if given.trim_start().starts_with('{') {
        let wrong = |error: serde_json::Error| Failure(WRONG_USE, format!("--data: {error}"));
        return serde_json::from_str(given).map(Some).map_err(wrong);
    }
    read(Path::new(given)).map(Some)
}

fn add(arguments: AddArguments) -> Result<(), Failure> {
    let AddArguments {
        relay,
        name,
        tenant,
        subject,
        html,
        text: plain_text,
        category,
        variables,
        sample,
        partial,
        keep_css,
        json,
    } = arguments;
    let contents = Contents {
        category,
        subject,
        html: html.as_deref().map(text).transpose()?,
        text: plain_text.as_deref().map(text).transpose()?,
        variables: variables.as_deref().map(read).transpose()?.unwrap_or_default(),
        sample: sample.as_deref().map(read).transpose()?.unwrap_or_default(),
        keep_css,
    };
    let client = relay.client()?;
    let known = named(&client, tenant.as_deref(), &name)?.filter(|known| known.partial == partial);
    let saved: TemplateShown = match known {
        Some(known) => {
            let change = ChangeTemplate { tenant, name: None, contents: Some(contents) };
            client.post(&format!("{PATH}/{}", known.uuid), &change)?
        }
        None => client.post(PATH, &NewTemplate { tenant, name, partial, contents })?,
    };
    if json {
        return print(&saved);
    }
    let TemplateShown { template, version, .. } = saved;
    say!("{}: version {version} is saved; its uuid is {}", plain(template.name.as_bytes()), template.uuid);
    Ok(())
}

fn preview(arguments: PreviewArguments) -> Result<(), Failure> {
    let PreviewArguments { which, version, data: given, part, json } = arguments;
    let (client, found) = which.find()?;
    let data = data(given.as_deref())?;
    let asked = PreviewTemplate { template: Some(found.uuid), version, data, ..PreviewTemplate::default() };
    let made: TemplatePreview = client.post(&format!("{PATH}/preview"), &asked)?;
    if json {
        return print(&made);
    }
    let TemplatePreview { subject, html, text, .. } = made;
    match part {
        Some(Part::Subject) => raw(&subject),
        Some(Part::Html) => raw(&html.ok_or_else(|| Failure(NO, "it has no HTML".to_owned()))?),
        Some(Part::Text) => raw(&text.ok_or_else(|| Failure(NO, "it has no text".to_owned()))?),
        None => {
            say!("Subject: {}\n", plain(subject.as_bytes()));
            raw(&text.or(html).unwrap_or_default())
        }
    }
}

fn test(arguments: TestArguments) -> Result<(), Failure> {
    let TestArguments { which, version, from, to, data: given, json } = arguments;
    let (client, found) = which.find()?;
    let data = data(given.as_deref())?;
    let told = plain(to.as_bytes());
    let asked = TestTemplate { tenant: found.tenant, version, from, to, data };
    let done: TemplateTested = client.post(&format!("{PATH}/{}/test", found.uuid), &asked)?;
    if json {
        return print(&done);
    }
    say!("{} is on its way to {told}; `relevo why {}` says where it is", done.id, done.id);
    Ok(())
}

fn remove(arguments: &RemoveArguments) -> Result<(), Failure> {
    let RemoveArguments { which, json } = arguments;
    let (client, found) = which.find()?;
    let gone: TemplateRemoved = client.delete(&format!("{PATH}/{}", found.uuid))?;
    if *json {
        return print(&gone);
    }
    say!("{} is removed with all its versions", plain(gone.template.name.as_bytes()));
    Ok(())
}
