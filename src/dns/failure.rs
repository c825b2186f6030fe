//! Why a look-up failed.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;

/// Why nobody could say what there is of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// There is no name server.
    NoServers,
    /// It is no name that can be asked for.
    BadName,
    /// Its aliases lead on and on.
    EndlessAliases,
    /// The server that was asked last, and what came of it.
    Server(SocketAddr, ServerError),
}

/// What came of a question in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// A response code that is no answer.
    Code(ResponseCode),
    /// The server does not understand the question.
    NotUnderstood,
    /// Not all of the answer came.
    NotWhole,
    /// The answer cannot be read.
    Damaged,
    /// It answers another question.
    OffTheQuestion,
    /// It names servers that are to be asked in its place.
    Refers,
    /// The aliases in it run in a circle.
    Circle,
    /// The name is none that can be asked for.
    BadName,
    /// The server cannot be reached, or is silent: in the words of the system.
    Io(Box<str>),
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> ServerError {
        ServerError::Io(error.to_string().into())
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::NoServers => write!(formatter, "there is no name server; set dns.servers"),
            LookupError::BadName => write!(formatter, "the name is no DNS name"),
            LookupError::EndlessAliases => write!(formatter, "the name's aliases do not end"),
            LookupError::Server(server, error) => write!(formatter, "{server}: {error}"),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Code(code) => write!(formatter, "the name server answers {code}"),
            ServerError::NotUnderstood => {
                write!(formatter, "the name server does not understand the question")
            }
            ServerError::NotWhole => write!(formatter, "the name server gave no whole answer"),
            ServerError::Damaged => write!(formatter, "the name server's answer is damaged"),
            ServerError::OffTheQuestion => {
                write!(formatter, "the name server answers another question")
            }
            ServerError::Refers => {
                write!(formatter, "the name server is no resolver: it refers to other name servers")
            }
            ServerError::Circle => write!(formatter, "the name's aliases run in a circle"),
            ServerError::BadName => write!(formatter, "the name is no DNS name"),
            ServerError::Io(words) => formatter.write_str(words),
        }
    }
}

impl std::error::Error for LookupError {}
impl std::error::Error for ServerError {}
