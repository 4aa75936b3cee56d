//! Pages of what is short and comes whole from its service: one's sessions, a group's invites. What is new stands first, so
//! that a page is followed by as many as were left of the list when it was given: whatever came or went meanwhile, none of
//! them is left out.

use crate::problem::{Problem, wrong};

/// What is asked for of a list, the newest first, and the token of what is left. A limit of 0 is none.
pub(crate) fn page<T>(mut all: Vec<T>, token: &str, limit: u32) -> Result<(Vec<T>, String), Problem> {
    let message = "pageToken must be the nextPageToken of the page before, as it was given";
    let left: usize =
        if token.is_empty() { all.len() } else { token.parse().map_err(|_| wrong("pageToken", message))? };
    let mut page = all.split_off(all.len().saturating_sub(left));
    let count = if limit == 0 { page.len() } else { page.len().min(limit as usize) };
    let left = page.len() - count;
    page.truncate(count);
    Ok((page, if left == 0 { String::new() } else { left.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[u32], limit: u32, token: &str) -> Option<(Vec<u32>, String)> {
        page(all.to_vec(), token, limit).ok()
    }

    #[test]
    fn nothing_is_left_out_while_the_list_changes() {
        assert_eq!(of(&[5, 4, 3, 2, 1], 0, ""), Some((vec![5, 4, 3, 2, 1], String::new())), "all, if nobody says");
        assert_eq!(of(&[5, 4, 3, 2, 1], 2, ""), Some((vec![5, 4], "3".into())));
        assert_eq!(of(&[6, 5, 4, 3, 2, 1], 2, "3"), Some((vec![3, 2], "1".into())), "one was made");
        assert_eq!(of(&[4, 3, 1], 200, "3"), Some((vec![4, 3, 1], String::new())), "two are gone");
        assert_eq!((of(&[], 1, "3"), of(&[], 1, "")), (Some((vec![], String::new())), Some((vec![], String::new()))));
        assert_eq!((of(&[1], 1, "x"), of(&[1], 1, "-1")), (None, None));
    }
}
