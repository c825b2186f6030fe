//! What is asked of captured mail, in the words of its database.

use rusqlite::types::Value;

use super::wanted::{Field, Search, Wanted, What};

/// A condition of rows of `message`, and its values in order.
pub(super) struct Condition {
    pub sql: String,
    pub values: Vec<Value>,
}

impl Condition {
    /// Of a search. Empty: all mail.
    pub fn of(search: &Search) -> Condition {
        let mut all = Condition { sql: "1".to_owned(), values: Vec::new() };
        for Wanted { is_not, what } in &search.wanted {
            all.sql.push_str(if *is_not { " AND NOT (" } else { " AND (" });
            all.add(what);
            all.sql.push(')');
        }
        all
    }

    fn add(&mut self, what: &What) {
        match what {
            What::Part(field, text) => self.part(*field, text),
            What::Tag(name) => {
                self.sql.push_str("number IN (SELECT message FROM tag WHERE lower(name) = ?)");
                self.values.push(name.clone().into());
            }
            What::Read => self.sql.push_str("is_read"),
            What::Tagged => self.sql.push_str("number IN (SELECT message FROM tag)"),
            What::Attachment => self.sql.push_str("attachments > 0"),
            What::Inline => self.sql.push_str("inlines > 0"),
            What::Since(at) => self.number("at >= ?", at.0),
            What::Until(at) => self.number("at <= ?", at.0),
            What::Larger(size) => self.number("size > ?", *size),
            What::Smaller(size) => self.number("size < ?", *size),
        }
    }

    fn number(&mut self, sql: &str, number: u64) {
        self.sql.push_str(sql);
        self.values.push(i64::try_from(number).unwrap_or(i64::MAX).into());
    }

    fn part(&mut self, field: Field, text: &str) {
        let column = match field {
            Field::From => "sender",
            Field::To => "recipients",
            Field::Cc => "cc",
            Field::Bcc => "bcc",
            Field::ReplyTo => "reply_to",
            Field::Subject => "subject",
            Field::MessageId => "message_id",
            Field::Addressed => "{sender recipients cc bcc reply_to}",
            Field::All => "",
        };
        let with_envelope = matches!(field, Field::Bcc | Field::Addressed | Field::All);
        if text.chars().count() >= 3 {
            let phrase = format!("\"{}\"", text.replace('"', "\"\""));
            let asked = if column.is_empty() { phrase.clone() } else { format!("{column} : {phrase}") };
            self.sql.push_str("number IN (SELECT rowid FROM found WHERE found MATCH ?");
            self.values.push(asked.into());
            if with_envelope {
                self.sql.push_str(
                    " UNION ALL SELECT recipient.message FROM recipient JOIN envelope ON envelope.rowid = recipient.number WHERE envelope MATCH ?",
                );
                // Whom its header names too has no blind copy.
                let blind = " AND instr(lower((SELECT fields FROM message AS other WHERE other.number = recipient.message)), lower(recipient.address)) = 0";
                self.sql.push_str(if field == Field::Bcc { blind } else { "" });
                self.values.push(phrase.into());
            }
            self.sql.push(')');
            return;
        }
        // Too short for an index of three letters: what lists show is looked through.
        let path = match field {
            Field::From => "$.From",
            Field::To => "$.To",
            Field::Cc => "$.Cc",
            Field::Bcc => "$.Bcc",
            Field::ReplyTo => "$.ReplyTo",
            Field::Subject => "$.Subject",
            Field::MessageId => "$.MessageID",
            Field::Addressed | Field::All => "$",
        };
        self.sql.push_str("instr(lower(json_extract(fields, ?)), ?) > 0");
        self.values.extend([path.to_owned().into(), text.to_owned().into()]);
    }
}
