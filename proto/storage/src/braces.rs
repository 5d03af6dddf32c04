//! Braces in paths: `{a,b}` stands for either text, and may hold others. Those without a comma stand for themselves.

use thiserror::Error;

/// So many paths may come of one, and so many bytes of them.
const PATHS_MAX: usize = 1000;
const BYTES_MAX: usize = 4 << 20;

/// A path whose braces stand for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("its braces stand for more than {PATHS_MAX} paths, or {BYTES_MAX} bytes of them")]
pub struct TooManyPaths;

/// The paths that come of choosing one text of each pair of braces.
///
/// # Errors
/// Says so where they are too many.
pub fn expand_braces(path: &str) -> Result<Vec<String>, TooManyPaths> {
    let mut expanded = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Some((before, choices, behind)) = first_choice(&path) else {
            expanded.push(path);
            continue;
        };
        let others: usize = expanded.iter().chain(&waiting).map(String::len).sum();
        let made: usize = choices.iter().map(|choice| before.len() + choice.len() + behind.len()).sum();
        if expanded.len() + waiting.len() + choices.len() > PATHS_MAX || others + made > BYTES_MAX {
            return Err(TooManyPaths);
        }
        waiting.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{behind}")));
    }
    Ok(expanded)
}

/// The first braces with a comma of their own: what is before, the choices, what is behind.
fn first_choice(path: &str) -> Option<(&str, Vec<&str>, &str)> {
    // Of each pair that is open, where its choices begin.
    let mut open: Vec<Vec<usize>> = Vec::new();
    let mut first: Option<(Vec<usize>, usize)> = None;
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'{' => open.push(vec![at + 1]),
            b',' => {
                if let Some(starts) = open.last_mut() {
                    starts.push(at + 1);
                }
            }
            b'}' => {
                let closed = open.pop().filter(|starts| starts.len() > 1);
                let is_earlier = |starts: &Vec<usize>| first.as_ref().is_none_or(|(known, _)| starts[0] < known[0]);
                first = closed.filter(is_earlier).map(|starts| (starts, at)).or(first);
            }
            _ => {}
        }
        if open.is_empty() && first.is_some() {
            break;
        }
    }
    let (starts, end) = first?;
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([end]);
    let choices = starts.iter().zip(ends).map(|(start, end)| &path[*start..end]).collect();
    Some((&path[..starts[0] - 1], choices, &path[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_choices() {
        let check = |path: &str, expected: &[&str]| assert_eq!(expand_braces(path).expect("few"), expected, "{path}");
        check("a", &["a"]);
        check("{a,b}.json", &["a.json", "b.json"]);
        check("d/{a,b{1,2}}/{x,}", &["d/a/x", "d/a/", "d/b1/x", "d/b1/", "d/b2/x", "d/b2/"]);
        check("{a}{b,c}", &["{a}b", "{a}c"]);
        check("{a,b", &["{a,b"]);
        check("{a,{b,c}", &["{a,b", "{a,c"]);
        check("{{a,b}}", &["{a}", "{b}"]);
    }

    #[test]
    fn braces_that_stand_for_too_many_paths_are_an_error_soon() {
        for path in [
            "{a,b}".repeat(20),
            format!("{{{}}}", ",".repeat(PATHS_MAX)),
            format!("{}{{a,b}}{{c,d}}{{e,f}}", "x".repeat(BYTES_MAX / 4)),
        ] {
            expand_braces(&path).expect_err("too many");
        }
        let unmatched = "{".repeat(1 << 20);
        assert_eq!(expand_braces(&unmatched), Ok(vec![unmatched]));
    }
}
