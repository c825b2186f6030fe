//! Templates of mail: handlebars, strict, with bounds that hold whoever wrote them. Pure: what reads, keeps and times them is `control::templates`.
//!
//! A template is checked when it is saved: its tags (`scan`), then all that the parser found (`check`), with the partials that it uses. When it is
//! rendered, what that will cost is estimated first, by its loops and the sizes of the data (`weight`), as nothing stops it in the middle;
//! then it is written into a buffer with an end (`render`). Text is made from HTML (`text`), and style sheets are put into elements (`inline`), once: in
//! the source, whose tags stay as they are.

mod check;
mod compile;
mod contents;
mod css;
mod data;
mod fault;
mod html;
mod inline;
mod render;
mod scan;
mod text;
mod weight;

pub use compile::{Compiled, compile, compile_partial};
pub use contents::{Contents, Partial, Partials, Variable, is_partial_name};
pub use fault::{Fault, Part};
pub use render::{Rendered, render};

#[cfg(test)]
mod tests;
