//! What secrets and SSH agents have in common: each has an id, and every id stands once.

use std::collections::BTreeMap;

use crate::diag::{Located, Place, Problem};

/// One declaration that was resolved.
pub struct Forwarded<T> {
    pub id: String,
    pub source: T,
    pub place: Place,
}

/// Everything declared, by id. `resolve` gives `None` for what came out empty.
pub fn by_id<D, T>(
    key: &str,
    declared: impl Iterator<Item = D>,
    resolve: impl Fn(D) -> Result<Option<Forwarded<T>>, Problem>,
) -> (BTreeMap<String, Located<T>>, Vec<Problem>) {
    let (mut found, mut problems): (BTreeMap<String, Located<T>>, _) = (BTreeMap::new(), Vec::new());
    for declaration in declared {
        match resolve(declaration) {
            Ok(None) => {}
            Ok(Some(one)) => match found.get(&one.id).and_then(|first| first.place.clone()) {
                Some(first) => problems.push(
                    Problem::input("config::duplicate", format!("`{key}` has the id `{}` twice", one.id))
                        .at(one.place, "again here")
                        .at(first, "first here"),
                ),
                None => {
                    found.insert(one.id, Located::new(one.source, one.place));
                }
            },
            Err(problem) => problems.push(problem),
        }
    }
    (found, problems)
}

/// A mount can ask for an id without quotes and escapes.
pub fn check_id(key: &str, id: &str, place: &Place) -> Result<(), Problem> {
    let message = match id {
        "" => format!("`{key}` has no `id`"),
        _ if id.contains([',', '"', '=']) || id.chars().any(char::is_control) => {
            format!("`{id}` cannot be an id")
        }
        _ => return Ok(()),
    };
    let problem = Problem::input("config::bad-value", message).at(place.clone(), "here");
    Err(match (key, id) {
        ("secret", "") => problem.help("write `id=…`, as `RUN --mount=type=secret,id=…` has it"),
        _ => problem,
    })
}
