//! Recipients by their domains.

/// Cuts recipients, given as their domains, into runs of one domain.
pub fn group_by_domain<'a>(
    domains: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = (u16, u16, &'a [u8])> {
    let mut domains = domains.peekable();
    let mut next = 0;
    std::iter::from_fn(move || {
        let domain = domains.next()?;
        let first = next;
        let mut count = 1;
        while domains.next_if(|other| other.eq_ignore_ascii_case(domain)).is_some() {
            count += 1;
        }
        next += count;
        Some((first, count, domain))
    })
}
