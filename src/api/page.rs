//! Lists by page: a limit and an opaque cursor.

use super::error::{Code, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items of a page at most.
pub const LIMIT_MAX: u32 = 500;
/// Items of a page when nobody says.
pub const LIMIT: u32 = 100;
/// Bytes of a cursor at most.
const CURSOR_MAX: usize = 1_024;

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items of the page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[param(max_length = 1024)]
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; null when this is the last.
    pub next: Option<String>,
}

/// A limit within its bounds.
pub fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        limit => Err(Problem::new(Code::BadQuery, format!("limit is {limit}; allowed: 1 to {LIMIT_MAX}"))),
    }
}

/// A page of a list that is at hand, in the order of its keys. A key that came or went between two pages moves nothing else.
pub fn of<'a, T>(
    list: &str,
    items: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> String,
    query: &PageQuery,
) -> Result<Page<T>, Problem>
where
    T: Clone + 'a,
{
    let (limit, after) = (limit(query.limit)?, query.cursor.as_deref().map(|text| read(list, text)).transpose()?);
    let mut keyed: Vec<(String, &T)> = items.map(|item| (key(item), item)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    let mut rest = keyed.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
    let mut page = Page { items: Vec::new(), next: None };
    let mut last = String::new();
    while page.items.len() < limit
        && let Some((key, item)) = rest.next()
    {
        page.items.push(item.clone());
        last = key;
    }
    page.next = rest.peek().map(|_| BASE64.encode(format!("{list}\n{last}")));
    Ok(page)
}

fn read(list: &str, cursor: &str) -> Result<String, Problem> {
    let wrong = || Problem::new(Code::BadCursor, "the cursor was not given out for this list");
    if cursor.len() > CURSOR_MAX {
        return Err(wrong());
    }
    let bytes = BASE64.decode(cursor).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (of, key) = text.split_once('\n').ok_or_else(wrong)?;
    if of == list { Ok(key.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[&'static str], limit: u32, cursor: Option<String>) -> Result<Page<&'static str>, Problem> {
        of("words", items.iter(), |word| (*word).to_owned(), &PageQuery { limit: Some(limit), cursor })
    }

    #[test]
    fn pages_are_the_whole_list_once_whatever_comes_and_goes() {
        let first = page(&["c", "a", "e", "b", "d"], 2, None).expect("a page");
        assert_eq!(first.items, ["a", "b"]);
        let second = page(&["c", "aa", "e", "d"], 2, first.next).expect("a page");
        assert_eq!(second.items, ["c", "d"]);
        let third = page(&["c", "e", "d"], 2, second.next).expect("a page");
        assert_eq!((third.items, third.next), (vec!["e"], None));
        assert_eq!(page(&[], 1, None).expect("a page").next, None);
        assert_eq!(page(&["a"], 1, None).expect("a page").next, None, "an exact page is the last");
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        for limit in [0, LIMIT_MAX + 1, u32::MAX] {
            assert_eq!(page(&["a"], limit, None).expect_err("refused").code, Code::BadQuery);
        }
        let foreign = BASE64.encode("orders\na");
        for cursor in ["", "!", "AAAA", &foreign, &"A".repeat(2_000)] {
            assert_eq!(page(&["a"], 1, Some((*cursor).to_owned())).expect_err("refused").code, Code::BadCursor);
        }
    }
}
