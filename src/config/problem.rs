//! What is wrong with a configuration, and where.
//!
//! Collects; never stops at the first and never decides what is wrong.

use std::fmt;

/// One thing to correct (or, as a warning, to think about).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands: `pools.chat.servers[1].weight`, `line:column`, a file or a flag.
    pub path: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Everything that is wrong, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let line_end = if i == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// A place in the file, written as people write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(String);

impl Place {
    /// The value under `name` in the object here.
    pub(super) fn key(&self, name: &str) -> Self {
        let plain = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'));
        match (plain, self.0.is_empty()) {
            (true, true) => Self(name.to_owned()),
            (true, false) => Self(format!("{}.{name}", self.0)),
            // Quoted, so that a dot in a pool's name is not read as a step.
            (false, _) => Self(format!("{}[{name:?}]", self.0)),
        }
    }

    /// The element at `index` in the list here.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The element of that name in the list here.
    pub(super) fn element(&self, name: &str) -> Self {
        Self(format!("{}[{name}]", self.0))
    }

    fn is_within(&self, outer: &Self) -> bool {
        let rest = self.0.strip_prefix(outer.0.as_str());
        rest.is_some_and(|r| outer.0.is_empty() || r.is_empty() || r.starts_with(['.', '[']))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Problems and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Places whose value could not be read: whatever a later rule says about what stands in for
    /// them is an echo of the first problem and is not reported.
    unreadable: Vec<Place>,
}

impl Report {
    /// A value that breaks a rule.
    pub(super) fn problem(&mut self, place: &Place, message: impl Into<String>) {
        if !self.is_unreadable(place) {
            self.problems.push(Problem { path: place.0.clone(), message: message.into() });
        }
    }

    /// A value that cannot be read at all; silences later problems at and below it.
    pub(super) fn unreadable(&mut self, place: &Place, message: impl Into<String>) {
        self.problem(place, message);
        self.unreadable.push(place.clone());
    }

    /// A value that is allowed and probably not what was meant.
    pub(super) fn warning(&mut self, place: &Place, message: impl Into<String>) {
        if !self.is_unreadable(place) {
            self.warnings.push(Problem { path: place.0.clone(), message: message.into() });
        }
    }

    /// Whether `place`, or something around it, could not be read.
    pub(super) fn is_unreadable(&self, place: &Place) -> bool {
        self.unreadable.iter().any(|outer| place.is_within(outer))
    }
}

/// `, did you mean "weight"?` where one of `known` is close to what was written, else nothing.
pub(super) fn suggestion<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let written = written.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&written, &name.to_lowercase());
    let nearest = known.into_iter().map(|name| (distance(name), name)).min();
    // A third of the letters may differ, as compilers suggest.
    let allowed = |name: &str| written.len().max(name.len()) / 3;
    match nearest {
        Some((distance, name)) if distance <= allowed(name) => {
            format!(", did you mean \"{name}\"?")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_people_write_it() {
        let root = Place::default();
        let place = root.key("pools").key("chat").key("servers").index(1).key("weight");
        assert_eq!(place.to_string(), "pools.chat.servers[1].weight");
        assert_eq!(root.key("pools").key("a.b").key("x").to_string(), r#"pools["a.b"].x"#);
    }

    #[test]
    fn what_follows_from_an_unreadable_value_is_not_reported() {
        let mut report = Report::default();
        let pool = Place::default().key("pools").key("chat");
        report.unreadable(&pool, "must be an object, is 7");
        report.problem(&pool.key("servers"), "is missing");
        report.problem(&Place::default().key("pools").key("chatter"), "is unused");
        let paths: Vec<_> = report.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["pools.chat", "pools.chatter"]);
    }

    #[test]
    fn suggestions_need_to_be_close() {
        assert_eq!(suggestion("wieght", ["weight", "id"]), ", did you mean \"weight\"?");
        assert_eq!(suggestion("Weight", ["weight", "id"]), ", did you mean \"weight\"?");
        assert_eq!(suggestion("colour", ["weight", "id"]), "");
    }
}
