//! Templates of mail: what they, their data and their rendering may cost. All of it is known before anything is rendered, as nothing ends it then.

use std::time::Duration;

/// Bytes of the HTML, or of the text, of a template or a partial: mailboxes clip what is longer than 100 KiB.
pub const TEMPLATE_SOURCE_MAX: usize = 256 * 1024;
/// Bytes of a subject, as it is written and as it goes out: a line of a header (RFC 5322 section 2.1.1).
pub const TEMPLATE_SUBJECT_MAX: usize = 998;
/// Bytes of its other words: name, category.
pub const TEMPLATE_WORDS_MAX: usize = 128;
/// Tags in one part of it.
pub const TEMPLATE_TAGS_MAX: usize = 4_096;
/// Bytes of one tag; a comment may be longer.
pub const TEMPLATE_TAG_MAX: usize = 2_048;
/// Blocks within blocks, each `else if` being one: each is some frames of a stack.
pub const TEMPLATE_BLOCKS_MAX: usize = 16;
/// Parentheses within parentheses in one tag, for the same reason.
pub const TEMPLATE_BRACKETS_MAX: usize = 6;
/// Bytes of a part times its tags: the parser counts lines from the top for each tag.
pub const TEMPLATE_PARSE_MAX: usize = 16 * 1024 * 1024;
/// Partials that a template uses, in whatever way.
pub const TEMPLATE_PARTIALS_MAX: usize = 32;
/// Partials within partials.
pub const TEMPLATE_PARTIAL_DEPTH: usize = 6;
/// Variables that it declares.
pub const TEMPLATE_VARIABLES_MAX: usize = 128;

/// What rendering may cost, in steps of about a nanosecond, and what estimating that may.
pub const TEMPLATE_WORK_MAX: u64 = 200_000_000;
/// Elements of a template that are looked at to estimate it.
pub const TEMPLATE_LOOKS_MAX: u32 = 50_000;
/// What an element costs, beside the bytes that it handles.
pub const TEMPLATE_ELEMENT_COST: u64 = 256;
/// What a turn of a loop, or a partial, costs.
pub const TEMPLATE_TURN_COST: u64 = 1_024;
/// How often bytes are handled that are put in: found, made text, escaped, written.
pub const TEMPLATE_BYTES_COST: u64 = 4;
/// The same of bytes of what a partial is given beside its own: each letter of a string may become a value.
pub const TEMPLATE_MERGE_COST: u64 = 256;
/// Bytes that are rendered, subject, HTML and text together.
pub const TEMPLATE_OUTPUT_MAX: usize = 2 * 1024 * 1024;

/// Bytes of the data of a template.
pub const TEMPLATE_DATA_BYTES: u64 = 512 * 1024;
/// Values of it, each with its keys.
pub const TEMPLATE_DATA_VALUES: u64 = 20_000;
/// Lists and objects within each other.
pub const TEMPLATE_DATA_DEPTH: usize = 32;
/// What a value takes beside the bytes of its text, in the counts of above.
pub const TEMPLATE_VALUE_BYTES: u64 = 32;

/// Rules of style sheets that are inlined.
pub const INLINE_RULES_MAX: usize = 2_000;
/// Comparisons that this may take.
pub const INLINE_STEPS_MAX: u64 = 4_000_000;
/// Bytes that are added by it.
pub const INLINE_ADDED_MAX: usize = 512 * 1024;
/// Steps of a selector, each an element that holds the next.
pub const INLINE_SELECTOR_MAX: usize = 8;
/// Elements within elements that selectors are compared with; what is further in is as if it were there.
pub const INLINE_DEPTH_MAX: usize = 128;

/// Links within links, of which text is made.
pub const TEXT_LINKS_MAX: usize = 8;
/// Bytes of the longest character reference that is looked for in HTML.
pub const TEXT_REFERENCE_MAX: usize = 12;

/// Templates and partials of a tenant.
pub const TEMPLATES_OF_TENANT: usize = 1_000;
/// Of all.
pub const TEMPLATES_MAX: usize = 10_000;
/// Bytes of all versions of a tenant's.
pub const TEMPLATES_BYTES_OF_TENANT: u64 = 16 * 1024 * 1024;
/// Of all: the file of decisions has 256 MiB.
pub const TEMPLATES_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Versions of one that are kept: the latest.
pub const TEMPLATE_VERSIONS_MAX: usize = 20;
/// Rows of a page of the list.
pub const TEMPLATES_PAGE: usize = 100;
/// And at the most.
pub const TEMPLATES_PAGE_MAX: usize = 500;
/// Bytes of what all of them say that are told in one answer: what is longer is asked for one by one.
pub const TEMPLATES_TOLD_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a request about templates: what is in one, as JSON.
pub const TEMPLATE_BODY_MAX: usize = 1024 * 1024;

/// Compiled templates that are kept.
pub const TEMPLATES_COMPILED: usize = 256;
/// Bytes of their sources.
pub const TEMPLATES_COMPILED_BYTES: usize = 16 * 1024 * 1024;
/// Threads that compile and render.
pub const RENDER_THREADS: usize = 2;
/// Threads more, in place of such as did not end in time.
pub const RENDER_THREADS_LOST: usize = 2;
/// Bytes of the stack of one: blocks within blocks, in partials within partials.
pub const RENDER_STACK: usize = 8 * 1024 * 1024;
/// Renderings that wait for them.
pub const RENDER_QUEUE: usize = 256;
/// How long one may take, with the time it waits.
pub const RENDER_WAIT: Duration = Duration::from_secs(2);
/// Orders to the file of templates that wait.
pub const TEMPLATE_ORDERS_MAX: usize = 64;
/// Previews that a browser may still fetch.
pub const PREVIEWS_MAX: usize = 32;
/// How long.
pub const PREVIEW_TIME: Duration = Duration::from_secs(120);

/// Bytes of text that fit into an encoded word: 75 with what is around them (RFC 2047 section 2).
pub const ENCODED_WORD_TEXT: usize = 45;
/// Bytes of a subject that need no folding (RFC 5322 section 2.1.1).
pub const PLAIN_FIELD_MAX: usize = 68;
